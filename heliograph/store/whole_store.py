"""Changes of all files of a store, by command, while no other process writes it."""

from contextlib import closing
from pathlib import Path

from heliograph.errors import StoreAway
from heliograph.lock import Lock
from heliograph.renames import Rename
from heliograph.store import renaming, rescaling, schema, unfinished
from heliograph.store.rename_plan import Renaming
from heliograph.store.rescaling import Rescaling
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
        unfinished.begin(folder, entry)
        unfinished.finish(folder)
    finally:
        lock.release()
    if planned.joined_series:
        before = set(folder.glob("*.salvaged-*"))
        _settle(folder)  # years with readings under both names are stored again by name
        for path in set(folder.glob("*.salvaged-*")) - before:
            schema.delete(path)
    return planned


def rescale(folder: Path, change: Rescaling) -> None:
    """Convert all values of a series into another unit.

    If it is interrupted, the next writer, or the same call, does the rest. Raises CannotRescale, with nothing changed,
    heliograph.lock.Taken, OSError, StoreDamaged.
    """
    was_interrupted = unfinished.pending(folder) == change
    _settle(folder)
    if was_interrupted:
        return  # the rest was done when the store was opened
    lock = Lock(folder / schema.LOCK, "store")
    try:
        rescaling.check(folder, change)
        unfinished.begin(folder, change)
        unfinished.finish(folder)
    finally:
        lock.release()


def _settle(folder: Path) -> None:
    with closing(SqliteWriter(folder, lambda: True)) as writer:
        writer.settle()
