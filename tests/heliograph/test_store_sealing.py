"""Sealing changes no result of a query: not afterwards, not while it happens, not after a crash."""

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from heliograph.messages import Block, Channel, Info, Value
from heliograph.store import folder, history, housekeeping, open_reader, open_writer, schema
from heliograph.store.buckets import edges
from heliograph.store.housekeeping import Housekeeping
from heliograph.store.interface import Reader, Writer
from tests.heliograph.engines import Embedded, Engine
from tests.heliograph.meter import (
    DECEMBER,
    KINDS,
    NEW_YEAR,
    Clock,
    Reading,
    bits,
    block,
    differing,
    query_results,
    readings,
    take,
)
from tests.heliograph.plain_list import DAY, T0, Follower, Model, compare, everything_since


@pytest.fixture
def clock() -> Clock:
    return Clock(T0)


@pytest.fixture
def writer(tmp_path: Path, clock: Clock) -> Iterator[Writer]:
    opened = open_writer(tmp_path, lambda: False, now=clock)  # readings may be later than the clock
    opened.declare("roof", "meter", KINDS)
    yield opened
    opened.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    opened = open_reader(tmp_path)
    yield opened
    opened.close()


@pytest.mark.long
def test_sealing_and_closing_change_no_result(engine: Engine) -> None:
    start = DECEMBER - 3 * DAY
    writer, reader = engine.writer(now=lambda: NEW_YEAR + 3 * DAY), engine.reader()
    writer.declare("roof", "meter", KINDS)
    # a day for cells of 5 minutes, two for those of an hour, and some without
    take(writer, readings(start, 1, 25))
    take(writer, readings(start + DAY, 2, 300, seed=2))
    take(writer, readings(start + 3 * DAY, 5, 3600, seed=3))
    hot, arrived = query_results(reader, start, start + 8 * DAY), everything_since(reader, 1000)
    writer.settle()
    sealed = query_results(reader, start, start + 8 * DAY)
    for name in differing(hot, sealed):
        # only sums of values that are not decimals, and areas, may be rounded differently where they are added up
        assert " " in name
        for function, before, after in functions(hot[name], sealed[name]):
            if "odd" in name or function == "integral":
                assert after == pytest.approx(before, rel=1e-9, abs=1e-9 if isinstance(engine, Embedded) else 0.2)
            else:
                assert bits(after) == bits(before), (name, function)
    assert everything_since(reader, 1000) == arrived
    writer.close()
    reader.close()


def functions(one: object, other: object) -> Iterator[tuple[str, list[Value | None], list[Value | None]]]:
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    for name, column in one.items():
        assert [value is None for value in column] == [value is None for value in other[name]]
        yield name, [value or 0.0 for value in column], [value or 0.0 for value in other[name]]


def damaged_delivery(rows: list[Reading], seed: int) -> list[list[Reading]]:
    """The same readings shuffled, some twice, some first with other values, in pieces."""
    chance = random.Random(seed)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    late = shuffled[: len(shuffled) // 4]
    rest = shuffled[len(late) :]
    wrong = [[row[0], 1.0, -1.0, 7.0, "wrong", False] for row in late if row[1] is not None]
    again = [row for row in rest if chance.random() < 0.2]
    return [[*rest, *wrong], again, [row for row in late if row[1] is None] + [r for r in late if r[1] is not None]]


def clean_and_damaged(clean: Engine, damaged: Engine, rows: list[Reading], now: float) -> None:
    """Compare the results of every query after a clean delivery with those after a damaged one, bit by bit."""
    clock = Clock(now)
    first, second = (engine.writer(lambda: False, now=clock) for engine in (clean, damaged))
    one, other = clean.reader(), damaged.reader()
    for writer in (first, second):
        writer.declare("roof", "meter", KINDS)
    take(first, rows)
    first.settle()
    for number, piece in enumerate(damaged_delivery(rows, seed=3)):
        take(second, piece, at_once=777)
        clock.now = now + number * 40 * DAY
        second.settle()  # days are sealed, months and years closed before the next piece comes
    start, end = float(str(rows[0][0])), float(str(rows[-1][0])) + 1
    assert differing(query_results(one, start, end), query_results(other, start, end)) == []
    followed = {(a.time, c): v for a in everything_since(other, 997) for c, v in a.values.items()}
    assert followed == {(a.time, c): v for a in everything_since(one, 997) for c, v in a.values.items()}
    for store in (first, second, one, other):
        store.close()


@pytest.mark.slow
def test_a_damaged_delivery_gives_the_results_of_a_clean_one_to_the_bit(tmp_path: Path) -> None:
    rows = readings(NEW_YEAR - DAY, 1, 25) + readings(NEW_YEAR, 35, 360, seed=2)
    clean_and_damaged(Embedded(tmp_path / "clean"), Embedded(tmp_path / "damaged"), rows, NEW_YEAR + 33 * DAY)


def test_a_damaged_delivery_into_years_that_are_closed(tmp_path: Path) -> None:
    rows = readings(NEW_YEAR - 3 * DAY, 1, 25) + readings(NEW_YEAR - 2 * DAY, 4, 300, seed=2)
    clean_and_damaged(Embedded(tmp_path / "clean"), Embedded(tmp_path / "damaged"), rows, NEW_YEAR + 500 * DAY)


def test_local_days_of_23_and_25_hours_are_the_same_from_points_and_from_cells(
    writer: Writer, reader: Reader, clock: Clock
) -> None:
    spring, autumn = datetime(2026, 3, 29, tzinfo=UTC).timestamp(), datetime(2025, 10, 26, tzinfo=UTC).timestamp()
    clock.now = NEW_YEAR + 200 * DAY
    for moment in (autumn, spring):
        rows = readings(moment - DAY, 3, 300)
        take(writer, rows)
        cuts = edges(moment - DAY, moment + 2 * DAY, "1d", "Europe/Berlin")
        hours = [round((end - start) / 3600) for start, end in itertools.pairwise(cuts)]
        assert set(hours) == {24, 23 if moment == spring else 25}
        wanted = [sum(start <= float(str(row[0])) < end for row in rows) for start, end in itertools.pairwise(cuts)]
        sid = next(one.id for one in reader.series() if one.channel == "on")
        assert reader.aggregate(sid, cuts, ["n"])["n"] == wanted
        writer.settle()
        assert reader.aggregate(sid, cuts, ["n"])["n"] == wanted


def copied_hot(data: Path, aside: Path) -> None:
    aside.mkdir()
    for path in folder(data).glob("hot.db*"):
        shutil.copy(path, aside / path.name)


def restored_hot(data: Path, aside: Path) -> None:
    for path in folder(data).glob("hot.db*"):
        path.unlink()
    for path in aside.iterdir():
        shutil.copy(path, folder(data) / path.name)


def test_a_crash_between_the_years_and_the_deletion_doubles_nothing_and_loses_nothing(tmp_path: Path) -> None:
    data, model = tmp_path / "data", Model()

    def opened() -> Writer:
        writer = open_writer(data, now=lambda: NEW_YEAR + 40 * DAY)
        writer.declare("roof", "meter", KINDS)
        writer.commit({})
        return writer

    def arrive(writer: Writer, rows: list[Reading]) -> None:
        writer.write("roof", block(rows))
        model.write("roof", block(rows)[0])
        writer.commit({})
        model.commit()

    cuts = edges(NEW_YEAR - 2 * DAY, NEW_YEAR + 2 * DAY, "6h", "UTC")
    reader = open_reader(data)
    writer = opened()
    arrive(writer, readings(NEW_YEAR - DAY, 2, 1800))
    writer.settle()
    for n in range(2):
        # late ones and new ones, of two years; then the power goes before hot.db forgets them
        arrive(writer, readings(NEW_YEAR - DAY, 2, 3600, seed=n + 5))
        arrive(writer, readings(NEW_YEAR + (n + 1) * DAY, 1, 3600, seed=n))
        before = tmp_path / f"hot{n}"
        copied_hot(data, before)
        writer.settle()
        compare(reader, model, cuts, 100)
        writer.close()
        restored_hot(data, before)
        compare(reader, model, cuts, 100)
        writer = opened()
        compare(reader, model, cuts, 100)
        arrive(writer, readings(NEW_YEAR - DAY, 1, 7200, seed=n + 9))
        compare(reader, model, cuts, 100)
        writer.settle()
        compare(reader, model, cuts, 100)
    writer.close()
    reader.close()


class PowerCut(Exception):
    """The process ends here."""


def test_a_follower_skips_nothing_while_only_some_years_are_written(
    tmp_path: Path, writer: Writer, reader: Reader, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the newest arrival is of the older year, which is written first
    take(writer, readings(NEW_YEAR, 1, 3600))
    take(writer, readings(NEW_YEAR - DAY, 1, 3600))
    follower = Follower()
    wanted = {(a.cursor, a.time): a.values for a in everything_since(reader, 7)}
    seal_year = Housekeeping._seal_year

    def cut(self: Housekeeping, number: int, *rest: Any) -> None:
        if number == 2026:
            raise PowerCut
        seal_year(self, number, *rest)

    monkeypatch.setattr(Housekeeping, "_seal_year", cut)
    with pytest.raises(PowerCut):
        writer.settle()
    assert sorted(history.files(folder(tmp_path))) == [2025]
    assert {(a.cursor, a.time): a.values for a in everything_since(reader, 7)} == wanted
    follower.poll(reader, 10)
    monkeypatch.undo()
    writer.settle()
    while follower.poll(reader, 10):
        pass
    assert {(a.cursor, a.time): a.values for a in everything_since(reader, 7)} == wanted
    assert len(follower.known) == sum(len(values) for values in wanted.values())


def test_the_latest_is_known_even_if_it_was_never_seen_before_it_was_sealed(writer: Writer, reader: Reader) -> None:
    take(writer, [[T0, 1.0, 1.0, 1.0, "bulk", True]])
    assert reader.latest([1])[1].value == 1.0
    writer.settle()
    assert reader.latest([1])[1].value == 1.0
    take(writer, [[T0 + 5, 2.0, 1.0, 1.0, "float", True]])
    writer.settle()
    assert reader.latest([1])[1].value == 2.0
    assert reader.latest([4])[4].value == "float"


def test_numbers_of_arrival_are_never_used_again(tmp_path: Path, reader: Reader) -> None:
    seen: list[int] = []
    for n in range(4):
        writer = open_writer(tmp_path, now=lambda: NEW_YEAR)
        writer.write("roof", [Block("meter", ("power",), [[T0 + n, 1.0]])])
        writer.commit({})
        seen += [arrival.cursor for arrival in reader.since(seen[-1] if seen else 0, 10)]
        writer.settle()
        writer.close()
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("change", ["late", "new", "kind", "replaced", "rollover"])
def test_the_version_of_a_result_changes_with_it_and_only_then(engine: Engine, change: str) -> None:
    writer, reader = engine.writer(now=lambda: T0 + 301 * DAY), engine.reader()
    writer.declare("roof", "meter", KINDS)
    take(writer, readings(T0, 1, 600))
    writer.settle()
    span = T0, T0 + DAY
    before = reader.version(*span)
    assert reader.version(*span) == before
    assert not writer.maintain()
    take(writer, readings(T0 + 300 * DAY, 1, 3600))
    assert reader.version(*span) == before
    changes: dict[str, Callable[[], object]] = {
        "late": lambda: take(writer, [[T0 + 5, 1.0, 1.0, 1.0, "bulk", True]]),
        "new": lambda: take(writer, [[T0 + DAY, 1.0, 1.0, 1.0, "bulk", True]]),
        "kind": lambda: writer.declare("roof", "meter", Info("", {"power": Channel("W", "counter")})),
        "replaced": lambda: writer.replaced(3, T0 + 600),
        "rollover": lambda: writer.declare(
            "roof", "meter", Info("", {"energy": Channel("kWh", "counter", rollover=9.0)})
        ),
    }
    changes[change]()
    writer.commit({})
    assert reader.version(*span) != before
    writer.close()
    reader.close()


def test_a_day_is_sealed_when_it_is_over_and_a_month_is_closed_after_a_delay_for_late_readings(
    tmp_path: Path, clock: Clock
) -> None:
    store = folder(tmp_path)
    clock.now = DECEMBER + 11 * 3600
    writer = open_writer(tmp_path, now=clock)
    take(writer, readings(DECEMBER, 1, 300))
    assert not writer.maintain()
    assert history.files(store) == {}
    clock.now = DECEMBER + 12 * 3600 + housekeeping.SEAL_DELAY + 1
    assert writer.maintain()
    assert list(history.files(store)) == [2025]
    assert not writer.maintain()
    for day, closed in ((31, False), (33, True)):
        clock.now = NEW_YEAR + (day - 31) * DAY + 3600
        take(writer, readings(clock.now - 3600, 1, 3600))
        while writer.maintain():
            pass
        with schema.reading(history.file(store, 2025)) as db:
            tables = {
                name: db.execute(f"SELECT 1 FROM {name}").fetchone() for name in ("r1h_day", "r1h_month", "r1h_year")
            }
        assert bool(tables["r1h_month"] or tables["r1h_year"]) == closed
        assert bool(tables["r1h_day"]) != closed
    writer.close()
