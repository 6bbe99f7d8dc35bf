"""Recorded days of a Tracer: read the files, find the row of a moment, write such files.

The columns are those of Solar Protocol's logger: registers / 100 as decimals, the state of
charge as a fraction, naive times.
"""

import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path

import msgspec

from simulator.readings import Controller, Energy, Range
from simulator.site import Site, SitePlan
from simulator.tracer import encode

log = logging.getLogger("simulator")

# Column → register, in the order of the file.
COLUMNS = {
    "PV voltage": 0x3100,
    "PV current": 0x3101,
    "PV power L": 0x3102,
    "PV power H": 0x3103,
    "battery voltage": 0x3104,
    "battery current": 0x3105,
    "battery power L": 0x3106,
    "battery power H": 0x3107,
    "load voltage": 0x310C,
    "load current": 0x310D,
    "load power": 0x310E,
    "battery percentage": 0x311A,
}
HEADER = ",".join(["datetime", *COLUMNS])


class LoggerRow(msgspec.Struct, frozen=True):
    """One line of a file: when it was logged, and the words of its registers."""

    time: datetime
    words: dict[int, int]


class NoRowsError(Exception):
    """A file to replay holds nothing to replay."""


def parse(line: str, zone: tzinfo) -> LoggerRow:
    """Read one line; raise ValueError if it is not a whole row of registers."""
    moment, *cells = line.strip().split(",")
    time = datetime.fromisoformat(moment)
    words = {address: _word(cell) for address, cell in zip(COLUMNS.values(), cells, strict=True)}
    return LoggerRow(time if time.tzinfo else time.replace(tzinfo=zone), words)


def _word(cell: str) -> int:
    value = float(cell) * 100
    if not 0 <= value < 0xFFFF:
        raise ValueError(f"{cell} is not in a register")
    return round(value)


def read(paths: Iterable[Path], zone: tzinfo) -> list[LoggerRow]:
    """Return the rows of all files by time; lines that are no rows are reported and skipped.

    Raises NoRowsError if nothing is left, OSError if a file cannot be read.
    """
    rows: list[LoggerRow] = []
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip() == HEADER or not line.strip():
                    continue
                try:
                    rows.append(parse(line, zone))
                except ValueError as error:
                    log.warning("%s:%d: ignored: %s", path, number, error)
    if not rows:
        raise NoRowsError("nothing to replay in the files given")
    return sorted(rows, key=lambda row: row.time)


class Replay:
    """What the controller showed at any time of its recording.

    What the files do not hold is worked out from them (energy, extremes) or constant
    (temperatures). The first row stands for the time before it, the last for all after.
    """

    def __init__(self, rows: Sequence[LoggerRow]) -> None:
        self._readings = list(_readings(rows))
        self._times = [reading.time.timestamp() for reading in self._readings]

    @property
    def start(self) -> float:
        """The Unix time of the first row."""
        return self._times[0]

    def at(self, time: float) -> Controller:
        """Return the newest row that is not after a Unix time."""
        return self._readings[max(0, bisect_right(self._times, time) - 1)]


def _readings(rows: Sequence[LoggerRow]) -> Iterator[Controller]:
    first = _reading(rows[0])
    yield first
    last = first
    for before, row in pairwise(rows):
        reading = _reading(row)
        hours = (row.time - before.time).total_seconds() / 3600
        days = before.time.date(), row.time.date()
        if days[0] == days[1]:
            reading = msgspec.structs.replace(
                reading,
                pv_range=last.pv_range.with_value(reading.pv_v),
                battery_range=last.battery_range.with_value(reading.battery_v),
            )
        last = msgspec.structs.replace(
            reading,
            consumed=last.consumed.plus(last.load_w * hours / 1000, *days),
            generated=last.generated.plus(last.pv_w * hours / 1000, *days),
        )
        yield last


def _reading(row: LoggerRow) -> Controller:
    words = row.words
    pv_v = words[0x3100] / 100
    battery_v = words[0x3104] / 100
    charging = words[0x3105] > 0
    return Controller(
        time=row.time,
        pv_v=pv_v,
        pv_a=words[0x3101] / 100,
        pv_w=(words[0x3103] << 16 | words[0x3102]) / 100,
        battery_v=battery_v,
        charge_a=words[0x3105] / 100,
        charge_w=(words[0x3107] << 16 | words[0x3106]) / 100,
        load_v=words[0x310C] / 100,
        load_a=words[0x310D] / 100,
        load_w=words[0x310E] / 100,
        soc=words[0x311A] / 100,
        battery_c=25.0,
        case_c=25.0,
        heatsink_c=25.0,
        ambient_c=25.0,
        stage="boost" if charging else "none",
        load_on=words[0x310D] > 0,
        night=pv_v < 5.0,
        pv_range=Range(pv_v, pv_v),
        battery_range=Range(battery_v, battery_v),
        consumed=Energy(),
        generated=Energy(),
    )


def record(plan: SitePlan, start: datetime, every: float, count: int) -> Iterator[str]:
    """Yield the lines of a file that a logger of the modelled site would write."""
    yield HEADER
    site = Site(plan, start.timestamp())
    for i in range(count):
        moment = start + timedelta(seconds=i * every)
        site.advance(moment.timestamp())
        yield line(LoggerRow(moment, encode(site.controller())))


def line(row: LoggerRow) -> str:
    """Write one row, its time as local naive time with microseconds."""
    moment = row.time.replace(tzinfo=None).isoformat(" ", "microseconds")
    return ",".join([moment, *(str(row.words[word] / 100) for word in COLUMNS.values())])
