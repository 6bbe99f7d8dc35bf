"""Runs processes side by side, prints what they print, and starts those again that end."""

import itertools
import logging
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from circus import get_arbiter
from circus.arbiter import Arbiter
from circus.exc import ConflictError
from circus.sighandler import SysHandler
from circus.watcher import Watcher
from tornado import gen

from cli import programs
from heliograph import restarts

COLOURS = ("cyan", "green", "yellow", "blue", "magenta", "red", "bright_cyan", "bright_green", "bright_yellow")
RESPAWN_SECONDS = 1.0
STOP_SECONDS = 5.0
RETRY_STOP_SECONDS = 0.3
QUICK_SECONDS = 10.0  # a process that ends sooner does not work
QUICK_ENDS = 5  # in a row, after which the next starts wait
PAUSE_SECONDS = 60.0


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


class Restarts:
    """Says why a process ended, and lets one wait that ends again and again; its methods are hooks of a circus watcher.

    It leaves a note of that in a folder, for `/health`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0.0
        self._quick_ends = 0
        self._since = 0.0

    def after_spawn(self, *, watcher: Watcher, arbiter: Arbiter, **_: Any) -> bool:
        """Note when the process started; return True, so that it is kept."""
        self._started = time.monotonic()
        if self._quick_ends:
            arbiter.loop.call_later(QUICK_SECONDS, self._forget, watcher, self._started)
        return True

    def _forget(self, watcher: Watcher, started: float) -> None:
        """Take the note away once a process works."""
        if self._started == started and watcher.processes:
            self._quick_ends = 0
            restarts.note(self._folder, watcher.name, None)

    def after_reap(self, *, watcher: Watcher, arbiter: Arbiter, exit_code: int | None, **_: Any) -> None:
        """Print how the process ended and what happens next, unless the node is being stopped."""
        if watcher.is_stopping() or watcher.is_stopped():
            return
        how = ending(exit_code)
        self._quick_ends = self._quick_ends + 1 if time.monotonic() - self._started < QUICK_SECONDS else 0
        if self._quick_ends == 1:
            self._since = time.time()
        if self._quick_ends:
            noted = restarts.Restarts(self._quick_ends, how, round(self._since, 3))
            restarts.note(self._folder, watcher.name, noted)
        if self._quick_ends < QUICK_ENDS:
            click.echo(f"{watcher.name} {how}; starting it again", err=True)
            return
        if self._quick_ends == QUICK_ENDS:
            click.echo(
                f"{watcher.name} {how}, {QUICK_ENDS} times in a row: it does not work, its last lines say why; "
                f"trying again every {PAUSE_SECONDS:.0f} s",
                err=True,
            )
        watcher.respawn = False  # circus stops the watcher then
        arbiter.loop.call_later(PAUSE_SECONDS, _start_again, watcher)


def ending(exit_code: int | None) -> str:
    """Return how a process ended; a negative code is the signal that ended it."""
    if exit_code is None:
        return "has ended"
    if exit_code < 0:
        return f"was ended by signal {-exit_code} ({signal.strsignal(-exit_code)})"
    return f"ended with exit status {exit_code}"


async def _start_again(watcher: Watcher) -> None:
    while True:
        watcher.respawn = True
        try:
            await watcher.start()
        except ConflictError:
            await gen.sleep(RETRY_STOP_SECONDS)
        else:
            return


def run(commands: dict[str, list[str]]) -> None:
    """Run commands until a signal ends this process; the first starts first and stops last."""
    width = max(map(len, commands))
    priorities = itertools.count(len(commands), -1)
    logging.getLogger("circus").setLevel(logging.ERROR)
    # circus still checks its processes while it stops, and logs that they are gone.
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)
    SysHandler.quit = SysHandler.reload = _quit  # SIGHUP (the terminal was closed) stops, too
    with tempfile.TemporaryDirectory(prefix="heliograph-") as folder:
        arbiter = get_arbiter(
            [
                _watcher(name, command, colour, folder, width) | {"priority": next(priorities)}
                for (name, command), colour in zip(commands.items(), itertools.cycle(COLOURS), strict=False)
            ],
            controller=f"ipc://{folder}/control",
            pubsub_endpoint=f"ipc://{folder}/events",
            check_delay=RESPAWN_SECONDS,
            loglevel="ERROR",
        )
        try:
            arbiter.start()
        finally:
            arbiter.stop()


def _watcher(name: str, command: list[str], colour: str, folder: str, width: int) -> dict[str, Any]:
    """Return circus' settings for one process; its heartbeat file is in `folder`."""
    hooks = Restarts(Path(folder))
    return {
        "name": name,
        "cmd": command[0],
        "args": command[1:],
        "working_dir": str(Path.cwd()),
        "env": {**programs.module_environment(), "PYTHONUNBUFFERED": "1", "HELIOGRAPH_HEARTBEATS": folder},
        "stdout_stream": {"stream": OutputPrinter(name, width, colour)},
        "stderr_stream": {"stream": OutputPrinter(name, width, colour)},
        "graceful_timeout": STOP_SECONDS,
        "max_retry": -1,
        "hooks": {"after_spawn": (hooks.after_spawn, False), "after_reap": (hooks.after_reap, False)},
    }


def _quit(handler: SysHandler) -> None:
    """Stop on the first signal and ignore those after it."""
    controller = handler.controller
    controller.loop.add_callback_from_signal(_stop, controller.arbiter)
    handler.__class__.quit = handler.__class__.reload = lambda _: None


async def _stop(arbiter: Arbiter) -> None:
    """Stop the broker last, so that the services can disconnect; try again while circus is restarting a process."""
    others = [watcher for watcher in arbiter.iter_watchers() if watcher.name != "broker"]
    for watcher in others:
        watcher.numprocesses = 0  # one that waits for its next start has none
    while True:
        try:
            await gen.multi([watcher.stop() for watcher in others])
            await arbiter.stop()
        except ConflictError:
            await gen.sleep(RETRY_STOP_SECONDS)
        else:
            return
