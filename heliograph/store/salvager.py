"""Stores the readable data of damaged files again, by name, a piece at a time."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing as closing_
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from heliograph import durable
from heliograph.errors import StoreDamaged
from heliograph.store import (
    blocks,
    damaged_files,
    damaged_hot,
    history,
    rescaling,
    rescalings,
    salvage,
    schema,
    sealing,
    tiers,
    year_file,
)
from heliograph.store.catalog import Catalog
from heliograph.store.cells import DAY
from heliograph.store.closing import Closing
from heliograph.store.names import Names
from heliograph.store.salvage import DamagedYear
from heliograph.store.sealing import Parts
from heliograph.store.tiers import Blob, Grain
from heliograph.store.translation import Series, Translation
from heliograph.store.vectors import Vector, ops
from heliograph.store.years import WritableYear, Years, newest_arrival

log = logging.getLogger(__name__)


class Salvager:
    """Salvages one damaged file after the other.

    `take_again` stores readings of a hot.db under new numbers of arrival, and returns False while it cannot.
    `names` returns the catalog's names, with all that were created before the call; `lost` notes a loss.
    """

    def __init__(
        self,
        folder: Path,
        years: Years,
        catalog: Catalog,
        names: Callable[[], Names],
        take_again: Callable[[list[damaged_hot.Frame]], bool],
        closing: Closing,
        lost: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._years = years
        self._catalog = catalog
        self._names = names
        self._take_again = take_again
        self._closing = closing
        self._lost = lost
        self._running: Iterator[bool] | None = None

    def step(self) -> bool:
        """Store some readable data of a damaged file again; return whether there was any. Raises OSError."""
        if self._running is None:
            aside = damaged_files.damaged(self._folder)
            if not aside:
                return False
            self._running = self._salvaged(aside[0])
        try:
            if not next(self._running, False):
                self._running = None
        except OSError:
            self._running = None  # from the beginning: what is stored already may be stored again
            raise
        return True

    def _salvaged(self, path: Path) -> Iterator[bool]:
        number = damaged_files.year_of(path)
        if number is None:
            return self._from_hot(path) if damaged_files.kind(path) == "hot" else self._from_catalog(path)
        return self._from_bare(path, number) if damaged_files.is_bare(path) else self._from_year(path, number)

    def _from_catalog(self, path: Path) -> Iterator[bool]:
        """Its names were copied when the new catalog was made."""
        damaged_files.done(path)
        yield True

    def _from_hot(self, path: Path) -> Iterator[bool]:
        frames = damaged_hot.frames(path, partial(newest_arrival, self._folder))
        translation = Translation(salvage.names(path), salvage.rescaled(path), self._catalog)
        stored = 0
        for batch in damaged_hot.batches(frames):
            translated = (self._frame(translation, frame) for frame in batch)
            good = [frame for frame in translated if frame is not None]
            self._names()
            while not self._take_again(good):
                yield True
            stored += len(good)
            yield True
        missing = len(frames) - stored + max(damaged_hot.gaps(frames), damaged_hot.broken_frames(path))
        log.info("%s: %d readings salvaged", path.name, stored)
        if missing or translation.untold or not damaged_files.is_sound(path):
            self._lost(
                f"hot.db was damaged: {stored} readings of it are stored again, {missing} that it had are lost, "
                f"and perhaps others at its end that no byte tells of ({damaged_files.done_name(path)})"
                f"{_untold(translation)}"
            )
        damaged_files.done(path)

    def _frame(self, translation: Translation, frame: damaged_hot.Frame) -> damaged_hot.Frame | None:
        layout, time, payload = frame
        new = translation.frame(layout, payload)
        return None if new is None else (new[0], time, new[1])

    def _from_year(self, path: Path, number: int) -> Iterator[bool]:
        with closing_(DamagedYear(path)) as old:
            translation = Translation(old.names, salvage.rescaled(path), self._catalog)
            values = 0
            lost: dict[int, int] = {}
            for axis, chunks in old.axes():
                values += self._seal_again(old, translation, number, axis, chunks, lost)
                yield True
            lost |= old.lost
            sound = old.sound
        if lost or not values or not sound:
            self._lost(_report(number, values, lost, damaged_files.done_name(path)) + _untold(translation))
        damaged_files.done(path)
        self._closing.touched(())

    def _seal_again(
        self,
        old: DamagedYear,
        translation: Translation,
        number: int,
        axis: int,
        chunks: list[tuple[int, bytes]],
        lost: dict[int, int],
        into: WritableYear | None = None,
    ) -> int:
        """Store the chunks of an axis; return how many values they had, and note those that cannot be stored.

        They come into the year `into`, in the transaction that is open there, or else into that of the number.
        """
        device, day = history.axis_owner(axis)
        columns = old.axis(axis)
        values = 0
        owner = 0
        parts: Parts = {}
        source: sealing.Source | None = None
        for sid, block in chunks:
            series = translation.series(sid, device)
            try:
                if columns is None or series is None:
                    raise StoreDamaged("its times, its name or its unit cannot be read")
                source = source or sealing.Source(
                    year_file.decoded_times(axis, columns[0]), blocks.decode_ints(columns[1])
                )
                track = year_file.track(source.times, year_file.Chunk(day, axis, block))
                if (
                    history.year_of(day) != number
                    or not day * DAY <= int(track.times[0]) <= int(track.times[-1]) < (day + 1) * DAY
                ):
                    raise StoreDamaged("its times are of another day")
            except StoreDamaged as error:
                log.debug("history-%d.db: day %d of series %d cannot be salvaged: %s", number, day, sid, error)
                lost[history.key(sid, day)] = blocks.length(block)
                continue
            owner = series.device
            column = _translated(translation, series, track.values)
            parts[series.number] = [sealing.NewValues(0, None, column)]
            values += len(column)
        if parts and source is not None:
            names = self._names()
            with self._years.writing(number) if into is None else nullcontext(into) as year:
                sealing.seal(year, owner, day, {0: source}, parts, names, over=True)
                year.learn(parts, sealing.words(parts, names), names)
        return values

    def _from_bare(self, path: Path, number: int) -> Iterator[bool]:
        """Copy the cells of a year whose points were dropped, and the points that it still has, into a new file."""
        bare = history.file(self._folder, number, tiers=True)
        new = bare.with_name(bare.name + ".new")
        schema.delete(new)
        lost = 0
        with closing_(DamagedYear(path)) as old:
            translation = Translation(old.names, salvage.rescaled(path), self._catalog)
            rows: dict[str, list[tuple[int, bytes]]] = {}
            known: set[int] = set()
            for grain, level in salvage.levels():
                for k, blob in old.cells(grain, level):
                    series = translation.series(k >> history.DAY_BITS)
                    if series is None or (series.text and not translation.agrees):
                        lost += 1
                        continue
                    span = k & ((1 << history.DAY_BITS) - 1)
                    new_blob = _cells(blob, grain, level, span, number, series)
                    if new_blob is None:
                        lost += 1
                        continue
                    known.add(series.number)
                    rows.setdefault(f"{grain.name}_{level}", []).append((history.key(series.number, span), new_blob))
        names = self._names()
        year = WritableYear(new, number)
        lost_chunks: dict[int, int] = {}
        with closing_(DamagedYear(path)) as old, closing_(year.db), schema.refusing(new):
            with schema.transaction(year.db):
                for table, cells in rows.items():
                    year.db.executemany(f"INSERT OR IGNORE INTO {table} VALUES(?, ?)", cells)
                year.learn(known, (), names)
                year.db.execute("INSERT OR REPLACE INTO meta VALUES('year', ?)", (number,))
                year.db.execute("INSERT OR REPLACE INTO meta VALUES('packed', 1)")
                if rescaled := self._catalog.rescalings():
                    rescalings.put(year.db, rescaled)
                values = sum(
                    self._seal_again(old, translation, number, axis, chunks, lost_chunks, year)
                    for axis, chunks in old.axes()
                )
            lost_chunks |= old.lost
            sound = old.sound
            year.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        new.rename(bare)
        durable.sync(self._folder)
        if lost or lost_chunks or not (rows or values) or not sound:
            self._lost(
                f"{bare.name} was damaged: {lost} months of series, or years, of its cells, and {len(lost_chunks)} days of "
                f"points are lost, and whatever was in pages that cannot be read ({damaged_files.done_name(path)})"
                f"{_untold(translation)}"
            )
        damaged_files.done(path)
        yield True


def _translated(translation: Translation, series: Series, values: Vector) -> Vector:
    if not series.text and not series.rescalings:
        return values
    column: Vector = ops.floats([translation.value(series, value) for value in values.tolist()])
    return column


def _cells(blob: bytes, grain: Grain, level: str, span: int, year: int, series: Series) -> bytes | None:
    """Return cells in the unit of the series; None if they cannot be read or converted, or their key is not of the year."""
    if year != (span if level == "year" else span // 12 if level == "month" else history.year_of(span)):
        return None
    origin = history.origin(level, span)
    try:
        tier = Blob(blob, origin, grain.width).tier()
    except StoreDamaged:
        return None
    if tier.cells is None or not series.rescalings:
        return blob
    if series.needs_area and any(entry.change.conversion.has_offset for entry in series.rescalings):
        return None
    for entry in series.rescalings:
        tier = rescaling.converted(tier, entry.change.conversion)
    return tiers.encode(tier, origin, grain.width)


def _untold(translation: Translation) -> str:
    """Return which series are not stored again because the file does not tell their unit, as the end of a sentence."""
    names = ", ".join(sorted(set(translation.untold)))
    return (
        f"; it does not tell whether its values of {names} had been rescaled, so they are only in that file"
        if names
        else ""
    )


def _report(number: int, values: int, lost: dict[int, int], renamed: str) -> str:
    counted = sum(count for count in lost.values() if count > 0)
    uncounted = "" if all(count >= 0 for count in lost.values()) else ", or more"
    days = len({k & ((1 << history.DAY_BITS) - 1) for k in lost})
    return (
        f"history-{number:04d}.db was damaged: {values} values of it are stored again, {counted}{uncounted} on {days} days "
        f"are lost, and whatever was in pages that cannot be read ({renamed})"
    )
