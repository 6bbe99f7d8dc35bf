"""Dropping old readings: by age, by size, on a full disk, with a clock that is ahead."""

import itertools
import logging
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heliograph.messages import Block, Channel, Info
from heliograph.store import folder, history, open_reader, schema
from heliograph.store.interface import FUNCTIONS, Function, Keep, Reader, Writer
from heliograph.store.retention import GIGABYTE
from heliograph.store.retention_calendar import JUMP_DAYS, RetentionCalendar
from heliograph.store.writer import SqliteWriter
from heliograph.store.years import Years
from tests.heliograph.meter import Clock
from tests.heliograph.plain_list import DAY

INFO = Info(
    "Meter",
    {"power": Channel("W"), "energy": Channel("kWh", "counter"), "temperature": Channel("°C")},
)
FREE = 10**12


def start_of(year: int) -> float:
    return datetime(year, 1, 1, tzinfo=UTC).timestamp()


def opened(data: Path, keep: Keep, now: Callable[[], float], room: Callable[[Path], int] = lambda _: FREE) -> Writer:
    return SqliteWriter(folder(data), lambda: True, keep, now, room)


def write(writer: Writer, start: float, days: float, every: float) -> None:
    """Readings of a meter from a time on, as sealed as they can be."""
    writer.declare("roof", "meter", INFO)
    chance = random.Random(start)
    count = int(days * DAY / every)
    rises = itertools.accumulate(chance.randrange(30) for _ in range(count))
    rows = [
        [start + n * every, chance.randrange(4000, 6000) / 10, rise / 100, chance.randrange(190, 210) / 10]
        for n, rise in enumerate(rises)
    ]
    for first in range(0, len(rows), 100_000):
        assert writer.write("roof", [Block("meter", tuple(INFO.channels), rows[first : first + 100_000])]) == []
        writer.commit({})
    writer.settle()


def maintained(writer: Writer, data: Path | None = None) -> list[int]:
    """Do what is due; return the bytes of all years after each step."""
    sizes = []
    while writer.maintain():
        sizes.append(0 if data is None else bytes_of_years(data))
    return sizes


def bytes_of_years(data: Path) -> int:
    return sum(path.stat().st_size for path in history.files(folder(data)).values())


def hours(reader: Reader, start: float, days: int) -> dict[int, object]:
    """Every aggregate by 5 minutes, hour and day of each series."""
    functions: list[Function] = [name for name in FUNCTIONS if name != "integral"]
    edges = {width: [start + n * width for n in range(int(days * DAY / width) + 1)] for width in (300, 3600, 86_400)}
    return {
        one.id: [
            reader.aggregate(one.id, cuts, FUNCTIONS if one.kind != "counter" else functions) for cuts in edges.values()
        ]
        for one in reader.series()
    }


@pytest.mark.parametrize(("every", "days"), [(10, 3), (30, 4), (60, 4), (300, 10), (600, 20)])
def test_dropping_points_never_makes_a_year_larger_and_changes_no_total(
    tmp_path: Path, every: float, days: int
) -> None:
    start, clock = start_of(2024), Clock(start_of(2027) + 60 * DAY)
    with closing(opened(tmp_path, Keep(), clock)) as writer:
        write(writer, start, days, every)
        write(writer, start_of(2026), 0.01, 300)
        maintained(writer)
    before = bytes_of_years(tmp_path)
    with closing(open_reader(tmp_path)) as reader:
        totals, extent = hours(reader, start, days), reader.extent()
        latest = reader.latest([one.id for one in reader.series()])
    with closing(opened(tmp_path, Keep(raw_years=1), clock)) as writer:
        assert all(size <= before for size in maintained(writer, tmp_path))
        after = bytes_of_years(tmp_path)
        assert writer.problems() == []
        bare = history.is_bare(history.files(folder(tmp_path))[2024])
        assert len(writer.dropped()) == int(bare)
    assert after < before if bare else after == before
    assert bare == (every <= 30)  # below a reading every 30 s the points are what takes the least room
    with closing(open_reader(tmp_path)) as reader:
        assert hours(reader, start, days) == totals
        assert reader.extent() == extent
        assert reader.latest([one.id for one in reader.series()]) == latest
        points = reader.raw(1, start, start + days * DAY, limit=10**9).times
        assert len(points) == (DAY / every if bare else days * DAY / every)  # the newest day stays
        assert reader.problems() == []


def test_days_with_few_readings_keep_them_beside_days_with_many(tmp_path: Path) -> None:
    start, clock = start_of(2024), Clock(start_of(2027))
    with closing(opened(tmp_path, Keep(), clock)) as writer:
        write(writer, start_of(2026), 0.01, 300)
        for day, every in enumerate([20, 300, 20, 60, 20, 20]):
            write(writer, start + day * 2 * DAY, 1, every)
        maintained(writer)
    cuts = [start + DAY * day + 7 for day in range(14)]
    with closing(open_reader(tmp_path)) as reader:
        totals = hours(reader, start, 14)
        rises = reader.aggregate(2, cuts, ["n"])["n"]
        counts = [
            reader.aggregate(2, [start, cut], ["n", "first", "last"]) for cut in (start + 3 * DAY, start + 7 * DAY)
        ]
    with closing(opened(tmp_path, Keep(raw_years=1), clock)) as writer:
        maintained(writer)
    with closing(open_reader(tmp_path)) as reader:
        assert hours(reader, start, 14) == totals
        assert [
            reader.aggregate(2, [start, cut], ["n", "first", "last"]) for cut in (start + 3 * DAY, start + 7 * DAY)
        ] == counts
        there = [int((time - start) // DAY) for time in reader.raw(1, start, start + 14 * DAY, limit=10**9).times]
        assert sorted(set(there)) == [2, 6, 10]
        assert [n for n in reader.aggregate(2, cuts, ["n"])["n"] if n] != [n for n in rises if n]
        for day in range(
            1, 13
        ):  # a rise that begins behind a day of cells, before a day of points, and the other way round
            edges = [start + DAY * day, start + DAY * (day + 1)]
            assert reader.aggregate(2, edges, ["delta"])["delta"] == [totals_of_day(totals, day)]


def test_a_year_without_some_of_its_points_is_salvaged_with_those_that_it_has(tmp_path: Path) -> None:
    start, clock = start_of(2024), Clock(start_of(2027))
    with closing(opened(tmp_path, Keep(raw_years=1), clock)) as writer:
        write(writer, start_of(2026), 0.01, 300)
        for day, every in enumerate([20, 300, 20]):
            write(writer, start + day * DAY, 1, every)
        maintained(writer)
    with closing(open_reader(tmp_path)) as reader:
        before = hours(reader, start, 4), list(reader.export([1, 2, 3], 0, 1e11)), reader.since(0, 10**6)
    path = history.files(folder(tmp_path))[2024]
    assert history.is_bare(path)
    schema.move_aside(path)
    with closing(opened(tmp_path, Keep(raw_years=1), clock)) as writer:
        maintained(writer)
        assert writer.problems() == []
    with closing(open_reader(tmp_path)) as reader:
        assert (hours(reader, start, 4), list(reader.export([1, 2, 3], 0, 1e11)), reader.since(0, 10**6)) == before


def test_a_page_of_a_year_without_its_points_is_never_lost_without_a_word(tmp_path: Path) -> None:
    """Any page of it: what SQLite cannot read tells nothing of the rows that it had."""
    start, clock, keep = start_of(2024), Clock(start_of(2027)), Keep(raw_years=1)
    with closing(opened(tmp_path / "whole", keep, clock)) as writer:
        write(writer, start_of(2026), 0.01, 300)
        write(writer, start, 40, 30)
        maintained(writer)
    with closing(open_reader(tmp_path / "whole")) as reader:
        before = hours(reader, start, 40)
    path = history.files(folder(tmp_path / "whole"))[2024]
    assert history.is_bare(path)
    with closing(sqlite3.connect(path)) as connection:
        (size,), (count,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count"))
    for page in [0, *random.sample(range(1, count), 5)]:
        data = tmp_path / f"page{page}"
        shutil.copytree(tmp_path / "whole", data)
        with (folder(data) / path.name).open("r+b") as file:
            file.seek(page * size)
            file.write(random.Random(page).randbytes(size))
        with closing(opened(data, keep, clock)) as writer:
            assert isinstance(writer, SqliteWriter)
            writer.mend()
            problems = writer.problems()
        with closing(open_reader(data)) as reader:
            assert problems or hours(reader, start, 40) == before, page


def totals_of_day(totals: dict[int, object], day: int) -> object:
    by_width = totals[2]
    assert isinstance(by_width, list)
    return by_width[2]["delta"][day]


def five_years(data: Path, clock: Clock) -> int:
    with closing(opened(data, Keep(), clock)) as writer:
        for year in range(2022, 2027):
            write(writer, start_of(year), 8, 300)
        maintained(writer)
    return bytes_of_years(data)


def test_a_limit_a_little_below_the_size_costs_the_oldest_year_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(start_of(2026) + 60 * DAY)
    size = five_years(tmp_path, clock)
    keep = Keep(gigabytes=size * 0.95 / GIGABYTE)
    with closing(opened(tmp_path, keep, clock)) as writer, caplog.at_level(logging.WARNING):
        assert all(step <= size for step in maintained(writer, tmp_path))
        assert list(history.files(folder(tmp_path))) == [2023, 2024, 2025, 2026]
        assert bytes_of_years(tmp_path) <= size * 0.95
        (sentence,) = writer.dropped()
    assert sentence.startswith("2022 was deleted (2022-01-01 00:00 to 2022-01-08 23:55, ")
    assert "keep_gigabytes" in sentence
    assert sentence in caplog.text
    with closing(opened(tmp_path, keep, clock)) as writer:
        assert writer.dropped() == [sentence]  # still there after a restart


def test_points_that_have_smaller_cells_go_before_any_year(tmp_path: Path) -> None:
    clock = Clock(start_of(2026) + 60 * DAY)
    with closing(opened(tmp_path, Keep(), clock)) as writer:
        for year, every in ((2023, 600), (2024, 20), (2025, 20), (2026, 600)):
            write(writer, start_of(year), 4, every)
        maintained(writer)
    size = bytes_of_years(tmp_path)
    with closing(opened(tmp_path, Keep(gigabytes=size * 0.95 / GIGABYTE), clock)) as writer:
        maintained(writer)
    files = history.files(folder(tmp_path))
    assert [(number, history.is_bare(path)) for number, path in files.items()] == [
        (2023, False),
        (2024, True),
        (2025, False),
        (2026, False),
    ]


def test_a_store_that_is_nearly_full_reports_it_before_anything_is_deleted(tmp_path: Path) -> None:
    clock = Clock(start_of(2026) + 60 * DAY)
    size = five_years(tmp_path, clock)
    for share, reported in ((0.85, False), (0.95, True)):
        with closing(opened(tmp_path, Keep(gigabytes=size / share / GIGABYTE), clock)) as writer:
            assert not writer.maintain()
            assert [("keep_gigabytes" in text, "2022" in text) for text in writer.problems()] == [
                (True, True)
            ] * reported
            assert writer.dropped() == []


def test_a_disk_without_room_is_not_touched_for_an_hour_and_commits_continue(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, free = Clock(start_of(2027)), [300_000]
    with closing(opened(tmp_path, Keep(), clock)) as writer:
        write(writer, start_of(2024), 3, 20)
        write(writer, start_of(2026), 0.01, 300)
        maintained(writer)
    before = {path.name: path.stat().st_size for path in folder(tmp_path).iterdir()}
    with closing(opened(tmp_path, Keep(raw_years=1), clock, lambda _: free[0])) as writer:
        for _ in range(60):
            assert writer.write("roof", [Block("meter", ("power",), [[clock.now, 1.0]])]) == []
            writer.commit({})
            clock.now += 59
            writer.maintain()
        assert sum("nothing can be dropped" in record.getMessage() for record in caplog.records) == 1
        (problem,) = writer.problems()
        assert "history-2024.db" in problem
        assert "free" in problem
        years = history.files(folder(tmp_path))
        assert years[2024].stat().st_size == before["history-2024.db"]
        free[0] = FREE
        assert not writer.maintain()
        clock.now += 3600
        maintained(writer)
        assert history.is_bare(history.files(folder(tmp_path))[2024])
        assert writer.problems() == []


def test_a_size_limit_on_a_disk_without_room_deletes_the_oldest_year(tmp_path: Path) -> None:
    clock = Clock(start_of(2026) + 60 * DAY)
    with closing(opened(tmp_path, Keep(), clock)) as writer:
        for year in (2024, 2025, 2026):
            write(writer, start_of(year), 3, 20)
        maintained(writer)
    size = bytes_of_years(tmp_path)
    with closing(opened(tmp_path, Keep(gigabytes=size * 0.95 / GIGABYTE), clock, lambda _: 0)) as writer:
        maintained(writer)
    assert list(history.files(folder(tmp_path))) == [2025, 2026]


@pytest.mark.parametrize("keep", [Keep(years=2), Keep(raw_years=2), Keep(gigabytes=1e-6)])
def test_a_clock_that_is_ahead_drops_nothing_and_when_it_is_right_all_continues(tmp_path: Path, keep: Keep) -> None:
    now = start_of(2026) + 100 * DAY
    clock = Clock(now)
    with closing(opened(tmp_path, keep._replace(gigabytes=0.0), clock)) as writer:
        write(writer, start_of(2025), 2, 20)
        write(writer, start_of(2026), 2, 20)
        maintained(writer)
    sizes = {number: path.stat().st_size for number, path in history.files(folder(tmp_path)).items()}
    clock.now = start_of(2045) + 151 * DAY
    with closing(SqliteWriter(folder(tmp_path), lambda: False, keep, clock, lambda _: FREE)) as writer:
        # the store takes what is stamped by a clock that is believed; here the machine's own clock is not asked
        for _ in range(30):
            writer.write("roof", [Block("meter", ("power",), [[clock.now, 1.0]])])
            writer.commit({})
            maintained(writer)
            clock.now += 600
        writer.settle()
    with closing(opened(tmp_path, keep, clock)) as writer:
        maintained(writer)
        files = history.files(folder(tmp_path))
        if not keep.gigabytes:
            assert {number: files[number].stat().st_size for number in (2025, 2026)} == sizes
            assert any("2045" in problem and "2026" in problem for problem in writer.problems())
        assert 2026 in files
        assert not history.is_bare(files[2026])
        assert 2045 in files
    for _ in range(2):  # and after a restart
        clock.now = now + 3600
        with closing(opened(tmp_path, keep, clock)) as writer:
            maintained(writer)
            assert writer.write("roof", [Block("meter", ("power",), [[clock.now, 2.0]])]) == []
            writer.commit({})
            assert any("history-2045.db" in problem for problem in writer.problems())


def test_a_clock_that_is_not_set_drops_nothing_more(tmp_path: Path) -> None:
    clock = Clock(start_of(2026))
    with closing(opened(tmp_path, Keep(years=1), clock)) as writer:
        write(writer, start_of(2025), 1, 300)
        write(writer, start_of(2026), 1, 300)
    clock.now = start_of(2028)
    with closing(SqliteWriter(folder(tmp_path), lambda: False, Keep(years=1), clock)) as writer:
        maintained(writer)
    assert list(history.files(folder(tmp_path))) == [2025, 2026]


def test_a_year_that_was_dropped_is_not_begun_again_by_late_readings(tmp_path: Path) -> None:
    clock = Clock(start_of(2026))
    with closing(opened(tmp_path, Keep(years=1), clock)) as writer:
        writer.write("roof", [Block("meter", ("power",), [[start_of(2023) + 9, 1.0], [start_of(2026) - 9, 1.0]])])
        writer.commit({})
        writer.settle()
        maintained(writer)
        refusals = writer.write("roof", [Block("meter", ("power",), [[start_of(2023), 1.0]])])
        assert [refusal.why for refusal in refusals] == ["older than what is kept"]
        clock.now += 7 * DAY
        maintained(writer)
        assert list(history.files(folder(tmp_path))) == [2025]


class Kept:
    """What a calendar keeps."""

    def __init__(self) -> None:
        self.text: str | None = None

    def __call__(self, text: str) -> None:
        self.text = text


def days_of(moves: list[tuple[int, bool]], first: int) -> list[tuple[int, int]]:
    """Clock and believed day for each move of the clock, which begins at a day; every second one after a restart."""
    kept = Kept()
    clock = first
    calendar = RetentionCalendar(None, kept, first * DAY)
    seen = []
    for step, restart in moves:
        clock += step
        if restart:
            calendar = RetentionCalendar(kept.text, kept, clock * DAY)
        seen.append((clock, calendar.today(clock * DAY + 7, clock_is_right=True)))
    return seen


@given(st.lists(st.tuples(st.sampled_from([0, 1, 1, 1, 2, -1, 30, 90, 7000, -7000]), st.booleans()), max_size=60))
@example([(7000, False), (1, True), (1, False)])
def test_the_day_that_is_believed_is_never_far_ahead_of_the_days_lived_through(moves: list[tuple[int, bool]]) -> None:
    first, lived, largest = 20_000, 0, 20_000
    for (step, _), (clock, day) in zip(moves, days_of(moves, first), strict=True):
        lived += step > 0
        assert day <= clock
        allowed = max(JUMP_DAYS, 10 * lived) + lived  # a jump is believed after a tenth of it
        assert day - largest <= allowed
        largest = max(largest, day)


@pytest.mark.parametrize(("away", "after"), [(10, 0), (40, 0), (41, 4), (90, 8), (365, 36), (7000, 699)])
def test_a_jump_is_believed_after_a_tenth_of_it_was_lived_through(away: int, after: int) -> None:
    days = days_of([(away, False), *itertools.repeat((1, True), after + 10)], 20_000)
    assert [clock == day for clock, day in days].index(True) == after
    assert all(day == clock for clock, day in days[after:])


def test_a_clock_that_goes_back_is_followed_at_once() -> None:
    assert days_of([(5, False), (7000, False), (1, False), (-7001, False), (1, True)], 20_000) == [
        (20_005, 20_005),
        (27_005, 20_005),
        (27_006, 20_006),
        (20_005, 20_005),
        (20_006, 20_006),
    ]


def test_the_journal_of_a_transaction_that_failed_gives_its_room_back(tmp_path: Path) -> None:
    with closing(opened(tmp_path, Keep(), Clock(start_of(2026)))) as writer:
        write(writer, start_of(2025), 1, 300)
        assert isinstance(writer, SqliteWriter)
        years = writer._housekeeping.years
        with closing(sqlite3.connect(history.file(folder(tmp_path), 2025))) as other:
            other.execute("SELECT count(*) FROM meta").fetchone()  # a reader: the journal is not deleted when it closes
            wal = folder(tmp_path) / "history-2025.db-wal"
            with pytest.raises(OSError, match="disk"):
                fill(years, wal)
            assert wal.stat().st_size == 0


def fill(years: Years, journal: Path) -> None:
    """Write much into a year, until the disk is full."""
    with years.writing(2025) as year:
        year.db.execute("PRAGMA max_page_count = 2000")
        for n in range(3000):
            year.db.execute("INSERT INTO damaged VALUES(?, 0, zeroblob(4000))", (n,))
            assert n < 1000 or journal.stat().st_size > 1_000_000
