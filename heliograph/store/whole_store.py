"""Changes of all files of a store, by command, while no other process writes it."""

import time
from contextlib import closing
from pathlib import Path

import msgspec

from heliograph.errors import StoreAway
from heliograph.lock import Lock
from heliograph.renames import Rename
from heliograph.store import renaming, rescaling, schema, unfinished
from heliograph.store.rename_plan import Renaming
from heliograph.store.rescalings import Entry, Rescaling
from heliograph.store.writer import SqliteWriter


def rename(folder: Path, entry: Rename) -> Renaming:
    """Rename a node, a device (node/device) or a channel (node/device/channel) in the store of a folder, and keep a note of it.

    If it is interrupted, the next writer, or the same call, does the rest. Raises CannotRename, with nothing changed,
    heliograph.lock.Taken, StoreAway, OSError, StoreDamaged.
    """
    if not schema.catalog_file(folder).exists():
        raise StoreAway(f"there is no store in {folder}")
    _settle(folder)
    lock = Lock(folder / schema.LOCK, "store")
    try:
        if renaming.was_done(folder, entry):  # it was interrupted, and done when the store was opened
            return Renaming({}, {}, {}, {})
        planned = renaming.check(folder, entry.old, entry.new)
        unfinished.begin(folder, msgspec.structs.replace(entry, at=entry.at or time.time()))
        unfinished.finish(folder)
    finally:
        lock.release()
    if planned.joined_series:
        before = set(folder.glob("*.salvaged-*"))
        _settle(folder, joined=True)  # years with readings under both names are stored again by name
        for path in set(folder.glob("*.salvaged-*")) - before:
            schema.delete(path)
    return planned


def note_rename(folder: Path, entry: Rename) -> None:
    """Note a rename in the list of the store, in which nothing has the old name: readings may still come under it.

    Raises heliograph.lock.Taken, OSError, StoreDamaged.
    """
    lock = Lock(folder / schema.LOCK, "store")
    try:
        renaming.note(folder, entry)
    finally:
        lock.release()


def rescale(folder: Path, change: Rescaling, again: int) -> Entry | None:
    """Convert all values of a series into another unit; return the rescaling if it was the last one of the series already.

    That is done once more if it has the number `again`. If it is interrupted, the next writer, or the same call, does the rest. Raises
    CannotRescale, with nothing changed, heliograph.lock.Taken, OSError, StoreDamaged.
    """
    done = rescaling.done_before(folder, change)
    _settle(folder)  # and the rest of one that was interrupted
    if done is not None and done.number != again:
        return done
    lock = Lock(folder / schema.LOCK, "store")
    try:
        rescaling.check(folder, change)
        rescaling.begin(folder, change, time.time())
    finally:
        lock.release()
    _settle(folder)
    return None


def _settle(folder: Path, *, joined: bool = False) -> None:
    with closing(SqliteWriter(folder, lambda: True, joined=joined)) as writer:
        writer.settle()
