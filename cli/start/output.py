"""What the processes of a node log: shown on the terminal, and kept in a file."""

import itertools
import logging
from datetime import datetime
from typing import Any

import click

from cli.start.log_file import LogFile
from heliograph import logs
from heliograph.logs import LogLine

COLOURS = ("cyan", "green", "blue", "magenta", "bright_cyan", "bright_green", "bright_blue", "bright_magenta")
SUPERVISOR = "supervisor"
# How its lines begin, the first that fits; as root it always warns, and this node's listens to this machine alone.
MOSQUITTO = {"Warning: Mosquitto should not be run as root": "INFO", "Error": "ERROR", "Warning": "WARNING"}


class LogOutput(logging.Handler):
    """Shows and keeps lines, those of the processes and those that the supervisor logs itself."""

    def __init__(self, file: LogFile | None = None) -> None:
        super().__init__()
        self.setFormatter(logs.LineFormatter(SUPERVISOR))
        self._file = file
        self._colours: dict[str, str] = {}
        self._next_colour = itertools.cycle(COLOURS)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Show and keep what the supervisor logs."""
        for line in self.format(record).split("\n"):
            self.put(logs.parsed(line))

    def put(self, line: LogLine | None) -> None:
        """Show a line and keep it."""
        if line is None:
            return
        self.acquire()
        try:
            self._show(line)
            self._keep(line)
        finally:
            self.release()

    def close(self) -> None:
        """Close the file."""
        super().close()
        if self._file:
            self._file.close()

    def _show(self, line: LogLine) -> None:
        colour = self._colours.setdefault(line.service, "") or next(self._next_colour)
        self._colours[line.service] = colour
        click.echo(coloured(line, colour))

    def _keep(self, line: LogLine) -> None:
        """Write a line into the file; say it once if that fails, and once when it works again."""
        if self._file is None:
            return
        try:
            self._file.write(str(line))
        except OSError as error:
            self._lost += 1
            if self._lost == 1:
                self._show(_own_line("WARNING", f"what is logged cannot be kept, only shown: {error}"))
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self.put(_own_line("WARNING", f"what is logged is kept again; {lost} lines are missing in the file"))


class ProcessOutput:
    """Passes on what a process writes to one of its streams, line by line; `is_error` says that it is standard error.

    Other programs than ours have their own lines: they get the time at which they came, and a level.
    """

    def __init__(self, name: str, output: LogOutput, *, is_error: bool) -> None:
        self._name = name
        self._output = output
        self._is_error = is_error
        self._unfinished = ""

    def __call__(self, data: dict[str, Any]) -> None:
        """Take a chunk of output that circus read."""
        text = self._unfinished + bytes(data["data"]).decode("utf-8", "backslashreplace")
        *lines, self._unfinished = text.split("\n")
        for line in lines:
            self._take(line)

    def close(self) -> None:
        """Pass on the last line, if it did not end."""
        if self._unfinished:
            self({"data": b"\n"})

    def _take(self, text: str) -> None:
        if line := logs.parsed(text):
            self._output.put(line)
        elif text.strip():
            for line in logs.lines(_now(), self._level(text), self._name, text):
                self._output.put(line)

    def _level(self, text: str) -> str:
        if self._name == "broker":
            return next((level for beginning, level in MOSQUITTO.items() if text.startswith(beginning)), "INFO")
        return "ERROR" if self._is_error else "INFO"


def coloured(line: LogLine, colour: str) -> str:
    """Return a line for a terminal: its service in a colour, its level in yellow or red if it is alarming."""
    time, level, rest = str(line).split(" ", 2)
    padding, _, text = rest.partition(f"{line.service}: ")
    if line.severity >= logging.WARNING:
        level = click.style(level, fg="red" if line.severity >= logging.ERROR else "yellow", bold=True)
    return f"{click.style(time, dim=True)} {level} {padding}{click.style(line.service, fg=colour)}: {text}"


def _own_line(level: str, text: str) -> LogLine:
    return LogLine(_now(), level, SUPERVISOR, text)


def _now() -> datetime:
    return datetime.now().astimezone().replace(microsecond=0)
