"""Out of the store, into CSV, JSON lines or line protocol, in bounded memory."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import groupby, pairwise
from typing import NamedTuple, Protocol

from heliograph import series_patterns
from heliograph.messages import Value
from heliograph.store.interface import Function, Reader, Series
from services.storage import line_protocol

SLICE = 1_000  # buckets at a time


class Moment(NamedTuple):
    """All that is to be written of one time: by series, and by function (empty for raw values)."""

    time: float
    values: dict[tuple[int, str], Value]


class Format(Protocol):
    """Writes moments as lines, without their ends."""

    def head(self) -> Iterator[str]:
        """Yield what comes before all moments."""
        ...

    def lines(self, moment: Moment) -> Iterator[str]:
        """Yield what a moment becomes."""
        ...


def matching(series: Iterable[Series], patterns: Iterable[str]) -> list[Series]:
    """Return the series that the patterns match, in order of their names.

    Raises ValueError for anything that is not a pattern, KeyError for a full name that does not exist.
    """
    known = {one.name: one for one in series}
    return [known[name] for name in series_patterns.select(map(series_patterns.check, patterns), known)]


def raw(reader: Reader, chosen: Sequence[Series], start: float, end: float) -> Iterator[Moment]:
    """Yield every value of [start, end) in order of time; what has equal times is one moment."""
    points = reader.export([one.id for one in chosen], start, end)
    for time, group in groupby(points, key=lambda point: point[0]):
        yield Moment(time, {(series, ""): value for _, series, value in group})


def buckets(
    reader: Reader, chosen: Sequence[Series], edges: Sequence[float], functions: Sequence[Function]
) -> Iterator[Moment]:
    """Yield one moment per bucket that has any values, at its beginning."""
    for first in range(0, len(edges) - 1, SLICE):
        part = edges[first : first + SLICE + 1]
        columns = {
            (one.id, function): values
            for one in chosen
            for function, values in reader.aggregate(one.id, part, functions).items()
        }
        for place, (time, _) in enumerate(pairwise(part)):
            found = {key: value for key, values in columns.items() if (value := values[place]) is not None}
            if any(value for (_, function), value in found.items() if function == "n") or any(
                function != "n" for _, function in found
            ):
                yield Moment(time, found)


class _Names:
    """How a value is called: its series, and with several functions the function."""

    def __init__(self, chosen: Sequence[Series], functions: Sequence[Function]) -> None:
        self.series = {one.id: one for one in chosen}
        self.functions = functions or ("",)
        self._several = len(functions) > 1

    def full(self, key: tuple[int, str]) -> str:
        name = self.series[key[0]].name
        return f"{name} {key[1]}" if self._several else name

    def channel(self, key: tuple[int, str]) -> str:
        name = self.series[key[0]].channel
        return f"{name}_{key[1]}" if self._several else name


class Csv(_Names):
    """Wide: time and a column per series. Times are ISO 8601 in a time zone, to the millisecond."""

    def __init__(self, chosen: Sequence[Series], functions: Sequence[Function], zone: tzinfo = UTC) -> None:
        super().__init__(chosen, functions)
        self._zone = zone
        self._keys = [(one.id, function) for one in chosen for function in self.functions]

    def head(self) -> Iterator[str]:
        """Yield the header."""
        yield ",".join(["time", *map(self.full, self._keys)])

    def lines(self, moment: Moment) -> Iterator[str]:
        """Yield one row."""
        cells = [_cell(moment.values[key]) if key in moment.values else "" for key in self._keys]
        yield ",".join([self._time(moment.time), *cells])

    def _time(self, time: float) -> str:
        return datetime.fromtimestamp(time, self._zone).isoformat("T", "milliseconds").replace("+00:00", "Z")


class LongCsv(Csv):
    """Long: time, series and value in each row."""

    def head(self) -> Iterator[str]:
        """Yield the header."""
        yield "time,series,value"

    def lines(self, moment: Moment) -> Iterator[str]:
        """Yield a row per value."""
        time = self._time(moment.time)
        yield from (f"{time},{self.full(key)},{_cell(value)}" for key, value in moment.values.items())


class JsonLines(_Names):
    """One object per value: time in seconds since 1970 UTC, series, value."""

    def head(self) -> Iterator[str]:
        """Yield nothing: every line stands for itself."""
        return iter(())

    def lines(self, moment: Moment) -> Iterator[str]:
        """Yield a line per value."""
        for key, value in moment.values.items():
            yield json.dumps(
                {"time": moment.time, "series": self.full(key), "value": value}, ensure_ascii=False, allow_nan=False
            )


class Line(_Names):
    """InfluxDB's line protocol: the device is the measurement, the node a tag, the channel a field; times in ns."""

    def head(self) -> Iterator[str]:
        """Yield nothing: every line stands for itself."""
        return iter(())

    def lines(self, moment: Moment) -> Iterator[str]:
        """Yield a line per device."""
        devices: dict[tuple[str, str], dict[str, Value]] = {}
        for key, value in moment.values.items():
            one = self.series[key[0]]
            devices.setdefault((one.node, one.device), {})[self.channel(key)] = value
        nanoseconds = round(moment.time * 1000) * 1_000_000
        for (node, device), fields in devices.items():
            yield line_protocol.written(device, {"node": node}, fields, nanoseconds)


FORMATS: Mapping[str, type[JsonLines] | type[Line]] = {"jsonl": JsonLines, "line": Line}


def _cell(value: Value) -> str:
    """Return a value as a CSV cell; numbers as Python writes them, so that they come back equal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        quoted = value.replace("\r", " ").replace("\n", " ").replace('"', '""')
        return f'"{quoted}"' if set(quoted) & set(',;\t|"') else quoted
    return repr(value)
