import asyncio
from collections.abc import Awaitable, Callable

import pytest

from heliograph.errors import StoreAway
from heliograph.store.interface import Reader, Series
from services.api import seeding
from services.api.live import LiveState, Newest
from services.api.reader_pool import ReaderPool
from services.api.seeding import Seeder
from services.api.views import devices, latest
from tests.api.memory import MemoryReader, checked

NOW = 1763633000.0
PLUG = Series(1, "roof", "kettle", "plugged", "", "state")
STATE = "heliograph/roof/devices/kettle/state"


def seeded(open_store: Callable[[], Reader], act: Callable[[LiveState, Seeder], Awaitable[None]]) -> None:
    """Act while a seeder runs."""

    async def run() -> None:
        with ReaderPool(open_store) as store:
            live = LiveState(lambda: NOW)
            seeder = Seeder(live, store)
            task = asyncio.create_task(seeder.run())
            async with asyncio.timeout(10):
                await act(live, seeder)
            task.cancel()

    asyncio.run(run())


async def until(live: LiveState, expected: Newest) -> None:
    while expected not in [newest for _, _, newest in live.newest()]:
        await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeding, "APART_SECONDS", 0.0)


def test_a_plug_that_was_pulled_while_the_broker_was_away_is_shown_as_pulled_once_that_is_stored() -> None:
    reader = MemoryReader([PLUG])

    async def act(live: LiveState, seeder: Seeder) -> None:
        live.update(STATE, b'{"time": %d, "values": {"plugged": true}}' % (NOW - 100))
        seeder.wake()  # after a connect: nothing is stored yet
        await asyncio.sleep(0.01)
        reader.points = [(NOW - 50, 1, False)]
        seeder.wake()  # after a commit
        await until(live, Newest(NOW - 50, False))
        (device,) = devices(live, "roof")
        assert [(channel.time, channel.value) for channel in device.channels] == [(NOW - 50, False)]

    seeded(lambda: checked(reader), act)


def test_a_client_that_listens_gets_what_the_store_has_and_the_bus_did_not_deliver() -> None:
    async def act(live: LiveState, _: Seeder) -> None:
        feed = live.open_feed()
        live.subscribe(feed, ["*/*/*"])
        assert await feed.take() == {"roof/kettle/plugged": (NOW - 50, False)}

    seeded(lambda: checked(MemoryReader([PLUG], [(NOW - 50, 1, False)])), act)


def test_a_store_that_is_away_is_read_again_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeding, "RETRY_SECONDS", 0.001)
    opened: list[Reader] = []

    def open_store() -> Reader:
        opened.append(checked(MemoryReader([PLUG], [(NOW - 50, 1, False)])))
        if len(opened) < 3:
            raise StoreAway("not yet")
        return opened[-1]

    async def act(live: LiveState, _: Seeder) -> None:
        await until(live, Newest(NOW - 50, False))

    seeded(open_store, act)


def test_a_value_that_is_stored_with_a_time_in_the_future_is_not_the_newest() -> None:
    reader = MemoryReader([PLUG], [(NOW - 50, 1, False), (NOW + 3600, 1, True)])

    async def act(live: LiveState, _: Seeder) -> None:
        await until(live, Newest(NOW - 50, False))
        with ReaderPool(lambda: checked(reader)) as store:
            answers = latest(live, [PLUG.name], await seeding.seed(live, store))
        assert (answers[PLUG.name].time, answers[PLUG.name].value) == (NOW - 50, False)

    seeded(lambda: checked(reader), act)
