"""The rescalings of a store: the catalog has the list, and each other file which of them its values have had.

So a file that was damaged, or was another copy, while values were converted is never read in two units: what it has not had is done
when the store is opened (recovery.py) or when the file is stored again (translation.py). A catalog that is lost gets the list from the others.
"""

import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from heliograph import units
from heliograph.conversion import Conversion
from heliograph.errors import StoreDamaged
from heliograph.store import schema

KEY = "rescalings"  # in the table meta


class Rescaling(msgspec.Struct, frozen=True):
    """A series (its number) gets another unit."""

    series: int
    unit: str
    conversion: Conversion


class Entry(msgspec.Struct, frozen=True):
    """A rescaling, its place among all of the store, when it was begun (s UTC), the unit before and the rollover (0: none) after it."""

    id: str
    number: int
    at: float
    before: str
    rollover: float
    change: Rescaling


Log: TypeAlias = Sequence[Entry]  # in order


def with_one(log: Log, change: Rescaling, at: float, before: str, rollover: float) -> Log:
    """Return a log with one more rescaling, of a series that had the unit `before` and rolled over at `rollover`."""
    number = max((entry.number for entry in log), default=0) + 1
    after = change.conversion.of_rise(rollover)
    return [*log, Entry(uuid.uuid4().hex[:16], number, at, before, after, change)]


def done_before(log: Log, change: Rescaling) -> Entry | None:
    """Return the last rescaling of a series if it was this one, None otherwise."""
    last = next((entry for entry in reversed(log) if entry.change.series == change.series), None)
    return last if last is not None and last.change == change else None


def converted(log: Log, value: float) -> float:
    """Return a value after these rescalings."""
    for entry in log:
        value = entry.change.conversion.of(value)
    return value


def encode(log: Log) -> str:
    """Return a log as JSON."""
    return msgspec.json.encode(log).decode()


def decode(text: str | None) -> Log:
    """Return what `encode` made JSON of, nothing for no text; raise StoreDamaged for other texts."""
    try:
        return msgspec.json.decode(text or "[]", type=list[Entry])
    except (msgspec.DecodeError, TypeError, UnicodeError) as error:
        raise StoreDamaged(f"the rescalings cannot be read: {error}") from None


def read(db: sqlite3.Connection) -> Log:
    """Return the log of a file; raise sqlite3.Error, or StoreDamaged."""
    return decode(schema.meta(db, KEY))


def put(db: sqlite3.Connection, log: Log) -> None:
    """Write the log of a file, in the open transaction."""
    db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (KEY, encode(log)))


def merged(logs: Iterable[Log]) -> Log:
    """Return all rescalings of several logs, each once, in order."""
    entries = {entry.id: entry for log in logs for entry in log}
    return sorted(entries.values(), key=lambda entry: (entry.number, entry.at, entry.id))


def ids(log: Log) -> frozenset[str]:
    """Return what tells whether two files have had the same rescalings."""
    return frozenset(entry.id for entry in log)


def missing(log: Log, theirs: Log) -> Log:
    """Return what of a log is not in the one of a file."""
    there = {entry.id for entry in theirs}
    return [entry for entry in log if entry.id not in there]


def not_had(log: Log, theirs: Log | None, series: int, unit: str | None) -> Log | None:
    """Return the rescalings that the values of a series in a file have not had; None if the file does not tell.

    `theirs` is the file's log, None if it cannot be read; then, or if they contradict each other, its copy of the `unit` tells, if the
    series had that unit once.
    """
    mine = [entry for entry in log if entry.change.series == series]
    if not mine:
        return []
    if theirs is not None:
        rest = missing(mine, theirs)
        if not rest or not contradict(rest[0].before, unit or ""):
            return rest
    states = [mine[0].before, *(entry.change.unit for entry in mine)]
    indexes = [index for index, known in enumerate(states) if unit is not None and are_one(known, unit)]
    return mine[indexes[0] :] if len(indexes) == 1 else None


def are_one(unit: str, other: str) -> bool:
    """Whether two units are spellings of one."""
    return unit == other or _spelled(unit) == _spelled(other)


def contradict(unit: str, other: str) -> bool:
    """Whether values of two units are not values of one series: no unit is no other unit (decision 0023)."""
    return bool(unit and other) and not are_one(unit, other)


def _spelled(unit: str) -> str:
    try:
        return units.spelled(unit)
    except ValueError:
        return unit
