"""Renames nodes, devices and channels, with their history; what has the new name already is joined with it.

Names are in the catalog, and copied in every other file. A file whose copies contradict the catalog is stored again by
name (recovery.py): so an interruption loses nothing, and the same call does the rest.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from heliograph.errors import HeliographError
from heliograph.lock import Lock
from heliograph.store import changed_units, copied_names, history, names, schema
from heliograph.store.copied_names import CopiedNames
from heliograph.store.writer import SqliteWriter

CELLS = ("r5m_day", "r1h_day", "r5m_month", "r1h_month", "r1h_year")


class CannotRename(HeliographError):
    """The old name does not exist, or what has the new one is of another kind."""


class Renaming(NamedTuple):
    """The new names of devices and series, by number; and for those that are joined, the numbers that stay."""

    devices: dict[int, str]
    series: dict[int, str]
    joined_devices: dict[int, int]
    joined_series: dict[int, int]


def rename(folder: Path, old: str, new: str) -> Renaming:
    """Rename a node, a device (node/device) or a channel (node/device/channel) in the store of a folder.

    No other process may write the store meanwhile: raises heliograph.lock.Taken. Raises CannotRename, with nothing
    changed, OSError, StoreDamaged.
    """
    _settle(folder)
    lock = Lock(folder / "lock", "store")
    try:
        with schema.reading(schema.catalog_file(folder)) as db:
            known = copied_names.read(db)
        done = _planned(known, old, new)
        years = list(history.files(folder).values())
        for path in filter(history.is_bare, years):
            _refuse_collisions(path, done)
        # the catalog comes last: until then the files that have the new names contradict it, and would be stored by name
        for path in [*years, schema.hot_file(folder), schema.catalog_file(folder)]:
            with (
                schema.refusing(path),
                closing(sqlite3.connect(path, isolation_level=None)) as db,
                schema.transaction(db),
            ):
                _apply(db, path, done, known)
    finally:
        lock.release()
    if done.joined_series:
        before = set(folder.glob("*.salvaged-*"))
        _settle(folder)  # years with readings under both names are stored again by name
        for path in set(folder.glob("*.salvaged-*")) - before:
            schema.delete(path)
    return done


def _planned(known: CopiedNames, old: str, new: str) -> Renaming:
    parts = old.count("/")
    if parts != new.count("/") or old == new:
        raise CannotRename(f"{old} cannot become {new}: both are nodes, devices (node/device) or channels")
    by_name = {name: number for number, (name,) in known.device.items()}
    devices: dict[int, str] = {}
    series: dict[int, str] = {}
    if parts < 2:
        for number, (name,) in known.device.items():
            if name == old:
                devices[number] = new
            elif parts == 0 and name.startswith(f"{old}/"):
                devices[number] = f"{new}/{name.partition('/')[2]}"
    else:
        device, _, channel = old.rpartition("/")
        if device != new.rpartition("/")[0]:
            raise CannotRename(f"{old} cannot become {new}: a channel stays with its device")
        owner = by_name.get(device)
        series = {sid: new.rpartition("/")[2] for sid, row in known.series.items() if row[:2] == (owner, channel)}
    if not devices and not series:
        raise CannotRename(f"there is no {old} in the store; `heliograph-store info` lists the series")
    joined_devices = {number: by_name[name] for number, name in devices.items() if name in by_name}
    moved = {sid: (joined_devices[row[0]], row[1]) for sid, row in known.series.items() if row[0] in joined_devices}
    moved |= {sid: (known.series[sid][0], name) for sid, name in series.items()}
    there = {row[:2]: sid for sid, row in known.series.items()}
    joined_series = {sid: there[key] for sid, key in moved.items() if key in there}
    for sid, other in joined_series.items():
        _refuse_difference(known, sid, other)
    return Renaming(devices, series, joined_devices, joined_series)


def _refuse_difference(known: CopiedNames, one: int, other: int) -> None:
    """Refuse to join series of different units or kinds: the values of one would be wrong."""
    for what, index in (("unit", 2), ("kind", 3)):
        mine, theirs = known.series[one][index], known.series[other][index]
        if mine != theirs and (what == "kind" or (mine and theirs)):
            raise CannotRename(
                f"the channel {known.series[one][1]} has the {what} {mine!r} under the old name and {theirs!r} under the new one: "
                "they cannot be joined"
            )


def _refuse_collisions(path: Path, done: Renaming) -> None:
    """Refuse a year of which only cells are kept, if both names have cells of one time."""
    with schema.reading(path) as db:
        for sid, other in done.joined_series.items():
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


def _apply(db: sqlite3.Connection, path: Path, done: Renaming, known: CopiedNames) -> None:
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
    if path.name == "catalog.db":
        for sid, other in done.joined_series.items():
            db.execute("UPDATE OR IGNORE replacement SET series = ? WHERE series = ?", (other, sid))
            db.execute("DELETE FROM replacement WHERE series = ?", (sid,))
        _keep_highest(db, known)
        row = db.execute("SELECT value FROM meta WHERE key = ?", (changed_units.KEY,)).fetchone()
        if row:
            new = {known.device[number][0]: name for number, name in done.devices.items()}
            text = changed_units.renamed(row[0], new)
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
        row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, max(highest, int(row[0]) if row else 0)))


def _settle(folder: Path) -> None:
    with closing(SqliteWriter(folder, lambda: True)) as writer:
        writer.settle()
