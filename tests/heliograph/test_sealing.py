import math
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.store import history, names, schema, sealing, tiers, year_file
from heliograph.store.cells import DAY
from heliograph.store.hot import Row
from heliograph.store.interface import Series
from heliograph.store.names import Layout, Names
from heliograph.store.year_file import Year

TODAY = 20_000
NOW = TODAY * DAY
BOTH, FIRST, SECOND = 1, 2, 3


def known() -> Names:
    catalog = names.Names({}, {}, {}, {}, {}, {}, {})
    catalog.devices[1] = ("roof", "meter")
    for sid in (1, 2):
        catalog.series[sid] = Series(sid, "roof", "meter", f"c{sid}", "", "gauge")
        catalog.owners[sid] = 1
    catalog.layouts.update({BOTH: Layout(1, (1, 2)), FIRST: Layout(1, (1,)), SECOND: Layout(1, (2,))})
    return catalog


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    connection = schema.create(history.file(tmp_path, 2024), history.PAGE, history.SCHEMA)
    yield Year(connection)
    connection.close()


def row(number: int, layout: int, time: int, *values: float) -> Row:
    return number, layout, time, struct.pack(f"<{len(values)}d", *values)


def seal(year: Year, rows: list[Row]) -> None:
    for (device, day), readings in sealing.by_day(rows, known()).items():
        sources, parts = sealing.opened(readings, known())
        with schema.transaction(year.db):
            sealing.seal(year, device, day, sources, parts, known())


def points(year: Year, series: int, day: int = TODAY) -> list[tuple[int, int, float]]:
    """Time in the day, number of arrival and value of each point."""
    chunk = year.chunk(series, day)
    if chunk is None:
        return []
    times, numbers = year.axis(chunk.axis)
    values = year_file.track(times, chunk).values.tolist()
    return [(t - day * DAY, n, v) for t, n, v in zip(times.tolist(), numbers.tolist(), values, strict=True)]


def test_values_that_were_measured_together_share_an_axis(year: Year) -> None:
    seal(year, [row(1, BOTH, NOW, 1.0, 2.0), row(2, BOTH, NOW + 5, 3.0, 4.0)])
    assert points(year, 1) == [(0, 1, 1.0), (5, 2, 3.0)]
    assert points(year, 2) == [(0, 1, 2.0), (5, 2, 4.0)]
    assert len(year.axes(1, TODAY)) == 1


def test_values_that_were_measured_apart_have_axes_of_their_own_and_no_axis_is_left_behind(year: Year) -> None:
    seal(year, [row(1, BOTH, NOW, 1.0, 2.0)])
    seal(year, [row(2, FIRST, NOW + 5, 3.0)])
    assert points(year, 1) == [(0, 1, 1.0), (5, 2, 3.0)]
    assert points(year, 2) == [(0, 1, 2.0)]
    assert len(year.axes(1, TODAY)) == 2
    seal(year, [row(3, BOTH, NOW + 9, 5.0, 6.0), row(4, SECOND, NOW + 5, 7.0)])
    assert points(year, 1) == [(0, 1, 1.0), (5, 2, 3.0), (9, 3, 5.0)]
    assert points(year, 2) == [(0, 1, 2.0), (5, 4, 7.0), (9, 3, 6.0)]
    used = {chunk.axis for sid in (1, 2) if (chunk := year.chunk(sid, TODAY))}
    assert set(year.axes(1, TODAY)) == used


def test_an_absent_value_replaces_nothing(year: Year) -> None:
    seal(
        year, [row(1, BOTH, NOW, 1.0, 2.0), row(2, BOTH, NOW, math.nan, 3.0), row(3, BOTH, NOW + 1, math.nan, math.nan)]
    )
    assert points(year, 1) == [(0, 1, 1.0)]
    assert points(year, 2) == [(0, 2, 3.0)]


def test_the_last_arrival_wins_against_sealed_points(year: Year) -> None:
    seal(year, [row(5, BOTH, NOW, 1.0, 2.0), row(6, BOTH, NOW - 1, 0.0, 0.0)])
    seal(year, [row(7, FIRST, NOW, 9.0), row(8, FIRST, NOW - 2, 8.0)])
    assert points(year, 1) == [(0, 7, 9.0)]
    assert points(year, 2) == [(0, 5, 2.0)]
    assert points(year, 1, TODAY - 1) == [(DAY - 2, 8, 8.0), (DAY - 1, 6, 0.0)]


def test_readings_that_are_sealed_twice_are_there_once(year: Year) -> None:
    rows = [row(1, BOTH, NOW, 1.0, 2.0), row(2, FIRST, NOW, 3.0), row(3, SECOND, NOW + 1, 4.0)]
    seal(year, rows)
    once = [points(year, sid) for sid in (1, 2)], year.axes(1, TODAY)
    seal(year, rows)
    assert ([points(year, sid) for sid in (1, 2)], year.axes(1, TODAY)) == once
    seal(year, rows[:2])
    assert ([points(year, sid) for sid in (1, 2)], year.axes(1, TODAY)) == once


@pytest.mark.parametrize("seed", range(20))
def test_readings_sealed_in_any_number_of_pieces_have_the_same_points(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rows = []
    for number in range(1, 60):
        values = [float(number), float(-number)]
        layout = chance.choice([BOTH, FIRST, SECOND])
        some = values if layout == BOTH else values[:1]
        rows.append(
            row(number, layout, NOW + chance.randrange(25), *(math.nan if chance.random() < 0.1 else v for v in some))
        )
    results = []
    for name, most in (("once", 99), ("often", 7)):
        connection = schema.create(history.file(tmp_path / name, 2024), history.PAGE, history.SCHEMA)
        for start in range(0, len(rows), most):
            seal(Year(connection), rows[start : start + most])
        results.append([points(Year(connection), sid) for sid in (1, 2)])
        spans = connection.execute("SELECT k, smin, smax FROM axis").fetchall()
        assert spans
        for k, smallest, largest in spans:
            numbers = Year(connection).axis(k)[1].tolist()
            assert (smallest, largest) == (min(numbers), max(numbers))
        connection.close()
    assert results[0] == results[1]


def cut(year: Year, begin: int, end: int, *series: int, day: int = TODAY) -> int:
    with schema.transaction(year.db):
        return sealing.cut(year, 1, day, series, begin, end, known())


def day_of_readings() -> list[Row]:
    """As many readings, all through the day, as make cells of five minutes."""
    return [row(n + 1, BOTH, NOW + n * 30_000, float(n), -float(n)) for n in range(tiers.FIVE_MINUTES.least)]


def cells_of(year: Year, series: int) -> list[int]:
    """The lengths (ms) of the cells that a series has in the day."""
    return [grain.width for grain in tiers.GRAINS if list(year.tiers_of_days(grain, series, TODAY, TODAY))]


def test_what_is_cut_is_counted_and_the_points_before_and_after_stay(year: Year) -> None:
    seal(year, [row(n, BOTH, NOW + n, float(n), -float(n)) for n in range(1, 9)])
    seal(year, [row(9, FIRST, NOW + 9, 9.0)])
    assert cut(year, NOW + 3, NOW + 6, 1) == 3
    assert [(n, v) for _, n, v in points(year, 1)] == [(n, float(n)) for n in (1, 2, 6, 7, 8, 9)]
    assert [(n, v) for _, n, v in points(year, 2)] == [(n, -float(n)) for n in range(1, 9)]
    assert cut(year, NOW + 3, NOW + 6, 1) == 0
    assert cut(year, NOW + 8, NOW + 99, 1, 2) == 3
    assert points(year, 1)[-1][::2] == (7, 7.0)
    assert points(year, 2)[-1][::2] == (7, -7.0)
    used = {chunk.axis for sid in (1, 2) if (chunk := year.chunk(sid, TODAY))}
    assert set(year.axes(1, TODAY)) == used


def test_series_of_one_axis_that_are_cut_together_share_one_again(year: Year) -> None:
    seal(year, [row(n, BOTH, NOW + n, float(n), -float(n)) for n in range(1, 9)])
    assert cut(year, NOW + 3, NOW + 6, 1, 2) == 6
    assert len(year.axes(1, TODAY)) == 1
    assert [n for _, n, _ in points(year, 1)] == [n for _, n, _ in points(year, 2)] == [1, 2, 6, 7, 8]


def test_a_series_that_is_cut_out_of_a_day_leaves_nothing_and_the_others_as_they_were(year: Year) -> None:
    seal(year, day_of_readings())
    seal(year, [row(5000, BOTH, NOW + DAY, 1.0, 2.0)])
    before = points(year, 2), cells_of(year, 2)
    assert before[1] == [tiers.FIVE_MINUTES.width, tiers.HOUR.width] == cells_of(year, 1)
    assert cut(year, NOW, NOW + DAY, 1) == tiers.FIVE_MINUTES.least
    assert (points(year, 1), cells_of(year, 1)) == ([], [])
    assert (points(year, 2), cells_of(year, 2)) == before
    assert len(year.axes(1, TODAY)) == 1
    assert cut(year, NOW, NOW + DAY, 2) == tiers.FIVE_MINUTES.least
    assert year.axes(1, TODAY) == []
    assert [points(year, sid, TODAY + 1) for sid in (1, 2)] == [[(0, 5000, 1.0)], [(0, 5000, 2.0)]]


def test_cells_are_made_at_once_while_a_month_lasts_and_only_marked_when_it_is_over(year: Year) -> None:
    (((device, day), readings),) = sealing.by_day(day_of_readings(), known()).items()
    sources, parts = sealing.opened(readings, known())
    for over in (True, False):
        with schema.transaction(year.db):
            sealing.seal(year, device, day, sources, parts, known(), over=over)
        for grain in tiers.GRAINS:
            ((_, blob),) = year.tiers_of_days(grain, 1, TODAY, TODAY)
            assert (blob.cells() is None) is over


def test_words_are_those_of_series_of_texts(year: Year) -> None:
    catalog = known()
    catalog.series[2] = Series(2, "roof", "meter", "mode", "", "text")
    (readings,) = sealing.by_day(
        [row(1, BOTH, NOW, 7.0, 3.0), row(2, BOTH, NOW + 1, 8.0, 5.0), row(3, SECOND, NOW + 2, 3.0)], catalog
    ).values()
    _, parts = sealing.opened(readings, catalog)
    assert sealing.words(parts, catalog) == {3, 5}
