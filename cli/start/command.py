"""`heliograph start`: a whole node as processes on this machine."""

import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
import tomli_w

from cli.start import config_check, config_reload, effective_config, log_file, options, orphans, plan, supervision
from cli.start.log_file import LogFile
from cli.start.options import StartOptions
from cli.start.output import SUPERVISOR, LogOutput
from cli.start.plan import Plan
from heliograph import config, logs, node_config
from heliograph.errors import ConfigError
from heliograph.lock import Lock, Taken
from heliograph.logs import LevelWatch

FIRST_RESPONSE_SECONDS = 60.0
parser = options.parser


def main(command_line: list[str], program: str) -> None:
    """Run the node that the command line asks for until it is interrupted."""
    chosen = options.parse(command_line, program)
    try:
        node_plan = plan.make(chosen)
    except ConfigError as error:
        sys.exit(f"Error: {error}")
    try:
        run_folder = node_plan.data / node_config.RUN_FOLDER
        run_folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(run_folder / "lock", "folder")
        orphans.stop(run_folder)
        output = _output(node_plan, chosen)
        node_plan = plan.choose_ports(node_plan, chosen)
        commands, name = _prepared(node_plan)
    except Taken:
        sys.exit(f"Error: {_runs_already(node_plan.data)}")
    except (ConfigError, OSError) as error:
        sys.exit(f"Error: {_mistake(error, node_plan, chosen)}")
    if node_plan.simulate:
        click.echo("No hardware: this is the simulated site." if node_plan.path is None else "With the simulated site.")
    if plan.has_producers_only(node_plan.file):
        broker = node_plan.file["broker"]
        click.echo(
            f"Node {name} reads its devices for the broker at {broker['host']}, port {broker.get('port', 1883)}; "
            "the dashboard is that node's   (Ctrl-C stops it)"
        )
    else:
        threading.Thread(target=announce, args=(node_plan.host, node_plan.port, name), daemon=True).start()
    if node_plan.path:
        user, effective = node_plan.path, run_folder / node_config.CONFIG
        watched = (
            user,
            effective,
            lambda: effective_config.complete(node_plan, plan.read(user)),
            lambda made: config_check.check(made, user),
            _log_level(effective),
        )
        threading.Thread(target=config_reload.watch, args=watched, daemon=True).start()
    node_config.note_start(node_plan.data, node_plan.path)
    supervision.run(commands, output, _ready(node_plan))
    node_config.note_stop(node_plan.data)
    lock.release()
    click.echo(f"Stopped; everything is kept in {node_plan.data}")


def _runs_already(data: Path) -> str:
    """Return which process has the data folder, and how to see and to stop it."""
    pid = node_config.pid_of(data)
    process = f" as process {pid}" if pid else ""
    stop = (
        f"Ctrl-C where it was started, or `kill {pid}`, stops it" if pid else "stop it with Ctrl-C where it was started"
    )
    return f"the node of {data} runs already{process}; `heliograph status` shows how it is and its address; {stop}"


def _mistake(error: Exception, node_plan: Plan, chosen: StartOptions) -> str:
    """Return why a node cannot start, with the option or the key that names what cannot be written."""
    if not isinstance(error, OSError) or not error.filename:
        return str(error)
    is_written = "data" in node_plan.file.get("node", {}) and not chosen.data
    where = f"{node_plan.path}: [node] data" if is_written else "--data"
    return f"{where}: {error.filename} cannot be written: {error.strerror}"


def _output(node_plan: Plan, chosen: StartOptions) -> LogOutput:
    """Return what shows and keeps the log of the node; raise ConfigError if its file cannot be written."""
    path = chosen.logfile or node_plan.data / node_config.RUN_FOLDER / log_file.NAME
    try:
        output = LogOutput(LogFile(path))
    except OSError as error:
        raise ConfigError(f"--logfile: cannot write {path}: {error.strerror}") from None
    node_config.note_log(node_plan.data, path)
    logs.set_up_with(output)
    return output


def _log_level(effective: Path) -> LevelWatch:
    """Apply the log level of the node to this process; return what follows it."""
    watch = LevelWatch(effective, SUPERVISOR)
    watch.apply(logs.configured(effective, SUPERVISOR))
    return watch


def _ready(node_plan: Plan) -> dict[str, Callable[[], bool]]:
    """Return how to know that broker and simulator are ready for the services."""
    ready: dict[str, Callable[[], bool]] = {}
    if node_plan.broker_port is not None:
        ready["broker"] = partial(_listens, node_plan.broker_port)
    if node_plan.simulate:
        links = [_site(node_plan) / name for name in effective_config.LINKS]
        for link in links:
            link.unlink(missing_ok=True)  # a killed simulator has left them
        ready["simulator"] = lambda: all(link.exists() for link in links)
    return ready


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((plan.LOOPBACK, port)) == 0


def _site(node_plan: Plan) -> Path:
    return node_plan.data / node_config.RUN_FOLDER / "site"


def _prepared(node_plan: Plan) -> tuple[dict[str, list[str]], str]:
    """Write the configuration that the services read, and check it; return the commands to run, and the node's name."""
    run_folder = node_plan.data / node_config.RUN_FOLDER
    effective = run_folder / node_config.CONFIG
    file = effective_config.complete(node_plan, node_plan.file)
    effective.write_text(tomli_w.dumps(file))
    node = config.section(config.Node, file, "node", node_plan.path or effective)
    commands: dict[str, list[str]] = {}
    if node_plan.broker_port is not None:
        commands["broker"] = effective_config.broker_command(node_plan.data, node_plan.broker_port)
    if node_plan.path:
        config_check.check(effective, node_plan.path)
    if node_plan.simulate:
        arguments = effective_config.simulator_arguments(_site(node_plan))
        commands["simulator"] = [sys.executable, "-m", "simulator", *arguments]
    for service in plan.services_of(file):
        commands[service] = [sys.executable, "-m", f"services.{service}", str(effective)]
    return commands, node.name


def announce(host: str, port: int, node: str) -> None:
    """Print the address of the dashboard once it responds."""
    end = time.monotonic() + FIRST_RESPONSE_SECONDS
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # an address to open, not to listen on
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
    while time.monotonic() < end:
        try:
            with suppress(urllib.error.HTTPError), urllib.request.urlopen(f"{url}api/v1/health", timeout=2):
                pass  # a node in trouble answers 503, and has a page that says why
        except OSError:
            time.sleep(0.1)
        else:
            address = click.style(url, bold=True, underline=True)
            click.echo(f"\n  Node {node} is up: {address}   (Ctrl-C stops it)\n")
            return
