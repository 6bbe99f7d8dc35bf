"""How every process of a node writes its log: one format, wherever it runs, and a level that follows the configuration.

A line is `TIME LEVEL SERVICE: TEXT`, with the local time and its offset from UTC (ISO 8601). A message of several lines, as
one with a traceback, has this head on each; the text of those after the first is indented.
"""

import logging
import re
import sys
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from heliograph import config
from heliograph.errors import ConfigError
from heliograph.file_watch import FileWatch

log = logging.getLogger(__name__)

LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}
CONTINUATION = "    "
OWN = ("heliograph", "services", "cli")  # a library's debug lines may hold what is secret: URLs with keys
_LINE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:?\d\d) (DEBUG|INFO|WARNING|ERROR|CRITICAL) +([a-z0-9_]+): (.*)"
)
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), 127)}  # a text from outside may hold them


class LogLine(NamedTuple):
    """One line of a log."""

    time: datetime
    level: str
    service: str
    text: str

    @property
    def severity(self) -> int:
        """The level as a number of the module logging."""
        return logging.getLevelNamesMapping()[self.level]

    @property
    def continues(self) -> bool:
        """Whether the line belongs to the message of the line before, of the same service."""
        return self.text.startswith(CONTINUATION)

    def __str__(self) -> str:
        return f"{self.time.isoformat(timespec='seconds')} {self.level:<7} {self.service}: {self.text}"


def parsed(line: str) -> LogLine | None:
    """Return what a line says, None if it is not one of ours."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    try:
        return LogLine(datetime.fromisoformat(match[1]), match[2], match[3], match[4])
    except ValueError:
        return None


def lines(time: datetime, level: str, service: str, message: str) -> list[LogLine]:
    """Return a message as lines; the first is not indented."""
    first, *more = [line.translate(_CONTROL) for line in message.lstrip(" ").splitlines()] or [""]
    return [LogLine(time, level, service, text) for text in (first, *(CONTINUATION + line for line in more))]


class LineFormatter(logging.Formatter):
    """Formats records as lines of a service."""

    def __init__(self, service: str) -> None:
        super().__init__("%(message)s")
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record, with its traceback if it has one."""
        time = datetime.fromtimestamp(record.created).astimezone()
        return "\n".join(map(str, lines(time, record.levelname, self._service, super().format(record))))


def set_up(service: str) -> None:
    """Write what this process logs to standard error: its own lines from `info` on, Python's warnings, and its failure."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(service))
    set_up_with(handler)


def set_up_with(handler: logging.Handler) -> None:
    """Hand what this process logs to a handler, as `set_up` does to its own."""
    logging.basicConfig(handlers=[handler], force=True)  # circus has set one up when it is imported
    set_level("info")
    logging.captureWarnings(True)
    sys.excepthook = _failed


def set_level(level: str) -> None:
    """Log from a level of LEVELS on; libraries log no more than `info`."""
    for name in OWN:
        logging.getLogger(name).setLevel(LEVELS[level])
    logging.getLogger().setLevel(max(LEVELS[level], logging.INFO))


def _failed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        log.critical("failed", exc_info=(kind, error, trace))


class LevelWatch:
    """Follows the option log_level of a service, or of [node], while the service runs."""

    def __init__(self, path: Path, service: str) -> None:
        self._path = path
        self._service = service
        self._watch = FileWatch(path, known=True)
        self._level = ""

    def apply(self, level: str) -> None:
        """Log from a level on."""
        self._level = level
        set_level(level)

    def check(self) -> None:
        """Apply the level that the configuration has now, if it was changed; log a mistake, which changes nothing."""
        if not self._watch.has_changed():
            return
        try:
            level = configured(self._path, self._service)
        except ConfigError as error:
            log.error("keeping the log level %s: %s", self._level, error)
            return
        if level != self._level:
            before, self._level = self._level, level
            set_level(min(before, level, key=LEVELS.__getitem__) if before else level)
            log.info("the log level is %s now", level)
            set_level(level)


class _LogOptions(config.Config, frozen=True, forbid_unknown_fields=False):
    """What a service's section says of its log; the other options are the service's own."""

    log_level: config.ServiceLogLevel = ""


def configured(path: Path, service: str) -> str:
    """Return the level of a service in a configuration; raise ConfigError if it is not one of LEVELS."""
    file = config.read(path)
    node = config.section(config.Node, file, "node", path, service)
    return config.section(_LogOptions, file, service, path, service).log_level or node.log_level
