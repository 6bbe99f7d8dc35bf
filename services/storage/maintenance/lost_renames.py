"""Renames that were done after a backup: a store that is restored has the old names again, and they are done once more."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from heliograph import renames
from heliograph.errors import StoreDamaged
from heliograph.renames import Rename, Renames
from heliograph.store import schema, whole_store
from heliograph.store.rename_plan import CannotRename, NothingToRename
from services.storage.maintenance import files

log = logging.getLogger(__name__)

HOME_ASSISTANT = Path("home_assistant") / renames.FILE  # in a data folder


class Repeated(NamedTuple):
    """What was renamed once more, and what could not be, with the reason."""

    done: list[Rename]
    failed: dict[str, str]


def known(store: Path, data_folders: Iterable[Path]) -> list[Renames]:
    """Return what is known of the renames of a node before its store is replaced: by its catalog, its folders of earlier restores, home_assistant."""
    lists: list[Renames] = []
    for catalog in [schema.catalog_file(store), *store.glob("before-restore-*/catalog.db")]:
        if catalog.exists():
            try:
                with files.read_only(catalog) as db:
                    lists.append(renames.decode(schema.meta(db, renames.KEY)))
            except (OSError, StoreDamaged) as error:
                log.warning("%s: its renames cannot be read: %s", catalog, error)
    for path in (data / HOME_ASSISTANT for data in data_folders):
        if path.exists():
            try:
                lists.append(renames.decode(path.read_bytes()))
            except (OSError, StoreDamaged) as error:
                log.warning("%s: %s", path, error)
    return lists


def repeat(store: Path, before: Iterable[Renames]) -> Repeated:
    """Do once more what was renamed after a backup; the restored store is not open. Raises OSError, StoreDamaged, Taken."""
    if not schema.catalog_file(store).exists():
        return Repeated([], {})  # it was damaged, and is made again from names that are as old as the backup
    with schema.reading(schema.catalog_file(store)) as db:
        there = renames.decode(schema.meta(db, renames.KEY))
    later = max((one.rest_of(there) for one in before), key=len, default=Renames())
    result = Repeated([], {})
    for entry in later.entries:
        try:
            whole_store.rename(store, entry)
        except NothingToRename:
            whole_store.note_rename(store, entry)  # of readings that come again
        except CannotRename as error:
            result.failed[f"{entry.old} to {entry.new}"] = str(error)
            continue
        result.done.append(entry)
    return result
