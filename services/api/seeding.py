"""Fills the live state with the newest values of the store: the bus delivers a reading once, to what is connected then."""

import asyncio
from contextlib import suppress
from typing import NamedTuple

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.store.interface import Point, Reader, Series
from services.api.live import LiveState
from services.api.reader_pool import ReaderPool

APART_SECONDS = 1.0  # between two reads of the store, however many commits there are
RETRY_SECONDS = 5.0  # until it is read again while it is away, or while a channel that is declared has no value
REFRESHES = 12  # times RETRY_SECONDS until it is read again although nothing is known to have changed


class Stored(NamedTuple):
    """Every series of the store, and the newest point of those that have one, by their ids."""

    series: list[Series]
    latest: dict[int, Point]


async def seed(live: LiveState, store: ReaderPool) -> Stored:
    """Fill in what the store has and the bus has not sent, and return what is stored; raise StoreAway or StoreDamaged."""
    until = live.latest()

    def newest(reader: Reader) -> Stored:
        series = reader.series()
        return Stored(series, reader.latest([one.id for one in series], until))

    stored = await store.run(newest)
    live.seed(*stored)
    return stored


class Seeder:
    """Seeds the live state again and again: after every connect and commit that `wake` tells of, and every minute."""

    def __init__(self, live: LiveState, store: ReaderPool) -> None:
        self._live = live
        self._store = store
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Seed soon, on the event loop: there may be a reading that the bus did not deliver."""
        self._woken.set()

    async def run(self) -> None:
        """Seed until the task is cancelled."""
        while True:
            self._woken.clear()
            try:
                await seed(self._live, self._store)
                is_away = False
            except (StoreAway, StoreDamaged):
                is_away = True
            await asyncio.sleep(APART_SECONDS)
            for _ in range(REFRESHES):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), RETRY_SECONDS)
                if self._woken.is_set() or is_away or self._live.lacks_values():
                    break
