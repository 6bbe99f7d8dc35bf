"""Renames nodes, devices and channels in the files of a store; what has the new name already is joined with it.

Names are in the catalog, and copied in every other file; unfinished.py brings the change to all of them, whatever happens
meanwhile. Years with readings under both names are stored again by name afterwards (recovery.py).
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from heliograph import renames
from heliograph.errors import StoreAway
from heliograph.renames import Rename
from heliograph.store import changed_units, copied_names, history, names, rename_plan, schema
from heliograph.store.copied_names import CopiedNames
from heliograph.store.interface import Progress
from heliograph.store.rename_plan import CannotRename, Renaming, moved_progress, plan

CELLS = ("r5m_day", "r1h_day", "r5m_month", "r1h_month", "r1h_year")


def check(folder: Path, old: str, new: str) -> Renaming:
    """Return what `rename` would do, without a change; raise CannotRename, StoreAway, OSError or StoreDamaged. Storage may run."""
    if not schema.catalog_file(folder).exists():
        raise StoreAway(f"there is no store in {folder}")
    done = plan(_known(folder), old, new)
    _refuse_collisions(folder, done)
    return done


def was_done(folder: Path, entry: Rename) -> bool:
    """Whether this was the last rename, and nothing has the old name any more. Raises OSError or StoreDamaged."""
    with schema.reading(schema.catalog_file(folder)) as db:
        return rename_plan.was_done(copied_names.read(db), renames.decode(schema.meta(db, renames.KEY)), entry)


def prepared(folder: Path, entry: Rename) -> Callable[[sqlite3.Connection, Path], None]:
    """Return what changes the names in one file, in the transaction that is open; the catalog has to be the last one.

    Raises CannotRename, OSError or StoreDamaged.
    """
    known = _known(folder)
    done = plan(known, entry.old, entry.new)
    return lambda db, path: _apply(db, path, done, known, entry)


def note(folder: Path, entry: Rename) -> None:
    """Add a rename to the list in the catalog, durably; the caller has the store's lock. Raises OSError, StoreDamaged."""
    path = schema.catalog_file(folder)
    with schema.refusing(path), closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=FULL")
        with schema.transaction(db):
            _note(db, entry)


def _note(catalog: sqlite3.Connection, entry: Rename) -> None:
    noted = renames.decode(schema.meta(catalog, renames.KEY)).with_one(entry)
    catalog.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (renames.KEY, renames.encode(noted)))


def _known(folder: Path) -> CopiedNames:
    with schema.reading(schema.catalog_file(folder)) as db:
        return copied_names.read(db)


def _refuse_collisions(folder: Path, done: Renaming) -> None:
    """Refuse a year of which only cells are kept, if both names have cells of one time."""
    for path in filter(history.is_bare, history.files(folder).values()):
        with schema.reading(path) as db:
            for sid, other in done.joined_series.items():
                _refuse_collision(db, path, sid, other)


def _refuse_collision(db: sqlite3.Connection, path: Path, sid: int, other: int) -> None:
    for table in ("chunk", *CELLS):
        first = history.key(other, 0) - history.key(sid, 0)
        both = db.execute(
            f"SELECT 1 FROM {table} a JOIN {table} b ON b.k = a.k + ? WHERE a.k BETWEEN ? AND ? LIMIT 1",
            (first, history.key(sid, 0), history.key(sid + 1, 0) - 1),
        ).fetchone()
        if both:
            raise CannotRename(
                f"{path.name} has only cells, and some of one time under both names: they cannot be joined"
            )


def _move_progress(db: sqlite3.Connection, entry: Rename) -> None:
    """Give the progress of a node's producers to its new name."""
    rows = db.execute("SELECT producer, epoch, last, lost, seen FROM progress").fetchall()
    seen = {(producer, epoch): at for producer, epoch, _, _, at in rows}
    known = [(producer, epoch, Progress(last, lost)) for producer, epoch, last, lost, _ in rows]
    for old, new, epoch, progress in list(moved_progress(known, entry)):
        at = max(seen[old, epoch], seen.get((new, epoch), 0))
        db.execute("INSERT OR REPLACE INTO progress VALUES(?, ?, ?, ?, ?)", (new, epoch, *progress, at))
        db.execute("DELETE FROM progress WHERE producer = ? AND epoch = ?", (old, epoch))


def _apply(db: sqlite3.Connection, path: Path, done: Renaming, known: CopiedNames, entry: Rename) -> None:
    """Change the names in one file, in the transaction that is open."""
    is_year, is_bare = path.name.startswith("history-"), history.is_bare(path)
    db.executemany(
        "UPDATE device SET name = ? WHERE id = ?",
        [(name, number) for number, name in done.devices.items() if number not in done.joined_devices],
    )
    db.executemany(
        "UPDATE series SET name = ? WHERE id = ?",
        [
            (name, sid)
            for sid, name in done.series.items()
            if sid not in done.joined_series or (is_year and not is_bare)
        ],
    )
    for sid, other in done.joined_series.items():
        if is_bare:
            _renumber(db, sid, other)
            if db.execute("SELECT 1 FROM series WHERE id = ?", (other,)).fetchone():
                db.execute("DELETE FROM series WHERE id = ?", (sid,))
            else:
                db.execute("UPDATE series SET id = ? WHERE id = ?", (other, sid))
        elif not is_year:
            db.execute("DELETE FROM series WHERE id = ?", (sid,))
    for number, stays in done.joined_devices.items():
        if not db.execute("SELECT 1 FROM device WHERE id = ?", (number,)).fetchone():
            continue
        db.execute("DELETE FROM device WHERE id = ?", (number,))
        db.execute("INSERT OR IGNORE INTO device(id, name) VALUES(?, ?)", (stays, known.device[stays][0]))
        db.execute("UPDATE series SET device = ? WHERE device = ?", (stays, number))
        if is_year:
            _give_axes(db, number, stays)
    if is_year:
        db.execute("UPDATE meta SET value = value + 1 WHERE key='version'")
        return
    _forget_layouts(db, done)
    if path.name == "hot.db":
        _move_progress(db, entry)
    if path.name == "catalog.db":
        for sid, other in done.joined_series.items():
            db.execute("UPDATE OR IGNORE replacement SET series = ? WHERE series = ?", (other, sid))
            db.execute("DELETE FROM replacement WHERE series = ?", (sid,))
        _keep_highest(db, known)
        _note(db, entry)
        if units := schema.meta(db, changed_units.KEY):
            new = {known.device[number][0]: name for number, name in done.devices.items()}
            text = changed_units.renamed(units, new)
            if done.series:
                text = changed_units.channel_renamed(text, entry.old, entry.new)
            db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (changed_units.KEY, text))


def _renumber(db: sqlite3.Connection, sid: int, other: int) -> None:
    """Give chunks and cells of a series to another one; collisions were refused before."""
    for table in ("chunk", *CELLS):
        db.execute(
            f"UPDATE {table} SET k = k + ? WHERE k BETWEEN ? AND ?",
            (history.key(other, 0) - history.key(sid, 0), history.key(sid, 0), history.key(sid + 1, 0) - 1),
        )


def _give_axes(db: sqlite3.Connection, number: int, stays: int) -> None:
    """Give the axes of a device to another one."""
    span = history.axis_key(number, 0), history.axis_key(number + 1, 0) - 1
    for (k,) in db.execute("SELECT k FROM axis WHERE k BETWEEN ? AND ?", span).fetchall():
        day = history.axis_owner(k)[1]
        first = history.axis_key(stays, day)
        used = {
            one
            for (one,) in db.execute("SELECT k FROM axis WHERE k BETWEEN ? AND ?", (first, first + history.SLOTS - 1))
        }
        free = next(one for one in range(first, first + history.SLOTS) if one not in used)
        db.execute("UPDATE axis SET k = ? WHERE k = ?", (free, k))
        db.execute("UPDATE chunk SET axis = ? WHERE axis = ?", (free, k))


def _forget_layouts(db: sqlite3.Connection, done: Renaming) -> None:
    """Delete the layouts that have joined series; no reading that is not sealed refers to them."""
    gone = [
        (number,)
        for number, device, blob in db.execute("SELECT id, device, sids FROM layout").fetchall()
        if device in done.joined_devices or done.joined_series.keys() & set(names.unpacked(blob))
    ]
    db.executemany("DELETE FROM layout WHERE id = ?", gone)


def _keep_highest(db: sqlite3.Connection, known: CopiedNames) -> None:
    """Note the highest numbers, so that none is given again."""
    for table in copied_names.COLUMNS:
        key, highest = f"highest_{table}", max(known.table(table), default=0)
        db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, max(highest, int(schema.meta(db, key) or 0))))
