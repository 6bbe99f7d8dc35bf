import math
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.store import names, schema
from heliograph.store.cells import DAY
from heliograph.store.hot_cache import HotCache
from heliograph.store.interface import Series
from heliograph.store.names import Layout, Names

NOW = 20_000 * DAY


@pytest.fixture
def hot(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = schema.create(schema.hot_file(tmp_path), schema.HOT_PAGE, schema.HOT)
    yield connection
    connection.close()


def known() -> Names:
    """Two layouts of one device: (1, 2) and (2,)."""
    names_ = names.Names({}, {}, {}, {}, {}, {}, {})
    names_.devices[1] = ("roof", "meter")
    for sid in (1, 2):
        names_.series[sid] = Series(sid, "roof", "meter", f"c{sid}", "", "gauge")
        names_.owners[sid] = 1
    names_.layouts.update({1: Layout(1, (1, 2)), 2: Layout(1, (2,))})
    names_.positions.update({1: {1: 0}, 2: {1: 1, 2: 0}})
    return names_


def arrive(hot: sqlite3.Connection, number: int, layout: int, time: int, *values: float) -> None:
    hot.execute(
        "INSERT INTO frame(seq, layout, ts, v) VALUES(?, ?, ?, ?)",
        (number, layout, time, struct.pack(f"<{len(values)}d", *values)),
    )


def sealed(hot: sqlite3.Connection, last: int) -> None:
    with schema.transaction(hot):
        hot.execute("DELETE FROM frame WHERE seq <= ?", (last,))
        hot.execute("INSERT OR REPLACE INTO meta VALUES('last', ?)", (last,))


def points(cache: HotCache, series: int) -> dict[int, list[tuple[int, float]]]:
    return {
        day: list(zip(track.times.tolist(), track.values.tolist(), strict=True))
        for day, track in cache.days(series, known()).items()
    }


def test_of_equal_times_the_last_arrival_counts_whatever_its_layout(hot: sqlite3.Connection) -> None:
    cache = HotCache()
    arrive(hot, 1, 1, NOW, 1.0, 2.0)
    arrive(hot, 2, 2, NOW, 3.0)
    arrive(hot, 3, 1, NOW, 4.0, math.nan)
    arrive(hot, 4, 1, NOW - 1, 5.0, 6.0)
    assert [frame.number for frame in cache.refresh(hot)] == [1, 2, 3, 4]
    assert points(cache, 1) == {19_999: [(NOW - 1, 5.0)], 20_000: [(NOW, 4.0)]}
    assert points(cache, 2) == {19_999: [(NOW - 1, 6.0)], 20_000: [(NOW, 3.0)]}
    assert cache.days(77, known()) == {}


def test_a_refresh_reads_only_new_frames_and_drops_sealed_ones(hot: sqlite3.Connection) -> None:
    cache = HotCache()
    arrive(hot, 5, 1, NOW, 1.0, 2.0)
    assert [frame.number for frame in cache.refresh(hot)] == [5]
    assert cache.refresh(hot) == []
    assert cache.sealed == 4
    arrive(hot, 6, 2, NOW + 1, 3.0)
    assert [frame.number for frame in cache.refresh(hot)] == [6]
    assert points(cache, 2) == {20_000: [(NOW, 2.0), (NOW + 1, 3.0)]}
    sealed(hot, 5)
    arrive(hot, 7, 2, NOW + 2, 4.0)
    cache.refresh(hot)
    assert points(cache, 1) == {}
    assert points(cache, 2) == {20_000: [(NOW + 1, 3.0), (NOW + 2, 4.0)]}
    assert [frame.number for frame in cache.after(0)] == [6, 7]
    assert [frame.number for frame in cache.after(6)] == [7]
    sealed(hot, 7)
    arrive(hot, 8, 2, NOW + 3, 5.0)
    sealed(hot, 8)  # was written and sealed between two refreshes
    assert cache.refresh(hot) == []
    assert (cache.frames, cache.sealed, points(cache, 2)) == ([], 8, {})


def test_the_newest_number_of_a_time_and_the_extent_of_values(hot: sqlite3.Connection) -> None:
    cache = HotCache()
    assert cache.extent() == []
    arrive(hot, 1, 2, NOW + 50, 1.0)
    arrive(hot, 2, 2, NOW + 10, 1.0)
    arrive(hot, 3, 2, NOW + 99, math.nan)
    cache.refresh(hot)
    assert cache.newest(0, NOW + 20) == 2
    assert cache.newest(0, NOW + 51) == 2
    assert cache.newest(NOW + 20, NOW + 51) == 1
    assert cache.newest(0, NOW) == 0
    assert cache.extent() == [NOW + 10, NOW + 50]
