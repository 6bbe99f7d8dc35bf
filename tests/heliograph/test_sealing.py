import math
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.store import history, names, schema, sealing
from heliograph.store.cells import DAY
from heliograph.store.history import Year
from heliograph.store.interface import Series
from heliograph.store.names import Layout, Names
from heliograph.store.sealing import Row

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
    values = history.track(times, chunk).values.tolist()
    return [(t - day * DAY, n, v) for t, n, v in zip(times.tolist(), numbers.tolist(), values, strict=True)]


def test_values_that_were_measured_together_share_an_axis(year: Year) -> None:
    seal(year, [row(1, BOTH, NOW, 1.0, 2.0), row(2, BOTH, NOW + 5, 3.0, 4.0)])
    assert points(year, 1) == [(0, 1, 1.0), (5, 2, 3.0)]
    assert points(year, 2) == [(0, 1, 2.0), (5, 2, 4.0)]
    assert len(year.axes(1, TODAY)) == 1
    assert year.newest(2) == (NOW + 5, 4.0)


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
        arrivals = {n for series in results[-1] for _, n, _ in series}
        spans = connection.execute("SELECT smin, smax FROM axis").fetchall()
        assert spans
        assert all(smin in arrivals and smax in arrivals for smin, smax in spans)
        connection.close()
    assert results[0] == results[1]
