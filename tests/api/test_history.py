import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.errors import StoreAway
from heliograph.store import open_reader
from services.api.history import History


@pytest.fixture
def history(data: Path) -> Iterator[History]:
    with History(lambda: open_reader(data)) as opened:
        yield opened


def test_a_question_is_answered_with_what_it_returns(history: History) -> None:
    names = asyncio.run(history.ask(lambda reader: [one.name for one in reader.series()]))
    assert "roof/tracer/pv_power" in names


def test_what_a_question_raises_reaches_who_asked(history: History) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(history.ask(lambda reader: 1 / 0))
    assert asyncio.run(history.ask(lambda reader: 1)) == 1


def test_a_store_that_is_away_is_looked_for_again(tmp_path: Path, data: Path) -> None:
    places = iter([tmp_path / "nothing", data])
    with History(lambda: open_reader(next(places)), readers=1) as history:
        with pytest.raises(StoreAway):
            asyncio.run(history.ask(lambda reader: reader.series()))
        assert asyncio.run(history.ask(lambda reader: reader.series()))


def test_a_long_question_does_not_hold_up_a_short_one(history: History) -> None:
    async def both() -> int:
        go_on = threading.Event()
        long = asyncio.create_task(history.ask(lambda reader: go_on.wait(60)))
        short = await history.ask(lambda reader: 1)
        assert not long.done()
        go_on.set()
        assert await long
        return short

    assert asyncio.run(both()) == 1


def test_a_question_nobody_waits_for_any_more_does_not_take_a_reader_away(history: History) -> None:
    async def impatient() -> list[int]:
        go_on = threading.Event()
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(history.ask(lambda reader: go_on.wait(60)), 0.01)
        go_on.set()
        return [await history.ask(lambda reader: 1) for _ in range(4)]

    assert asyncio.run(impatient()) == [1, 1, 1, 1]
