from collections.abc import Sequence

import pytest

from heliograph.errors import StoreAway
from services.uploader.engine.prefetch import Prefetch
from services.uploader.engine.source import RowPage
from services.uploader.target import MappedChannel, Row

POWER = (MappedChannel("pi", "meter", "power", "W", "gauge", "power"),)


class Numbers:
    """A source whose rows are numbered."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.reads: list[tuple[float, float, int]] = []
        self.away = False

    def read(self, after: float, upto: float, limit: int) -> RowPage:
        self.reads.append((after, upto, limit))
        if self.away:
            raise StoreAway("no store")
        end = min(after + limit, upto, self.last)
        return RowPage(after, end, [Row(at, POWER, (1.0,), at) for at in range(int(after) + 1, int(end) + 1)])

    def head(self, now: float) -> float:
        return self.last

    def live_from(self, head: float) -> float:
        raise NotImplementedError

    def count(self, after: float, upto: float) -> tuple[int, float | None]:
        raise NotImplementedError

    def newest(self) -> Row | None:
        return None


def times(rows: Sequence[Row]) -> list[float]:
    return [row.time for row in rows]


def test_what_was_read_while_the_target_was_busy_is_not_read_again() -> None:
    source, prepared = Numbers(100), list[list[float]]()
    prefetch = Prefetch(source, lambda rows: prepared.append(times(rows)))
    prefetch.request(10, 100, 3)
    prefetch.fetch()
    prefetch.fetch()
    assert times(prefetch.take(10, 100, 3).first(9)) == [11, 12, 13]
    assert prepared == [[11, 12, 13]]
    assert source.reads == [(10, 100, 3)]
    assert times(prefetch.take(13, 100, 3).first(9)) == [14, 15, 16]


@pytest.mark.parametrize(("after", "upto", "rows"), [(9, 100, 3), (10, 50, 3), (10, 100, 2)])
def test_what_was_read_ahead_but_is_not_what_comes_next_is_read_again(after: float, upto: float, rows: int) -> None:
    prefetch = Prefetch(Numbers(100), None)
    prefetch.request(10, 100, 3)
    prefetch.fetch()
    batch = prefetch.take(after, upto, rows)
    assert (batch.after, batch.size()) == (after, rows)
    assert times(prefetch.take(10, 100, 3).first(9)) == [11, 12, 13]


def test_more_that_has_arrived_since_does_not_make_what_was_read_useless() -> None:
    source = Numbers(200)
    prefetch = Prefetch(source, None)
    prefetch.request(10, 100, 3)
    prefetch.fetch()
    prefetch.take(10, 200, 3)
    assert source.reads == [(10, 100, 3)]


def test_a_request_that_there_was_no_time_for_costs_nothing() -> None:
    source = Numbers(100)
    prefetch = Prefetch(source, None)
    prefetch.request(10, 100, 3)
    assert times(prefetch.take(10, 100, 3).first(9)) == [11, 12, 13]
    prefetch.fetch()
    assert source.reads == [(10, 100, 3)]


def test_a_store_that_is_away_while_the_target_is_busy_is_asked_again() -> None:
    source = Numbers(100)
    prefetch = Prefetch(source, None)
    source.away = True
    prefetch.request(10, 100, 3)
    prefetch.fetch()
    with pytest.raises(StoreAway):
        prefetch.take(10, 100, 3)
    source.away = False
    assert times(prefetch.take(10, 100, 3).first(9)) == [11, 12, 13]
