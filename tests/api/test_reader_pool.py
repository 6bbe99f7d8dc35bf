import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.errors import StoreAway
from heliograph.store import open_reader
from services.api.reader_pool import ReaderPool


@pytest.fixture
def store(data: Path) -> Iterator[ReaderPool]:
    with ReaderPool(lambda: open_reader(data)) as opened:
        yield opened


def test_a_query_returns_its_result(store: ReaderPool) -> None:
    names = asyncio.run(store.run(lambda reader: [one.name for one in reader.series()]))
    assert "roof/tracer/pv_power" in names


def test_an_exception_of_a_query_reaches_the_caller(store: ReaderPool) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(store.run(lambda reader: 1 / 0))
    assert asyncio.run(store.run(lambda reader: 1)) == 1


def test_a_store_that_is_away_is_looked_for_again(tmp_path: Path, data: Path) -> None:
    folders = iter([tmp_path / "nothing", data])
    with ReaderPool(lambda: open_reader(next(folders)), readers=1) as store:
        with pytest.raises(StoreAway):
            asyncio.run(store.run(lambda reader: reader.series()))
        assert asyncio.run(store.run(lambda reader: reader.series()))


def test_a_long_query_does_not_delay_a_short_one(store: ReaderPool) -> None:
    async def both() -> int:
        release = threading.Event()
        long = asyncio.create_task(store.run(lambda reader: release.wait(60)))
        short = await store.run(lambda reader: 1)
        assert not long.done()
        release.set()
        assert await long
        return short

    assert asyncio.run(both()) == 1


def test_however_many_exports_and_histories_are_read_the_present_is_answered(store: ReaderPool) -> None:
    async def answers() -> tuple[int, int]:
        release = threading.Event()
        exports = [asyncio.create_task(store.run(lambda reader: release.wait(60), "export")) for _ in range(50)]
        await asyncio.sleep(0)
        chart = await store.run(lambda reader: 1, "history")  # beside any number of exports
        scans = [asyncio.create_task(store.run(lambda reader: release.wait(60), "history")) for _ in range(9)]
        exports[7].cancel()
        health = await store.run(lambda reader: 2)
        release.set()
        await asyncio.gather(*exports, *scans, return_exceptions=True)
        return chart, health

    assert asyncio.run(answers()) == (1, 2)


def test_a_cancelled_query_does_not_occupy_a_reader_forever(store: ReaderPool) -> None:
    async def impatient() -> list[int]:
        release = threading.Event()
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.run(lambda reader: release.wait(60)), 0.01)
        release.set()
        return [await store.run(lambda reader: 1) for _ in range(4)]

    assert asyncio.run(impatient()) == [1, 1, 1, 1]
