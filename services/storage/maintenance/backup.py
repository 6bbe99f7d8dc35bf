"""Backups: a store copied while it is written, and restored.

A backup is a folder with the store's files as they are, what other services keep in `state/`, and backup.json with what
the files looked like when they were copied, and size and checksum of each copy. Each is copied with SQLite's online
backup, checked, made durable, and only then gets its name.
"""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from heliograph import durable
from heliograph.errors import StoreAway, StoreDamaged
from heliograph.lock import Lock
from heliograph.store import integrity, schema
from heliograph.store.hot import JUMP
from heliograph.store.years import newest_arrival
from services.storage.maintenance import backup_list, files, losses, node_state
from services.storage.maintenance.backup_list import BackupList, Copy, FileState
from services.storage.maintenance.encryption import ENDING, Encryption

PAGES = 2_000  # copied at a time: storage can write in between
STAGED = ".partial"
LOCK = "lock"  # as heliograph/store/writer.py calls it
VERIFIED_BYTES = (
    1_000_000_000  # of copies that an incremental backup reads again, those first that were read longest ago
)


class NotEmpty(OSError):
    """There are readings where a backup would be restored to."""


class BackedUp(NamedTuple):
    """What a backup did: whether each file of the store was copied, why copies were made again, the state's files.

    `before_loss` are copies that it put aside because the store has lost a part of these files, `missing` those of years
    that the store has lost as a whole.
    """

    copied: dict[str, bool]
    made_again: dict[str, str]
    state: list[str]
    before_loss: list[str]
    missing: list[str]


class Restored(NamedTuple):
    """What was restored: where the files that were there are now, what was damaged and why, the state's files."""

    aside: Path | None
    damaged: dict[str, str]
    state: node_state.PutBack


Advance = Callable[[int], None]


def back_up(
    store: Path,
    folder: Path,
    advance: Advance,
    *,
    incremental: bool = False,
    state: Mapping[str, Path] | None = None,
    encryption: Encryption | None = None,
) -> BackedUp:
    """Copy the files of a store into a folder, and other files under their names in `state`.

    An incremental backup keeps copies of years that have not changed, if their size is right; of some of them, those first
    that were read longest ago, it also reads the checksum, and it makes again what is not as it was. Of a file of which storage
    reports a loss the copy from before is kept, too. Raises StoreAway if there
    is no store, StoreDamaged if a file of it, or its copy, is not sound, or a restore into it was interrupted, OSError if a write fails. Nothing that a backup
    there held before is lost then.
    """
    schema.refuse_half_restored(store)
    sources = files.store_files(store)
    if not sources:
        raise StoreAway(f"there is no store in {store}")
    folder.mkdir(parents=True, exist_ok=True)
    before = backup_list.read(folder)
    lost = losses.reported(store)
    missing = sorted(lost & before.files.keys() - {source.name for source in sources})
    kept, made_again = _kept(folder, before, sources) if incremental else ({}, {})
    after: dict[str, FileState] = {}
    staged: dict[str, Copy] = {}
    try:
        for source in sources:
            if not source.exists():
                continue  # a year that retention has just dropped
            name, seen = source.name, backup_list.state_of(source)
            if name in kept:
                advance(files.size(source))
            else:
                _stage(source, folder / f"{name}{STAGED}", advance)
                staged[name] = backup_list.copy_of(folder / f"{name}{STAGED}")
            after[name] = seen
        copies = node_state.stage(state or {}, folder, encryption)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        # whenever the power fails from here on, each copy is one of two that the list knows
        backup_list.write(folder, msgspec.structs.replace(before, pending=staged, pending_state=copies))
        before_loss = losses.keep(folder, lost & staged.keys())
        _install(folder, staged)
        node_state.install(folder, copies)
    finally:
        _clean(folder)
        node_state.clean(folder)
    after |= {name: before.files[name] for name in missing}
    kept |= {name: before.copies[name] for name in missing if name in before.copies}
    for gone in set(before.files) - set(after):
        (folder / gone).unlink(missing_ok=True)  # retention dropped it
    backup_list.write(folder, BackupList(made, after, {**kept, **staged}, copies))
    copied = {name: name in staged for name in after if name not in missing}
    return BackedUp(copied, made_again, sorted(copies), before_loss, missing)


def check(folder: Path) -> dict[str, str]:
    """Return what is wrong with the files of a backup, by name: each is read as a whole. Raises StoreAway, StoreDamaged."""
    listed = _listed(folder)
    wrong = _wrong(folder, listed)
    for name in listed.store_copies(folder).keys() - wrong.keys():
        try:
            if why := _why_unsound(folder / name):
                wrong[name] = why
        except (OSError, StoreDamaged) as error:
            wrong[name] = str(error)
    state = backup_list.verified(folder / node_state.FOLDER, listed.state_copies()).wrong
    return wrong | {f"{node_state.FOLDER}/{name}": why for name, why in state.items()}


def restore(
    folder: Path,
    store: Path,
    advance: Advance,
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
    listed = _listed(folder)
    wrong = _wrong(folder, listed)
    bad_state = backup_list.verified(folder / node_state.FOLDER, listed.state_copies()).wrong
    whole = [name for name in listed.state if name not in bad_state]
    node_state.check_passphrase(folder, whole, encryption)
    store.mkdir(parents=True, exist_ok=True)
    lock = Lock(store / LOCK, "store")
    try:
        marker = store / schema.RESTORING
        if files.store_files(store) and not force and not marker.exists():
            raise NotEmpty(f"there is a store in {store} already")
        names = listed.store_copies(folder)
        for name in sorted(names.keys() - wrong.keys()):
            try:
                _stage(folder / name, store / f"{name}{STAGED}", advance)
                if why := _why_unsound(store / f"{name}{STAGED}"):
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
        _install(store, [name for name in good if name != files.HOT])
        if files.HOT in good:
            _skip_numbers(store / f"{files.HOT}{STAGED}", store)
            _install(store, [files.HOT])
        put_back = node_state.put_back(folder, whole, state_to, force=force, encryption=encryption)
        marker.unlink()
        durable.sync(store)
        return Restored(aside, bad, put_back)
    finally:
        _clean(store)
        lock.release()


def is_encrypted(folder: Path) -> bool:
    """Whether a backup has files that only a pass phrase opens; raise StoreAway, StoreDamaged."""
    return any(name.endswith(ENDING) for name in _listed(folder).state)


def _listed(folder: Path) -> BackupList:
    listed = backup_list.read(folder)
    if not listed.files:
        raise StoreAway(f"{folder} is not a backup: it has no {backup_list.NAME}")
    return listed


def _wrong(folder: Path, listed: BackupList) -> dict[str, str]:
    return backup_list.verified(folder, listed.store_copies(folder)).wrong


def _kept(folder: Path, before: BackupList, sources: list[Path]) -> tuple[dict[str, Copy], dict[str, str]]:
    """Return the copies of unchanged years that are as they were, and why others are not."""
    unchanged = {
        source.name: [before.copies[source.name]]
        for source in sources
        if source.match(files.HISTORY)
        and source.name in before.copies
        and before.files.get(source.name) == backup_list.state_of(source)
    }
    verified = backup_list.verified(folder, unchanged, VERIFIED_BYTES)
    return verified.good, verified.wrong


def _put_damaged(folder: Path, store: Path, wrong: Iterable[str]) -> None:
    """Put what there is of damaged files beside the others, as storage names them when it moves them aside."""
    for name in wrong:
        if (folder / name).exists() and (folder / name).stat().st_size:
            shutil.copyfile(folder / name, store / name)
            schema.move_aside(store / name)


def _why_unsound(path: Path) -> str:
    """Return what is wrong with a file of a store, and how much of it; empty if all of it can be read."""
    if path.stat().st_size == 0:
        return "it is empty"
    if errors := files.integrity_errors(path, quick=True):
        return errors[0]
    with files.read_only(path) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone() is None:
            return "it is not a file of a store"
        chunks = connection.execute("SELECT 1 FROM sqlite_master WHERE name='chunk'").fetchone()
        count = connection.execute("SELECT count(*) FROM chunk").fetchone()[0] if chunks else 0
    damages = [one for some in integrity.year(path) for one in some] if chunks else []
    return f"{len(damages)} parts of it cannot be read, of {count} days of series: {damages[0]}" if damages else ""


def _install(folder: Path, names: Iterable[str]) -> None:
    """Give staged files their names: hot.db last, because what has left it must be in history whenever power fails."""
    for name in sorted(names, key=lambda name: (name == files.HOT, name != files.CATALOG)):
        for suffix in files.SIDE_FILES:
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
        (folder / f"{name}{STAGED}").replace(folder / name)
        durable.sync(folder)


def _clean(folder: Path) -> None:
    for path in folder.glob(f"*.db{STAGED}*"):
        path.unlink(missing_ok=True)


def _stage(source: Path, target: Path, advance: Advance) -> None:
    """Make a sound and durable copy of a file; raise StoreDamaged or OSError."""
    target.unlink(missing_ok=True)
    done = 0

    def progress(status: int, remaining: int, total: int) -> None:
        nonlocal done
        reached = (total - remaining) * page
        advance(max(0, reached - done))
        done = max(done, reached)

    with files.read_only(source) as connection:
        page = connection.execute("PRAGMA page_size").fetchone()[0]
        pages = -1 if source.name == files.HOT else PAGES  # hot.db changes all the time, and is small
        try:
            with closing(sqlite3.connect(target)) as copy:
                connection.backup(copy, pages=pages, progress=progress, sleep=0.01)
                copy.execute(
                    "PRAGMA journal_mode=DELETE"
                ).fetchall()  # a disk that is mounted read-only can be read then
        except sqlite3.OperationalError as error:
            raise OSError(f"{target}: {error}") from None
    if not target.stat().st_size:
        raise StoreDamaged(f"{source} is empty")
    if errors := files.integrity_errors(target, quick=True):
        raise StoreDamaged(f"the copy of {source} is not sound: {errors[0]}")
    durable.sync(target)


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
        if path.is_file() and path.name not in (LOCK, schema.RESTORING) and STAGED not in path.name
    ]
    if not present:
        return None
    aside = store / f"before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside.mkdir(exist_ok=True)
    for path in present:
        path.rename(aside / path.name)
    return aside
