"""Backups: a store copied while it is written, and restored.

A backup is a folder with the store's files as they are, and backup.json with what they looked like when they were
copied. Each is copied with SQLite's online backup, checked, made durable, and only then gets its name.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from heliograph import durable
from heliograph.errors import StoreAway, StoreDamaged
from heliograph.lock import Lock
from heliograph.store.hot import JUMP
from heliograph.store.years import newest_arrival
from services.storage.maintenance import files

MANIFEST = "backup.json"
PAGES = 2_000  # copied at a time: storage can write in between
STAGED = ".partial"
LOCK = "lock"  # as heliograph/store/writer.py calls it


class NotEmpty(OSError):
    """There are readings where a backup would be restored to."""


class FileState(msgspec.Struct, frozen=True):
    """What identifies an unchanged file: size and time of it and of its write-ahead log."""

    size: int
    modified: int  # ns
    journal_size: int
    journal_modified: int


class Manifest(msgspec.Struct, frozen=True):
    """The content of backup.json."""

    made: str  # ISO 8601
    files: dict[str, FileState]


Advance = Callable[[int], None]


def back_up(store: Path, folder: Path, advance: Advance, *, incremental: bool = False) -> dict[str, bool]:
    """Copy the files of a store into a folder; return for each whether it was copied; if not, it was there already and unchanged.

    Raises StoreAway if there is no store, StoreDamaged if a file of it, or its copy, is not sound, OSError if a write
    fails. Nothing that a backup there held before is lost then.
    """
    sources = files.store_files(store)
    if not sources:
        raise StoreAway(f"there is no store in {store}")
    folder.mkdir(parents=True, exist_ok=True)
    before = _listed_files(folder)
    after: dict[str, FileState] = {}
    staged: list[str] = []
    try:
        for source in sources:
            if not source.exists():
                continue  # a year that retention has just dropped
            name, state = source.name, _file_state(source)
            if incremental and source.match(files.HISTORY) and before.get(name) == state and (folder / name).exists():
                advance(files.size(source))
            else:
                _stage(source, folder / f"{name}{STAGED}", advance)
                staged.append(name)
            after[name] = state
        _install(folder, staged)
    finally:
        _clean(folder)
    for gone in set(before) - set(after):
        (folder / gone).unlink(missing_ok=True)  # retention dropped it
    _write_manifest(folder, Manifest(datetime.now(UTC).isoformat(timespec="seconds"), after))
    return {name: name in staged for name in after}


def restore(folder: Path, store: Path, advance: Advance, *, force: bool = False) -> Path | None:
    """Put a backup where a store is or will be; return where the files that were there have been moved to.

    Raises heliograph.lock.Taken while storage runs, NotEmpty over a store that is there unless forced, StoreAway if the
    folder is not a backup, StoreDamaged if it is not complete, OSError if a write fails. The store is unchanged then.
    """
    listed = _listed_files(folder)
    if not listed:
        raise StoreAway(f"{folder} is not a backup: it has no {MANIFEST}")
    missing = [name for name in listed if not (folder / name).exists()]
    if missing:
        raise StoreDamaged(f"{folder} is not complete: {', '.join(sorted(missing))} is missing")
    store.mkdir(parents=True, exist_ok=True)
    lock = Lock(store / LOCK, "store")
    try:
        if files.store_files(store) and not force:
            raise NotEmpty(f"there is a store in {store} already")
        for name in listed:
            _stage(folder / name, store / f"{name}{STAGED}", advance)
        aside = _set_aside(store)
        _install(store, [name for name in listed if name != files.HOT])
        if files.HOT in listed:
            _skip_numbers(store / f"{files.HOT}{STAGED}", store)
            _install(store, [files.HOT])
        return aside
    finally:
        _clean(store)
        lock.release()


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
        except sqlite3.OperationalError as error:
            raise OSError(f"{target}: {error}") from None
    if errors := files.integrity_errors(target, quick=True):
        raise StoreDamaged(f"the copy of {source} is not sound: {errors[0]}")
    durable.sync(target)


def _skip_numbers(staged: Path, store: Path) -> None:
    """Make the restored store continue far after every number of arrival that was given since the backup.

    Readers that follow the arrivals have seen those numbers: they would miss what came under them again.
    """
    with closing(sqlite3.connect(staged)) as connection:
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
    present = [path for path in store.iterdir() if path.is_file() and path.name != LOCK and STAGED not in path.name]
    if not present:
        return None
    aside = store / f"before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside.mkdir(exist_ok=True)
    for path in present:
        path.rename(aside / path.name)
    return aside


def _file_state(path: Path) -> FileState:
    file = path.stat()
    wal = path.with_name(path.name + "-wal")
    journal = wal.stat() if wal.exists() else None
    if journal is None or not journal.st_size:
        return FileState(file.st_size, file.st_mtime_ns, 0, 0)
    return FileState(file.st_size, file.st_mtime_ns, journal.st_size, journal.st_mtime_ns)


def _listed_files(folder: Path) -> dict[str, FileState]:
    """Return the files that backup.json lists; raise StoreDamaged if it cannot be read."""
    path = folder / MANIFEST
    try:
        listed = msgspec.json.decode(path.read_bytes(), type=Manifest).files
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreDamaged(f"{path}: {error}") from None
    strange = [name for name in listed if Path(name).name != name]
    if strange:
        raise StoreDamaged(f"{path}: {strange[0]!r} is not a file of a store")
    return listed


def _write_manifest(folder: Path, content: Manifest) -> None:
    durable.write(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(content)))
