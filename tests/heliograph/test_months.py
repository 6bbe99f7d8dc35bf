from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.messages import Kind
from heliograph.store import cells, history, months, schema
from heliograph.store.cells import DAY, Cells, DaySpan, Track
from heliograph.store.tiers import FIVE_MINUTES, HOUR, Grain, Tier
from heliograph.store.vectors import ops
from heliograph.store.year_file import Year

JUNE = 2024 * 12 + 5
FIRST = history.first_day(JUNE)


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    connection = schema.create(history.file(tmp_path, 2024), history.PAGE, history.SCHEMA)
    yield Year(connection)
    connection.close()


def measured(day: int, kind: Kind = "gauge", value: float = 1.0, grain: Grain = HOUR) -> tuple[Cells, DaySpan]:
    times = range(day * DAY, (day + 1) * DAY, 600_000)
    track = Track(ops.ints(times), ops.floats([value] * len(times)))
    return cells.of_day(track, day, grain.width, kind, 0.0), cells.span(track)


def put(year: Year, day: int, kind: Kind = "gauge", value: float = 1.0, *, enough: bool = True) -> None:
    year.put_chunk(1, day, 0, (0, 0.0), b"")
    for grain in (FIVE_MINUTES, HOUR):
        day_cells, span = measured(day, kind, value, grain)
        months.put(year, grain, 1, day, day_cells if enough else None, span)


def tier(year: Year, level: str, number: int, grain: Grain = HOUR) -> Tier:
    blob = year.tier(grain, level, 1, number)
    assert blob is not None
    return blob.tier()


def days_of(decoded: Tier) -> list[int]:
    assert decoded.cells is not None
    return sorted({start // DAY for start in decoded.cells.start.tolist()})


def values_of(decoded: Tier) -> dict[int, float]:
    assert decoded.cells is not None
    assert decoded.cells.last is not None
    starts = [start // DAY for start in decoded.cells.start.tolist()]
    return dict(zip(starts, decoded.cells.last.tolist(), strict=True))


def test_days_become_a_month_and_months_a_year(year: Year) -> None:
    for day in (FIRST, FIRST + 3, FIRST + 35):
        put(year, day, value=float(day))
    assert year.open_days(HOUR, FIRST + 29) == []
    assert year.open_days(HOUR, FIRST + 30) == [(1, JUNE)]
    assert year.open_months(HOUR) == []
    for month in (JUNE, JUNE + 1):
        months.close(year, HOUR, 1, month)
    assert year.open_days(HOUR, FIRST + 99) == []
    assert (days_of(tier(year, "month", JUNE)), days_of(tier(year, "month", JUNE + 1))) == (
        [FIRST, FIRST + 3],
        [FIRST + 35],
    )
    assert year.open_months(HOUR) == [1]
    months.close_year(year, HOUR, 1, 2024)
    assert year.open_months(HOUR) == []
    whole = tier(year, "year", 2024)
    assert values_of(whole) == {day: float(day) for day in (FIRST, FIRST + 3, FIRST + 35)}
    assert [span.start for span in whole.spans] == [day * DAY for day in (FIRST, FIRST + 3, FIRST + 35)]
    assert year.tier(HOUR, "month", 1, JUNE) is None


@pytest.mark.parametrize("level", ["month", "year"])
def test_late_days_are_put_into_a_closed_month_or_year(year: Year, level: str) -> None:
    for day in (FIRST, FIRST + 3):
        put(year, day)
    months.close(year, HOUR, 1, JUNE)
    number = JUNE
    if level == "year":
        months.close_year(year, HOUR, 1, 2024)
        number = 2024
    put(year, FIRST, value=5.0)
    put(year, FIRST + 1, value=6.0)
    put(year, FIRST + 9, enough=False)
    closed = tier(year, level, number)
    assert values_of(closed) == {FIRST: 5.0, FIRST + 1: 6.0, FIRST + 3: 1.0}
    assert closed.bare == {FIRST + 9}
    assert [span.start // DAY for span in closed.spans] == [FIRST, FIRST + 1, FIRST + 3]
    put(year, FIRST + 9)
    assert tier(year, level, number).bare == frozenset()
    put(year, FIRST + 3, enough=False)
    assert tier(year, level, number).bare == {FIRST + 3}
    assert FIRST + 3 not in days_of(tier(year, level, number))


def test_days_of_another_kind_are_left_bare(year: Year) -> None:
    put(year, FIRST)
    put(year, FIRST + 1, "counter")
    put(year, FIRST + 2)
    months.close(year, HOUR, 1, JUNE)
    closed = tier(year, "month", JUNE)
    assert (days_of(closed), set(closed.bare)) == ([FIRST, FIRST + 2], {FIRST + 1})
    put(year, FIRST + 2, "counter")
    assert tier(year, "month", JUNE).bare == {FIRST + 1, FIRST + 2}
    put(year, FIRST, "counter")
    put(year, FIRST + 1, "counter")
    closed = tier(year, "month", JUNE)
    assert (days_of(closed), set(closed.bare), closed.spans) == ([FIRST, FIRST + 1], {FIRST + 2}, [])


def test_a_day_that_has_no_longer_enough_points_loses_its_cells(year: Year) -> None:
    put(year, FIRST)
    put(year, FIRST, enough=False)
    assert list(year.tiers_of_days(HOUR, 1, FIRST, FIRST)) == []


@pytest.mark.parametrize("level", ["day", "month", "year"])
def test_cells_that_cannot_be_read_leave_their_days_bare(year: Year, level: str) -> None:
    for day in (FIRST, FIRST + 3):
        put(year, day)
    if level != "day":
        months.close(year, HOUR, 1, JUNE)
    if level == "year":
        months.close_year(year, HOUR, 1, 2024)
    year.db.execute(f"UPDATE r1h_{level} SET b=? WHERE k = (SELECT min(k) FROM r1h_{level})", (b"\x01no",))
    put(year, FIRST + 5)
    if level == "day":
        months.close(year, HOUR, 1, JUNE)
        closed = tier(year, "month", JUNE)
        assert (days_of(closed), set(closed.bare)) == ([FIRST + 3, FIRST + 5], {FIRST})
    else:
        closed = tier(year, level, JUNE if level == "month" else 2024)
        assert (days_of(closed), set(closed.bare)) == ([FIRST + 5], {FIRST, FIRST + 3})
