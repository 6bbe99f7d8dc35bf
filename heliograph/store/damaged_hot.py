"""What can be read of a damaged hot.db: readings that are not sealed yet, and the progress of their producers."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from heliograph.store import damaged_files, row_types, schema

log = logging.getLogger(__name__)

ROWS = 500
JUMP = 1_000_000  # numbers of arrival: more than any hot.db has

Frame = tuple[int, int, bytes]  # layout, ms UTC, payload


def marks(path: Path) -> tuple[list[tuple[Any, ...]], str | None]:
    """Return the readable rows of `progress` of a damaged hot.db, and the store's identity, None if it cannot be read."""
    db = damaged_files.opened(path)
    if db is None:
        return [], None
    with closing(db):
        marks_: list[tuple[Any, ...]] = []
        identity = None
        try:
            rows = db.execute("SELECT producer, epoch, last, lost, seen FROM progress")
            marks_.extend(row for row in rows if row_types.fits("progress", row))
        except sqlite3.Error as error:
            log.error("%s: only %d rows of the producers' progress can be read: %s", path.name, len(marks_), error)
        try:
            value = schema.meta(db, "identity")
            identity = value if row_types.META["identity"](value) else None
        except sqlite3.Error as error:
            log.error("%s: %s", path.name, error)
        return marks_, identity


def frames(path: Path, sealed: Callable[[int], int]) -> dict[int, Frame]:
    """Return the readable readings of a damaged hot.db by number of arrival.

    Pages that the file no longer uses may have readings that are in the years: those up to the number that `sealed` returns,
    given the newest that the file has. Later ones in the years are of another hot.db, perhaps these readings, stored again.
    """
    frames_: dict[int, Frame] = {}
    db = damaged_files.opened(path)
    if db is not None:
        with closing(db):
            frames_ = {row[0]: row[1:4] for row in _frame_rows(db) if _is_frame(*row)}
            if damaged_files.passes_check(db):
                return frames_
    scanned: dict[int, Frame] = {}
    for number, row in damaged_files.rows_of_pages(path):
        if row[0] is None and _is_frame(number, *row[1:]):
            scanned[number] = cast(Frame, row[1:4])
    last = sealed(max((*frames_, *scanned), default=0))
    return {number: frame for number, frame in scanned.items() if number > last} | frames_


def batches(frames_: dict[int, Frame]) -> Iterator[list[Frame]]:
    """Yield readings in order of arrival, at most ROWS at a time."""
    numbers = sorted(frames_)
    for begin in range(0, len(numbers), ROWS):
        yield [frames_[number] for number in numbers[begin : begin + ROWS]]


def broken_frames(path: Path) -> int:
    """Return how many rows of a damaged hot.db can be reached, and are not as they were written."""
    db = damaged_files.opened(path)
    if db is None:
        return 0
    with closing(db):
        return sum(not _is_frame(*row) for row in _frame_rows(db))


def gaps(frames_: dict[int, Frame]) -> int:
    """Return how many numbers of arrival between those of these readings are missing; jumps are no gaps."""
    steps = (after - before - 1 for before, after in pairwise(sorted(frames_)))
    return sum(step for step in steps if step < JUMP)


def _frame_rows(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    with suppress(sqlite3.Error):
        has_crc = any(column[1] == "crc" for column in db.execute("PRAGMA table_info(frame)"))
        yield from damaged_files.rows_of_table(db, "frame", "layout, ts, v, crc" if has_crc else "layout, ts, v", "seq")


def _is_frame(number: int, *row: Any) -> bool:
    if not row_types.fits("frame", (number, *row[:3])):
        return False
    return len(row) < 4 or row[3] is None or row[3] == schema.frame_crc(number, *row[:3])
