"""Runs processes side by side, passes on what they log, and starts those again that end."""

import itertools
import logging
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from circus import get_arbiter
from circus.arbiter import Arbiter
from circus.exc import ConflictError
from circus.sighandler import SysHandler
from circus.watcher import Watcher
from tornado import gen

from cli import programs
from cli.start.output import LogOutput, ProcessOutput
from heliograph import heartbeat, restarts

log = logging.getLogger(__name__)

Ready = Callable[[], bool]

READY_SECONDS = 5.0
RESPAWN_SECONDS = 1.0
STOP_SECONDS = 5.0
RETRY_STOP_SECONDS = 0.3
QUICK_SECONDS = 30.0  # a process that ends sooner does not work; a Pi Zero takes half of it for a start
WORKS_SECONDS = 5.0  # after its start, until it is looked whether the process works
QUICK_ENDS = 5  # in a row, after which the next starts wait
PAUSE_SECONDS = 60.0


class Restarts:
    """Says why a process ended, and lets one wait that ends again and again; its methods are hooks of a circus watcher.

    It leaves a note of that in a folder, for `/health`. What starts after the process waits until `ready`, for READY_SECONDS
    at most.
    """

    def __init__(self, folder: Path, ready: Ready) -> None:
        self._folder = folder
        self._ready = ready
        self._started = 0.0
        self._quick_ends = 0
        self._since = 0.0

    def after_spawn(self, *, watcher: Watcher, arbiter: Arbiter, **_: Any) -> bool:
        """Note when the process started; return True, so that it is kept."""
        self._started = time.monotonic()
        if self._quick_ends:
            arbiter.loop.call_later(WORKS_SECONDS, self._forget, watcher, arbiter, self._started)
        return True

    def after_start(self, **_: Any) -> bool:
        """Wait until the process is ready for those that use it; return True, so that it is kept."""
        end = time.monotonic() + READY_SECONDS
        while not self._ready() and time.monotonic() < end:
            time.sleep(0.02)
        return True

    def _forget(self, watcher: Watcher, arbiter: Arbiter, started: float) -> None:
        """Take the note away once the main loop of the process runs."""
        if self._started != started or not watcher.processes:
            return
        if heartbeat.age(self._folder, watcher.name) > time.monotonic() - started:
            arbiter.loop.call_later(WORKS_SECONDS, self._forget, watcher, arbiter, started)
            return
        restarts.note(self._folder, watcher.name, None)

    def after_reap(self, *, watcher: Watcher, arbiter: Arbiter, exit_code: int | None, **_: Any) -> None:
        """Log how the process ended and what happens next, unless the node is being stopped."""
        if watcher.is_stopping() or watcher.is_stopped() or not watcher.numprocesses:
            return
        how = ending(exit_code)
        self._quick_ends = self._quick_ends + 1 if time.monotonic() - self._started < QUICK_SECONDS else 0
        if self._quick_ends == 1:
            self._since = time.time()
        if self._quick_ends:
            noted = restarts.Restarts(self._quick_ends, how, round(self._since, 3))
            restarts.note(self._folder, watcher.name, noted)
        if self._quick_ends < QUICK_ENDS:
            log.warning("%s %s; starting it again", watcher.name, how)
            return
        if self._quick_ends == QUICK_ENDS:
            log.error(
                "%s %s, %d times in a row: it does not work, its last lines say why; trying again every %.0f s",
                watcher.name,
                how,
                QUICK_ENDS,
                PAUSE_SECONDS,
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


def run(commands: dict[str, list[str]], output: LogOutput, ready: Mapping[str, Ready] | None = None) -> None:
    """Run commands until a signal ends this process; the next ones start once one is `ready`, if that says how to know.

    Broker and simulator stop after the services that use them.
    """
    priorities = itertools.count(len(commands), -1)
    log.info("starting %s", ", ".join(commands))
    logging.getLogger("circus").setLevel(logging.ERROR)
    # circus still checks its processes while it stops, and logs that they are gone.
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)
    SysHandler.quit = SysHandler.reload = _quit  # SIGHUP (the terminal was closed) stops, too
    with tempfile.TemporaryDirectory(prefix="heliograph-") as folder:
        arbiter = get_arbiter(
            [
                _watcher(name, command, folder, output, (ready or {}).get(name, _at_once))
                | {"priority": next(priorities)}
                for name, command in commands.items()
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


def _at_once() -> bool:
    return True


def _watcher(name: str, command: list[str], folder: str, output: LogOutput, ready: Ready) -> dict[str, Any]:
    """Return circus' settings for one process; its heartbeat file is in `folder`."""
    hooks = Restarts(Path(folder), ready)
    return {
        "name": name,
        "cmd": command[0],
        "args": command[1:],
        "working_dir": str(Path.cwd()),
        "env": {**programs.module_environment(), "PYTHONUNBUFFERED": "1", "HELIOGRAPH_HEARTBEATS": folder},
        "stdout_stream": {"stream": ProcessOutput(name, output, is_error=False)},
        "stderr_stream": {"stream": ProcessOutput(name, output, is_error=True)},
        "graceful_timeout": STOP_SECONDS,
        "max_retry": -1,
        "hooks": {
            "after_spawn": (hooks.after_spawn, False),
            "after_start": (hooks.after_start, False),
            "after_reap": (hooks.after_reap, False),
        },
    }


def _quit(handler: SysHandler) -> None:
    """Stop on the first signal and ignore those after it; a line is logged later, because a signal may come within another line."""
    controller = handler.controller
    controller.loop.add_callback_from_signal(_stop, controller.arbiter)
    handler.__class__.quit = handler.__class__.reload = lambda _: None


async def _stop(arbiter: Arbiter) -> None:
    """Stop the services at once, then what they use, the broker last; try again while circus is restarting a process."""
    log.info("stopping")
    watchers = [watcher for watcher in arbiter.iter_watchers() if watcher.name != "broker"]
    for is_used in (False, True):
        stopped = [watcher for watcher in watchers if (watcher.name == "simulator") == is_used]
        for watcher in stopped:
            watcher.numprocesses = 0  # also one that waits for its next start starts none
        await gen.multi([watcher.kill_processes() for watcher in stopped])  # stop() allows only one at a time
    while True:
        try:
            await arbiter.stop()
        except ConflictError:
            await gen.sleep(RETRY_STOP_SECONDS)
        else:
            return
