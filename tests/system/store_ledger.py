"""A plain list of what store_writer.py writes, and the comparison of a store with it."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from heliograph.messages import Value
from heliograph.store import open_reader, schema
from heliograph.store.interface import Arrival, Function, Reader, Series
from tests.system.store_writer import BRIDGE, EPOCH, HOURS, KEEP, POLLER, begin, block_start, frame

DAY = 86_400_000
ALWAYS = 1e11
FUNCTIONS: list[Function] = ["n", "min", "max", "first", "last"]
Point = tuple[int, Value]  # ms UTC
Cell = tuple[Value | None, ...]


def year_of(time: int) -> int:
    """Return the year of a time in ms UTC."""
    return _year_of_day(time // DAY)


@lru_cache(10_000)
def _year_of_day(day: int) -> int:
    return datetime.fromtimestamp(day * 86_400, UTC).year


def stored(folder: Path) -> dict[str, int]:
    """Return the last frame of each producer that a store has, without opening it to write."""
    with schema.reading(folder / "store" / "hot.db") as db:
        progress = dict(db.execute("SELECT producer, last FROM progress WHERE epoch=?", (EPOCH,)).fetchall())
    return {producer: progress.get(producer, 0) for producer in (POLLER, BRIDGE)}


def whole(folder: Path) -> None:
    """Assert that SQLite finds no fault with any file."""
    for path in sorted(set((folder / "store").glob("*.db")) - unfinished(folder)):
        with schema.reading(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path.name


def unfinished(folder: Path) -> set[Path]:
    """Return the years whose file was just being made when the writer died: nothing was in them yet."""
    paths: set[Path] = set()
    for path in (folder / "store").glob("history-*.db"):
        if path.with_name(f"{path.name}-journal").exists():
            paths.add(path)
            continue
        with schema.reading(path) as db:
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                paths.add(path)
    return paths


class Ledger:
    """All readings up to some frame of each producer, in order of arrival."""

    def __init__(self) -> None:
        self.last = {POLLER: 0, BRIDGE: 0}
        self.this_year = 0
        self._rows: dict[str, list[tuple[int, dict[str, Value]]]] = {}  # by node/device
        self._dropped: dict[str, int] = {}
        self._final: dict[tuple[str, int], int] = {}  # series and time → number of the row that counts
        self._points: dict[str, dict[int, Value]] = {}
        self._seen: dict[int, tuple[str, str, float]] = {}

    def advance(self, last: Mapping[str, int]) -> None:
        """Take in what was written since."""
        for producer, number in last.items():
            assert number >= self.last[producer], f"{producer} was at {self.last[producer]} and is at {number}"
            for one in range(self.last[producer] + 1, number + 1):
                self._take(producer, one)
            self.last[producer] = number
        self.this_year = year_of(round(begin(max(min(self.last.values()), 1)) * 1000))
        oldest = self.this_year - int(KEEP.years) - 1
        for name, rows in self._rows.items():
            gone = next((index for index, row in enumerate(rows) if year_of(row[0]) >= oldest), 0)
            self._dropped[name] = self._dropped.get(name, 0) + gone
            del rows[:gone]

    def _take(self, producer: str, number: int) -> None:
        for block in frame(producer, number):
            device = f"{producer.partition('/')[0]}/{block.device}"
            rows = self._rows.setdefault(device, [])
            for time, *values in block.rows:
                ms = round(time * 1000)
                named = {name: value for name, value in zip(block.channels, values, strict=True) if value is not None}
                for name, value in named.items():
                    series = f"{device}/{name}"
                    self._final[series, ms] = self._dropped.get(device, 0) + len(rows)
                    self._points.setdefault(series, {})[ms] = value
                rows.append((ms, named))

    def compare(self, folder: Path) -> None:
        """Assert that a store holds what this does, each reading once, and gives no number of arrival twice."""
        with closing(open_reader(folder)) as reader:
            by_name = {series.name: series for series in reader.series()}
            assert by_name.keys() >= self._points.keys()
            for name, points in self._points.items():
                self._compare_series(reader, by_name[name], points)
            self._compare_arrivals(reader)
            names = {path.name for path in unfinished(folder)}
            assert [problem for problem in reader.problems() if problem.partition(":")[0] not in names] == []

    def _compare_series(self, reader: Reader, series: Series, points: Mapping[int, Value]) -> None:
        page = reader.raw(series.id, 0, ALWAYS, limit=10**9)
        got = [(round(time * 1000), value) for time, value in zip(page.times, page.values, strict=True)]
        expected = sorted(points.items())
        raw_from = self.this_year - int(KEEP.raw_years)
        deleted = {day for day in {ms // DAY for ms, _ in expected} if _year_of_day(day) < raw_from}
        deleted -= {ms // DAY for ms, _ in got}
        expected_now = [point for point in expected if point[0] // DAY not in deleted]
        assert repr(got) == repr([(ms, as_stored(series, value)) for ms, value in expected_now]), series.name
        newest = reader.latest([series.id])[series.id]
        assert (round(newest.time * 1000), newest.value) == expected[-1], series.name
        self._compare_days(reader, series, expected)

    def _compare_days(self, reader: Reader, series: Series, expected: list[Point]) -> None:
        """Days stay, as cells, when the points were deleted; days of deleted years are no longer there."""
        years_from = self.this_year - int(KEEP.years)
        edges = sorted({edge for block in blocks_from(years_from, self.last) for edge in days(block)})
        columns = reader.aggregate(series.id, edges, FUNCTIONS)
        got = list(zip(*(columns[name] for name in FUNCTIONS), strict=True))
        text = series.kind == "text"
        by_day: dict[int, list[Value]] = {}
        for ms, value in expected:
            by_day.setdefault(ms // DAY, []).append(as_stored(series, value))
        for start, cell in zip(edges, got, strict=False):
            inside = by_day.get(int(start) // 86_400, [])
            numbers = [] if text else [float(value) for value in inside]
            bounds = (min(numbers), max(numbers)) if numbers else (None, None)
            wanted: Cell = (len(inside), *bounds, inside[0], inside[-1]) if inside else (0, None, None, None, None)
            assert cell == wanted or (cell[0] in (0, None) and not inside), (series.name, start, cell, wanted)

    def _compare_arrivals(self, reader: Reader) -> None:
        arrivals = list(followed(reader, 0))
        numbers = [arrival.cursor for arrival in arrivals]
        assert numbers == sorted(set(numbers))
        before = max(self._seen, default=0)
        for arrival in arrivals:
            same = arrival.node, arrival.device, arrival.time
            assert self._seen.get(arrival.cursor, same) == same, f"{arrival.cursor} was given twice"
            assert arrival.cursor in self._seen or arrival.cursor > before, f"{arrival.cursor} came too late"
            self._seen[arrival.cursor] = same
        if arrivals:
            middle = arrivals[len(arrivals) * 2 // 3].cursor
            assert list(followed(reader, middle)) == [arrival for arrival in arrivals if arrival.cursor > middle]
        for name, rows in self._rows.items():
            theirs = [arrival for arrival in arrivals if f"{arrival.node}/{arrival.device}" == name]
            self._match(name, rows, theirs)

    def _match(self, name: str, rows: list[tuple[int, dict[str, Value]]], arrivals: list[Arrival]) -> None:
        """Walk both lists from their ends: a reading that is not there, or lacks values, was replaced by a later one."""
        index = len(rows)
        for arrival in reversed(arrivals):
            while True:
                index -= 1
                assert index >= 0, f"{name}: {arrival} was never written, or is there twice"
                if self._is_rest(name, index, rows[index], arrival):
                    break
                assert self._may_be_gone(name, index, rows[index], set()), f"{name}: {rows[index]} is missing"
        for earlier in range(index):
            assert self._may_be_gone(name, earlier, rows[earlier], set()), f"{name}: {rows[earlier]} is missing"

    def _is_rest(self, name: str, index: int, row: tuple[int, dict[str, Value]], arrival: Arrival) -> bool:
        ms, values = row
        if round(arrival.time * 1000) != ms or any(values.get(key) != value for key, value in arrival.values.items()):
            return False
        return self._may_be_gone(name, index, row, arrival.values.keys())

    def _may_be_gone(self, name: str, index: int, row: tuple[int, dict[str, Value]], there: Collection[str]) -> bool:
        ms, values = row
        if year_of(ms) < self.this_year - KEEP.raw_years:
            return True
        number = index + self._dropped.get(name, 0)
        missing = [key for key in values if key not in there]
        return all(self._final[f"{name}/{key}", ms] > number for key in missing)


def as_stored(series: Series, value: Value) -> Value:
    """Return a value as the store tells it."""
    return value if isinstance(value, bool | str) else float(value)


def blocks_from(year: int, last: Mapping[str, int]) -> list[int]:
    """Return the blocks of days from a year on."""
    newest = (max(*last.values(), 1) - 1) // HOURS
    return [block for block in range(newest + 1) if year_of(round(block_start(block) * 1000)) >= year]


def days(block: int) -> list[float]:
    """Return where the days of a block begin, and where the last one ends."""
    return [block_start(block) + day * 86_400 for day in range(HOURS // 24 + 1)]


def followed(reader: Reader, cursor: int) -> Iterator[Arrival]:
    """Yield everything after a cursor."""
    while page := reader.since(cursor, 20_000):
        yield from page
        cursor = page[-1].cursor
