"""Puts a backup back where a store is or will be."""

import shutil
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from heliograph import durable
from heliograph.errors import StoreDamaged
from heliograph.lock import Lock
from heliograph.store import schema
from heliograph.store.hot import JUMP
from heliograph.store.years import newest_arrival
from services.storage.maintenance import backup_list, files, node_state, staging
from services.storage.maintenance.encryption import Encryption


class NotEmpty(OSError):
    """There are readings where a backup would be restored to."""


class Restored(NamedTuple):
    """What was restored: where the files that were there are now, what was damaged and why, the state's files."""

    aside: Path | None
    damaged: dict[str, str]
    state: node_state.PutBack


def restore(
    folder: Path,
    store: Path,
    advance: staging.Advance,
    *,
    force: bool = False,
    salvage: bool = False,
    state_to: Sequence[Path] = (),
    encryption: Encryption | None = None,
) -> Restored:
    """Put a backup where a store is or will be, after all of it was read; put its state into the folders `state_to`.

    With `salvage` damaged files are put beside the good ones, so that storage stores again what can be read of them.
    Raises heliograph.lock.Taken while storage runs, NotEmpty over a store that is there unless forced, StoreAway if the
    folder is not a backup, WrongPassphrase if its state is encrypted with another pass phrase, StoreDamaged if a file is not as backup.json lists it, OSError if a write fails. The store is unchanged
    then; if it fails or ends after the first file was moved, nothing opens or backs up the store until a restore has finished.
    """
    listed = backup_list.of_backup(folder)
    wrong = backup_list.wrong(folder, listed)
    bad_state = backup_list.verified(folder / node_state.FOLDER, listed.state_copies()).wrong
    whole = [name for name in listed.state if name not in bad_state]
    node_state.check_passphrase(folder, whole, encryption)
    store.mkdir(parents=True, exist_ok=True)
    lock = Lock(store / schema.LOCK, "store")
    try:
        marker = store / schema.RESTORING
        if files.store_files(store) and not force and not marker.exists():
            raise NotEmpty(f"there is a store in {store} already")
        names = listed.store_copies(folder)
        for name in sorted(names.keys() - wrong.keys()):
            try:
                staging.stage(folder / name, store / f"{name}{staging.STAGED}", advance)
                if why := files.why_unsound(store / f"{name}{staging.STAGED}"):
                    wrong[name] = why
            except StoreDamaged as error:
                wrong[name] = str(error)
        bad = wrong | {f"{node_state.FOLDER}/{name}": why for name, why in bad_state.items()}
        if bad and not salvage:
            raise StoreDamaged("; ".join(f"{name}: {why}" for name, why in sorted(bad.items())))
        good = [name for name in names if name not in wrong]
        durable.write(marker, b"")
        aside = _set_aside(store)
        _put_damaged(folder, store, wrong)
        staging.install(store, [name for name in good if name != files.HOT])
        if files.HOT in good:
            _skip_numbers(store / f"{files.HOT}{staging.STAGED}", store)
            staging.install(store, [files.HOT])
        put_back = node_state.put_back(folder, whole, state_to, force=force, encryption=encryption)
        marker.unlink()
        durable.sync(store)
        return Restored(aside, bad, put_back)
    finally:
        staging.clean(store)
        lock.release()


def _put_damaged(folder: Path, store: Path, wrong: Iterable[str]) -> None:
    """Put what there is of damaged files beside the others, as storage names them when it moves them aside."""
    for name in wrong:
        if (folder / name).exists() and (folder / name).stat().st_size:
            shutil.copyfile(folder / name, store / name)
            schema.move_aside(store / name)


def _skip_numbers(staged: Path, store: Path) -> None:
    """Make the restored store continue far after every number of arrival that was given since the backup.

    Readers that follow the arrivals have seen those numbers: they would miss what came under them again. Raises OSError.
    """
    with schema.refusing(staged), closing(sqlite3.connect(staged)) as connection:
        last = max(
            connection.execute("SELECT coalesce(max(seq), 0) FROM frame").fetchone()[0],
            *(row[0] for row in connection.execute("SELECT value FROM meta WHERE key='last'")),
            newest_arrival(store),
        )
        connection.execute("INSERT OR REPLACE INTO meta VALUES('last', ?)", (last + JUMP,))
        connection.commit()
    for suffix in files.SIDE_FILES:
        staged.with_name(staged.name + suffix).unlink(missing_ok=True)


def _set_aside(store: Path) -> Path | None:
    """Move all files away, damaged ones and others too: they belong to another state of the store."""
    present = [
        path
        for path in store.iterdir()
        if path.is_file() and path.name not in (schema.LOCK, schema.RESTORING) and staging.STAGED not in path.name
    ]
    if not present:
        return None
    aside = store / f"before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside.mkdir(exist_ok=True)
    for path in present:
        path.rename(aside / path.name)
    return aside
