"""Runs a whole node as processes on this machine and restarts those that end: `heliograph start`."""

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

from cli import programs
from cli.start import config_reload, effective_config, options
from heliograph import config
from heliograph.errors import ConfigError
from heliograph.lock import Lock

COLOURS = ("cyan", "green", "yellow", "blue", "magenta", "red", "bright_cyan", "bright_green", "bright_yellow")
ALWAYS = ("storage", "api", "uploader")  # they need no section: defaults, or settings made over the API
BROKER_PORTS = 20  # how many are tried
RESPAWN_SECONDS = 1.0
STOP_SECONDS = 5.0
RETRY_STOP_SECONDS = 0.3
FIRST_RESPONSE_SECONDS = 60.0


class OutputPrinter:
    """Prints the output of a process line by line, each after the process's name in its colour."""

    def __init__(self, name: str, width: int, colour: str) -> None:
        self._prefix = click.style(f"{name:<{width}} │", fg=colour)
        self._unfinished = ""

    def __call__(self, data: dict[str, Any]) -> None:
        """Print the complete lines in a chunk of output that circus read."""
        text = self._unfinished + bytes(data["data"]).decode("utf-8", "backslashreplace")
        *lines, self._unfinished = text.split("\n")
        for line in lines:
            click.echo(f"{time.strftime('%H:%M:%S')} {self._prefix} {line}")

    def close(self) -> None:
        """Print the last line, if it did not end."""
        if self._unfinished:
            self({"data": b"\n"})


def main(command_line: list[str], program: str) -> None:
    """Run the node that the command line asks for until it is interrupted."""
    arguments = options.parse(command_line, program)
    data = arguments.data.absolute()
    run_folder = data / "run"
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(run_folder / "lock", "folder")
        path, file, simulate = _configuration(arguments.config, arguments.simulate)
        effective = run_folder / "config.toml"
        own_port = None if "host" in file.get("broker", {}) else broker_port(arguments.broker_port)
        if not _is_free(arguments.port):
            raise ConfigError(f"port {arguments.port} is in use; choose another with --port")

        def complete(file: dict[str, Any]) -> dict[str, Any]:
            effective_config.complete(file, data, arguments.host, arguments.port, own_port, simulate=simulate)
            return file

        effective.write_text(tomli_w.dumps(complete(file)))
        node = config.section(config.Node, file, "node", path or effective)
        services = [name for name in _services() if name in file or name in ALWAYS]
        commands: dict[str, list[str]] = {}
        if own_port is not None:
            commands["broker"] = effective_config.broker_command(data, own_port)
        if path:
            _check(services, effective, path)
    except (ConfigError, OSError) as error:
        sys.exit(f"Error: {error}")
    if simulate:
        click.echo("No hardware: this is the simulated site." if path is None else "With the simulated site.")
        links = run_folder / "site"
        commands["simulator"] = [sys.executable, "-m", "simulator", *effective_config.simulator_arguments(links)]
    for service in services:
        commands[service] = [sys.executable, "-m", f"services.{service}", str(effective)]
    threading.Thread(target=_announce, args=(arguments.host, arguments.port, node.name), daemon=True).start()
    if path:
        user = path
        watched = (user, effective, lambda: complete(_read(user)), lambda made: _check(services, made, user))
        threading.Thread(target=config_reload.watch, args=watched, daemon=True).start()
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
    """Return the content of a configuration file; raise ConfigError if a section is of no service."""
    file = config.read(path)
    for name in file.keys() - {"node", "broker", "quality", *_services()}:
        sections = ", ".join(["node", "broker", "quality", *_services()])
        raise ConfigError(f"{path}: [{name}]: no such section; sections are {sections}")
    return file


def _services() -> list[str]:
    return sorted(path.parent.name for path in programs.ROOT.glob("services/*/__main__.py"))


def broker_port(chosen: int | None) -> int:
    """Return the port that was chosen, else the first free one: Debian's mosquitto package starts a broker of its own."""
    if chosen is not None:
        if not _is_free(chosen):
            raise ConfigError(f"port {chosen} is in use; choose another with --broker-port")
        return chosen
    for port in range(options.BROKER_PORT, options.BROKER_PORT + BROKER_PORTS):
        if _is_free(port):
            if port != options.BROKER_PORT:
                click.echo(f"Port {options.BROKER_PORT} is in use: the broker of this node listens on port {port}.")
            return port
    raise ConfigError(f"port {options.BROKER_PORT} and the next ones are in use; choose another with --broker-port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _check(services: list[str], effective: Path, shown: Path) -> None:
    """Let every service check its section, all at once; raise ConfigError with their messages."""
    checks = [
        subprocess.Popen(
            [sys.executable, "-m", f"services.{service}", "--check", str(effective)],
            cwd=programs.ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for service in services
    ]
    messages = [check.communicate()[1].strip() for check in checks]
    if any(check.returncode for check in checks):
        raise ConfigError("\n".join(filter(None, messages)).replace(str(effective), str(shown)))


def _announce(host: str, port: int, node: str) -> None:
    """Print the address of the dashboard once it responds."""
    end = time.monotonic() + FIRST_RESPONSE_SECONDS
    shown = "127.0.0.1" if host == "0.0.0.0" else host  # an address to open, not to listen on
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
    # circus still checks its processes while it stops, and logs that they are gone.
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)
    SysHandler.quit = SysHandler.reload = _quit  # SIGHUP (the terminal was closed) stops, too
    with tempfile.TemporaryDirectory() as sockets:
        arbiter = get_arbiter(
            [
                {
                    "name": name,
                    "cmd": command[0],
                    "args": command[1:],
                    "working_dir": str(programs.ROOT),
                    "env": {**os.environ, "PYTHONUNBUFFERED": "1"},
                    "stdout_stream": {"stream": OutputPrinter(name, width, colour)},
                    "stderr_stream": {"stream": OutputPrinter(name, width, colour)},
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
    """Stop on the first signal and ignore those after it."""
    controller = handler.controller
    controller.loop.add_callback_from_signal(_stop, controller.arbiter)
    handler.__class__.quit = handler.__class__.reload = lambda _: None


async def _stop(arbiter: Arbiter) -> None:
    """Stop the broker last, so that the services can disconnect; try again while circus is restarting a process."""
    others = [watcher for watcher in arbiter.iter_watchers() if watcher.name != "broker"]
    while True:
        try:
            await gen.multi([watcher.stop() for watcher in others])
            await arbiter.stop()
        except ConflictError:
            await gen.sleep(RETRY_STOP_SECONDS)
        else:
            return
