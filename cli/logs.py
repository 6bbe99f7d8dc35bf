"""`heliograph logs`: what the processes of a node have logged."""

import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import click

from cli.start import plan
from cli.start.log_file import numbered
from cli.start.output import SUPERVISOR
from heliograph import logs, nearest, node_config
from heliograph.errors import ConfigError
from heliograph.logs import LogLine

LINES = 200
POLL_SECONDS = 0.5
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Wanted:
    """Which lines to show: those of these services (of all if there are none), from a level on and from a time on."""

    services: frozenset[str]
    severity: int
    since: datetime

    def __call__(self, line: LogLine) -> bool:
        """Whether to show a line."""
        is_of_service = not self.services or line.service in self.services
        return is_of_service and line.severity >= self.severity and line.time >= self.since


class Since(click.ParamType[datetime]):
    """A moment: 15m, 2h or 3d ago, a time of today, a day, or day and time (ISO 8601; local time without an offset)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment, or fail with a usage error."""
        try:
            return moment(str(value), datetime.now().astimezone())
        except ValueError:
            self.fail(f"{value!r} is no time: expected 15m, 2h, 3d, 18:30, 2026-06-01 or 2026-06-01T18:30", param, ctx)


def moment(text: str, now: datetime) -> datetime:
    """Return the moment that a text names; raise ValueError if it names none."""
    if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    if re.fullmatch(r"\d\d?:\d\d(:\d\d)?", text):
        text = f"{now.date().isoformat()}T{text.zfill(len(text) + (text.index(':') == 1))}"
    return datetime.fromisoformat(text).astimezone()


@click.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path), help="The node's configuration; default: config.toml."
)
@click.option("--level", type=click.Choice(list(logs.LEVELS)), default="debug", help="Only lines from this level on.")
@click.option("--service", "services", metavar="NAME", multiple=True, help="Only this service; may be given again.")
@click.option("--follow", "-f", is_flag=True, help="Continue with new lines until Ctrl-C.")
@click.option(
    "--lines", "-n", type=click.IntRange(0), help=f"Show the last N messages; default: {LINES}, with --since all."
)
@click.option("--since", type=Since(), help="Only from this time on: 15m, 2h, 3d, 18:30, 2026-06-01, 2026-06-01T18:30.")
def main(
    path: Path | None, level: str, services: tuple[str, ...], follow: bool, lines: int | None, since: datetime | None
) -> None:
    """Show what the node has logged: the one that runs, or ran last.

    A node in containers is logged by docker: docker compose logs shows that.
    """
    try:
        file = _log_of_node(path)
    except ConfigError as error:
        click.echo(error, err=True)
        sys.exit(1)
    wanted = Wanted(frozenset(services), logs.LEVELS[level], since or datetime.min.replace(tzinfo=UTC))
    most = lines if lines is not None else None if since else LINES
    reader = LogReader(file)
    lines_there = list(reader.lines())
    _check_services(services, {line.service for line in lines_there})
    chosen = list(filter(wanted, lines_there))
    for line in last(chosen, most):
        click.echo(line)
    if not chosen and not follow:
        click.echo(f"there is no such line in {file}", err=True)
    if follow:
        _follow(reader, wanted)


def _check_services(asked: tuple[str, ...], logged: set[str]) -> None:
    """Raise a usage error for a name that has logged nothing and is not a process of a node."""
    known = sorted(logged | {*plan.services(), SUPERVISOR, "broker", "simulator"})
    for name in asked:
        if name not in known:
            raise click.BadParameter(
                f"there is no service {name!r}{nearest.choices(name, known)}", param_hint="--service"
            )


def _follow(reader: "LogReader", wanted: Callable[[LogLine], bool]) -> None:
    try:
        while True:
            for line in filter(wanted, reader.lines()):
                click.echo(line)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return


def last(lines: Iterable[LogLine], most: int | None) -> list[LogLine]:
    """Return the lines of the last messages; a message of several lines counts once."""
    messages: deque[list[LogLine]] = deque(maxlen=most)
    for line in lines:
        if line.continues and messages:
            messages[-1].append(line)
        else:
            messages.append([line])
    return [line for message in messages for line in message]


class LogReader:
    """Reads a log with the older files beside it, and then what is added to it; lines that are not ours are left out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._position = 0
        self._unfinished = b""

    def lines(self) -> Iterator[LogLine]:
        """Yield all lines at the first call, at later ones what is new."""
        for path in reversed(self._unread_files()):
            yield from self._lines_of(path)

    def _unread_files(self) -> list[Path]:
        """Return the file that is being written and the older ones down to the one that was read last."""
        files = list(takewhile(Path.exists, (numbered(self._path, number) for number in range(1000))))
        known = [index for index, path in enumerate(files) if path.stat().st_ino == self._inode]
        return files[: known[0] + 1] if known else files

    def _lines_of(self, path: Path) -> Iterator[LogLine]:
        with path.open("rb") as file:
            inode = path.stat().st_ino
            if inode != self._inode:
                self._inode, self._position, self._unfinished = inode, 0, b""
            file.seek(self._position)
            data = self._unfinished + file.read()
            self._position = file.tell()
        *complete, self._unfinished = data.split(b"\n")
        for text in complete:
            if line := logs.parsed(text.decode(errors="backslashreplace")):
                yield line


def _log_of_node(chosen: Path | None) -> Path:
    """Return the log of the node of a configuration, or of the one that is here; raise ConfigError if there is none."""
    if chosen is not None and not chosen.exists():
        raise ConfigError(f"{chosen}: No such file or directory")
    data = node_config.data_folder(chosen)
    file = node_config.log_of(data) if data else None
    if file and file.exists():
        return file
    raise ConfigError(
        "there is no log: `heliograph start` keeps one, and has not run this node here; a node in containers is logged "
        "by docker: run `docker compose logs --follow SERVICE` on the host"
    )
