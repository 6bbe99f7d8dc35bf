from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.errors import StoreDamaged
from heliograph.store import blocks, history, schema, year_file
from heliograph.store.blocks import BlockDamaged
from heliograph.store.cells import DAY
from heliograph.store.vectors import ops
from heliograph.store.year_file import Chunk, Year


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    connection = schema.create(history.file(tmp_path, 2024), history.PAGE, history.SCHEMA)
    yield Year(connection)
    connection.close()


def put(year: Year, series: int, day: int, times: list[int], numbers: list[int], slot: int = 0) -> None:
    k = history.axis_key(1, day, slot)
    year.put_axis(k, min(numbers), max(numbers), blocks.encode_ints(times), blocks.encode_ints(numbers))
    values = [float(time) for time in times]
    year.put_chunk(series, day, k, (day * DAY + times[-1], values[-1]), blocks.encode_floats(values))


@given(st.integers(0, 40_000))
def test_days_months_and_years_are_those_of_the_calendar(day: int) -> None:
    moment = datetime.fromtimestamp(day * 86_400, UTC)
    month = history.month_of(day)
    assert history.year_of(day) == moment.year
    assert divmod(month, 12) == (moment.year, moment.month - 1)
    assert history.first_day(month) <= day < history.first_day(month + 1)
    assert history.first_day(month) == day - moment.day + 1
    assert history.origin("month", month) == history.first_day(month) * DAY
    assert history.origin("year", moment.year) <= day * DAY < history.origin("year", moment.year + 1)


@given(st.integers(0, 1 << 26), st.integers(0, (1 << 20) - 2), st.integers(0, 65_535))
def test_a_key_contains_its_device_and_day(device: int, day: int, slot: int) -> None:
    assert history.axis_owner(history.axis_key(device, day, slot)) == (device, day)
    assert history.key(device, day) < history.key(device, day + 1) <= history.key(device + 1, 0)


def test_of_two_files_of_a_year_the_one_without_points_is_the_complete_one(tmp_path: Path) -> None:
    for name in ("history-2024.db", "history-2023-tiers.db", "history-2023.db", "history-2022.db.damaged-1-2", "x.db"):
        (tmp_path / name).touch()
    files = history.files(tmp_path)
    assert {number: path.name for number, path in files.items()} == {
        2023: "history-2023-tiers.db",
        2024: "history-2024.db",
    }
    assert [history.is_bare(path) for path in files.values()] == [True, False]
    assert history.file(tmp_path, 2023, tiers=True) == files[2023]


def test_chunks_and_axes_are_read_as_they_were_written(year: Year) -> None:
    day = history.first_day(2024 * 12)
    put(year, 1, day, [0, 500], [7, 3])
    put(year, 1, day + 2, [5], [9])
    put(year, 2, day, [0, 500], [7, 3])
    times, numbers = year.axis(history.axis_key(1, day))
    assert (times.tolist(), numbers.tolist()) == ([day * DAY, day * DAY + 500], [7, 3])
    assert year.days(1, day, day + 9) == [day, day + 2]
    assert year.days(1, day + 1, day + 1) == []
    for source in get_args(year_file.Source):
        assert year.newest_day(1, day + 3, source) == day + 2
        assert year.newest_day(1, day + 2, source) == day
        assert year.newest_day(1, day, source) is None
        assert year.newest_day(3, day + 3, source) is None
    assert year.arrivals(7, 9) == [history.axis_key(1, day + 2)]
    assert year.arrivals(7, 8) == year.arrivals(9, 99) == []
    assert (year.next_arrivals(3), year.next_arrivals(9)) == ([9], [])
    assert year.extent() == [day * DAY, day * DAY + 500, (day + 2) * DAY + 5, (day + 2) * DAY + 5]
    chunk = year.chunk(1, day)
    assert chunk is not None
    assert year_file.track(times, chunk).values.tolist() == [0.0, 500.0]
    assert year.chunk(1, day + 1) is None
    year.drop_axes([history.axis_key(1, day)])
    assert year.axes(1, day) == []
    with pytest.raises(BlockDamaged, match="missing"):
        year.times(history.axis_key(1, day))


def test_a_chunk_that_is_set_aside_is_kept_but_never_read_again(year: Year) -> None:
    day = history.first_day(2024 * 12)
    put(year, 1, day, [0], [1])
    chunk = year.chunk(1, day)
    assert chunk is not None
    assert year.set_aside(1, day) == chunk.values
    assert year.chunk(1, day) is None
    assert year.db.execute("SELECT k, axis, v FROM damaged").fetchall() == [
        (history.key(1, day), chunk.axis, chunk.values)
    ]


def test_a_chunk_on_an_axis_of_another_length_is_damage() -> None:
    with pytest.raises(StoreDamaged, match="1 values on an axis of 2 times"):
        year_file.track(ops.ints([1, 2]), Chunk(0, 0, blocks.encode_floats([1.0])))
