"""Run a whole node as processes on this machine, supervised and restarted: what scripts/start does."""

import itertools
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import click
import tomli_w
from circus import get_arbiter
from circus.arbiter import Arbiter
from circus.exc import ConflictError
from circus.sighandler import SysHandler
from tornado import gen

from heliograph import config
from heliograph.errors import ConfigError
from heliograph.lock import Lock
from scripts import following, site, tools

COLOURS = ("cyan", "green", "yellow", "blue", "magenta", "red", "bright_cyan", "bright_green", "bright_yellow")
ALWAYS = ("storage", "api", "uploader")  # whose work can be given to them while they run
RESPAWN_SECONDS = 1.0
STOP_SECONDS = 5.0
INSIST_SECONDS = 0.3
FIRST_ANSWER_SECONDS = 60.0


class Lines:
    """Writes what a process says, a line at a time, behind its name in its colour."""

    def __init__(self, name: str, width: int, colour: str) -> None:
        self._prefix = click.style(f"{name:<{width}} │", fg=colour)
        self._rest = ""

    def __call__(self, data: dict[str, Any]) -> None:
        """Take what circus read from the process."""
        text = self._rest + bytes(data["data"]).decode("utf-8", "backslashreplace")
        *lines, self._rest = text.split("\n")
        for line in lines:
            click.echo(f"{time.strftime('%H:%M:%S')} {self._prefix} {line}")

    def close(self) -> None:
        """Write what has no end of line."""
        if self._rest:
            self({"data": b"\n"})


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", "path", type=click.Path(path_type=Path), help="Configuration file.  [default: config.toml]")
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), default="data", show_default=True, help="State folder."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the dashboard listens.")
@click.option("--port", default=8000, show_default=True, help="Port of the dashboard and REST.")
@click.option("--broker-port", default=1883, show_default=True, help="Port of the broker.")
@click.option(
    "--simulate/--no-simulate", default=None, help="Add the simulated site.  [default: if there is no configuration]"
)
def main(path: Path | None, data: Path, host: str, port: int, broker_port: int, simulate: bool | None) -> None:
    """Run a Heliograph node on this machine until Ctrl-C: broker, services and dashboard."""
    data = data.absolute()
    run_folder = data / "run"
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(run_folder / "lock", "folder")
        path, file, simulate = _configuration(path, simulate)
        effective = run_folder / "config.toml"
        own_broker = "host" not in file.get("broker", {})
        if own_broker:
            _free(broker_port, "--broker-port")
        _free(port, "--port")

        def completed(file: dict[str, Any]) -> dict[str, Any]:
            site.complete(file, data, host, port, broker_port if own_broker else None, simulate=simulate)
            return file

        effective.write_text(tomli_w.dumps(completed(file)))
        node = config.section(config.Node, file, "node", path or effective)
        services = [name for name in _services() if name in file or name in ALWAYS]
        commands: dict[str, list[str]] = {}
        if own_broker:
            commands["broker"] = site.broker_command(data, broker_port)
        if path:
            _check(services, effective, path)
    except (ConfigError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if simulate:
        click.echo("No hardware: this is the simulated site." if path is None else "With the simulated site.")
        commands["simulator"] = [sys.executable, "-m", "simulator", *site.simulator_arguments(run_folder / "site")]
    for service in services:
        commands[service] = [sys.executable, "-m", f"services.{service}", str(effective)]
    threading.Thread(target=_announce, args=(host, port, node.name), daemon=True).start()
    if path:
        user = path
        changes = (user, effective, lambda: completed(_read(user)), lambda made: _check(services, made, user))
        threading.Thread(target=following.follow, args=changes, daemon=True).start()
    _supervise(commands)
    lock.release()
    click.echo("Stopped; everything is kept in " + str(data))


def _configuration(path: Path | None, simulate: bool | None) -> tuple[Path | None, dict[str, Any], bool]:
    """Return the configuration file, its content, and whether to simulate."""
    if path is None and Path("config.toml").exists() and simulate is not True:
        path = Path("config.toml")
    if path is None:
        if simulate is False:
            raise ConfigError("there is no config.toml; make one (docs/install.md), or leave --no-simulate out")
        return None, {}, True
    return path, _read(path), bool(simulate)


def _read(path: Path) -> dict[str, Any]:
    """Return what a configuration file holds; raise ConfigError if a section has no such service."""
    file = config.read(path)
    for name in file.keys() - {"node", "broker", "quality", *_services()}:
        sections = ", ".join(["node", "broker", "quality", *_services()])
        raise ConfigError(f"{path}: [{name}]: no such section; sections are {sections}")
    return file


def _services() -> list[str]:
    return sorted(path.parent.name for path in tools.ROOT.glob("services/*/__main__.py"))


def _free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigError(f"port {port} is in use; choose another with {option}") from None


def _check(services: list[str], effective: Path, shown: Path) -> None:
    """Let every service check its section, all at once; raise ConfigError with what they say."""
    checks = [
        subprocess.Popen(
            [sys.executable, "-m", f"services.{service}", "--check", str(effective)],
            cwd=tools.ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for service in services
    ]
    said = [check.communicate()[1].strip() for check in checks]
    if any(check.returncode for check in checks):
        raise ConfigError("\n".join(filter(None, said)).replace(str(effective), str(shown)))


def _announce(host: str, port: int, node: str) -> None:
    """Say where the dashboard is, once it answers."""
    end = time.monotonic() + FIRST_ANSWER_SECONDS
    shown = "127.0.0.1" if host == "0.0.0.0" else host  # a place to look at, not to listen on
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://{shown}:{port}/api/v1/health", timeout=2):
                pass
        except OSError:
            time.sleep(0.1)
        else:
            address = click.style(f"http://{shown}:{port}/", bold=True, underline=True)
            click.echo(f"\n  Node {node} is up: {address}   (Ctrl-C stops it)\n")
            return


def _supervise(commands: dict[str, list[str]]) -> None:
    width = max(map(len, commands))
    priorities = itertools.count(len(commands), -1)
    logging.getLogger("circus").setLevel(logging.ERROR)
    logging.getLogger("tornado.application").setLevel(
        logging.CRITICAL
    )  # circus looks after its processes while it stops
    SysHandler.quit = SysHandler.reload = _quit  # a closed terminal is the end, not a reload
    with tempfile.TemporaryDirectory() as sockets:
        arbiter = get_arbiter(
            [
                {
                    "name": name,
                    "cmd": command[0],
                    "args": command[1:],
                    "working_dir": str(tools.ROOT),
                    "env": {**os.environ, "PYTHONUNBUFFERED": "1"},
                    "stdout_stream": {"stream": Lines(name, width, colour)},
                    "stderr_stream": {"stream": Lines(name, width, colour)},
                    "graceful_timeout": STOP_SECONDS,
                    "max_retry": -1,
                    "priority": next(priorities),  # started first, stopped last
                }
                for (name, command), colour in zip(commands.items(), itertools.cycle(COLOURS), strict=False)
            ],
            controller=f"ipc://{sockets}/control",
            pubsub_endpoint=f"ipc://{sockets}/events",
            check_delay=RESPAWN_SECONDS,
            loglevel="ERROR",
        )
        try:
            arbiter.start()
        finally:
            arbiter.stop()


def _quit(handler: SysHandler) -> None:
    """Stop on the first signal; what comes after it changes nothing."""
    controller = handler.controller
    controller.loop.add_callback_from_signal(_stop, controller.arbiter)
    handler.__class__.quit = handler.__class__.reload = lambda _: None


async def _stop(arbiter: Arbiter) -> None:
    """Stop the broker last, so that everyone can say goodbye; insist, for circus refuses while it starts a process again."""
    others = [watcher for watcher in arbiter.iter_watchers() if watcher.name != "broker"]
    while True:
        try:
            await gen.multi([watcher.stop() for watcher in others])
            await arbiter.stop()
        except ConflictError:
            await gen.sleep(INSIST_SECONDS)
        else:
            return


if __name__ == "__main__":
    main(prog_name="scripts/start")
