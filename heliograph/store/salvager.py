"""Stores the readable data of damaged files again, a piece at a time."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import history, salvage, sealing
from heliograph.store.closing import Closing
from heliograph.store.names import Names
from heliograph.store.sealing import Parts
from heliograph.store.years import Years

log = logging.getLogger(__name__)


class Salvager:
    """Salvages one damaged file after the other.

    `take_again` stores readings of a hot.db under new numbers of arrival, and returns False while it cannot.
    """

    def __init__(
        self,
        folder: Path,
        years: Years,
        names: Callable[[], Names],
        take_again: Callable[[list[salvage.Frame]], bool],
        closing: Closing,
    ) -> None:
        self._folder = folder
        self._years = years
        self._names = names
        self._take_again = take_again
        self._closing = closing
        self._running: Iterator[bool] | None = None

    def step(self) -> bool:
        """Store some readable data of a damaged file again; return whether there was any. Raises OSError."""
        if self._running is None:
            aside = salvage.damaged(self._folder)
            if not aside:
                return False
            number = salvage.year_of(aside[0])
            self._running = self._from_hot(aside[0]) if number is None else self._from_year(aside[0], number)
        if not next(self._running, False):
            self._running = None
        return True

    def _from_hot(self, path: Path) -> Iterator[bool]:
        for frames in salvage.frames(path):
            names = self._names()
            good = [frame for frame in frames if names.width(frame[0]) * 8 == len(frame[2])]
            while not self._take_again(good):
                yield True
            log.info("%s: %d readings salvaged", path.name, len(good))
            yield True
        salvage.done(path)

    def _from_year(self, path: Path, number: int) -> Iterator[bool]:
        for old, (axis, chunks) in salvage.axes(path):
            device, day = history.axis_owner(axis)
            names = self._names()
            try:
                source = sealing.Source(*old.axis(axis))
                parts: Parts = {
                    sid: [
                        sealing.NewValues(0, None, history.track(source.times, history.Chunk(day, axis, block)).values)
                    ]
                    for sid, block in chunks
                    if sid in names.series
                }
            except (StoreDamaged, sqlite3.Error) as error:
                log.warning("%s: day %d of device %d cannot be salvaged: %s", path.name, day, device, error)
                continue
            with self._years.writing(number) as year:
                sealing.seal(year, device, day, {0: source}, parts, names, over=True)
                year.learn(parts, sealing.words(parts, names), names)
            yield True
        salvage.done(path)
        self._closing.touched(())
