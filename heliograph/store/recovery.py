"""Opens the two files that the writer always needs, and brings all files together that damage has set at odds.

The catalog alone gives numbers. If it is lost, it is made again from the copies of its names in the other files; a file
whose copies contradict it (an older one, one of another store, one that comes back after its numbers were given again)
is moved aside and stored again by name, so that no series ever has the readings of another.
"""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from heliograph import durable, renames
from heliograph.errors import StoreDamaged
from heliograph.store import (
    copied_names,
    damaged_files,
    history,
    hot,
    rescalings,
    row_types,
    salvage,
    schema,
    unit_recovery,
    year_marks,
)
from heliograph.store.copied_names import CopiedNames
from heliograph.store.rescalings import Log

log = logging.getLogger(__name__)

JUMP = 1_000  # numbers that a lost catalog may have given, and that no file which is left knows


class ContradictsCatalog(StoreDamaged):
    """A file gives other numbers to names than the catalog."""


class Opened(NamedTuple):
    """The open files, the highest numbers of names that any file uses, and what is lost, a sentence each."""

    catalog: sqlite3.Connection
    hot: sqlite3.Connection
    highest: Mapping[str, int]
    losses: list[str]


def opened(folder: Path, now: float, *, joined: bool = False) -> Opened:
    """Open catalog.db and hot.db for writing; raise OSError, or StoreDamaged for a file of another format.

    Damaged files are moved aside, to be salvaged later; the names in those that are left come into the catalog.
    """
    losses: list[str] = []
    level = logging.INFO if joined else logging.ERROR
    with ExitStack() as stack:
        catalog = _opened_catalog(folder, losses)
        stack.callback(lambda: catalog.close())
        had_hot = _has_content(schema.hot_file(folder))
        hot_db = hot.opened(folder, now, _identity(catalog))
        stack.callback(lambda: hot_db.close())
        if losses:  # the catalog was made again: hot.db, too, knows which years there were
            with schema.refusing(folder), schema.transaction(catalog):
                years = [(number,) for number in year_marks.noted(hot_db)]
                catalog.executemany("INSERT OR IGNORE INTO year VALUES(?)", years)
        names = copied_names.read(catalog)
        if not had_hot and (names.series or history.files(folder)):
            losses.append(
                "hot.db was missing or empty: readings of the last hours, which were not sealed yet, are lost"
            )
        if why := _why_not(names, hot_db):
            if _is_foreign(folder, names, copied_names.read(hot_db)):
                log.error("catalog.db is not that of the other files (%s)", why)
                catalog.close()
                damaged_files.done(schema.move_aside(schema.catalog_file(folder)))  # no source of names
                catalog = _made_again(folder, "it belonged to another store", losses)
                names = copied_names.read(catalog)
            if why := _why_not(names, hot_db):
                log.log(level, "hot.db contradicts the catalog (%s); its readings are stored again by name", why)
                hot_db = _begun_again(folder, hot_db, now, _identity(catalog))
        rescaled = unit_recovery.gathered(folder, catalog, hot_db)
        if why := unit_recovery.why_hot_is_behind(folder, hot_db, rescaled):
            log.error("hot.db: %s; they are converted, and stored again by name", why)
            hot_db = _begun_again(folder, hot_db, now, _identity(catalog))
            unit_recovery.why_hot_is_behind(folder, hot_db, rescaled)
        highest = _reconciled(folder, catalog, hot_db, rescaled, losses, level)
        losses += _older_copies(folder, hot_db)
        stack.pop_all()
    return Opened(catalog, hot_db, highest, losses)


def _begun_again(folder: Path, hot_db: sqlite3.Connection, now: float, identity: str) -> sqlite3.Connection:
    """Move hot.db aside, to be salvaged, and return a new one."""
    hot_db.close()
    schema.move_aside(schema.hot_file(folder))
    return hot.opened(folder, now, identity)


def copy_names(catalog: sqlite3.Connection, hot_db: sqlite3.Connection, folder: Path) -> None:
    """Bring the copies of all names in hot.db up to date."""
    names, copies = copied_names.read(catalog), copied_names.read(hot_db)
    new = copied_names.changed(copies, names)
    if new != CopiedNames():
        with schema.refusing(schema.hot_file(folder)), schema.transaction(hot_db):
            copied_names.put(hot_db, new)


def disagreements(folder: Path) -> list[str]:
    """Return what `opened` would mend, a sentence each: a catalog that is lost, files that contradict it. Nothing is written."""
    if not _others(folder) and not schema.catalog_file(folder).exists():
        return []
    if why := _why_lost(folder):
        return [
            f"catalog.db {why}: which series there were is known only as far as other files have copies of their names"
        ]
    sentences: list[str] = []
    with schema.reading(schema.catalog_file(folder)) as db:
        names = copied_names.read(db)
        identity = _identity(db)
        rescaled = rescalings.read(db)
    for path in [schema.hot_file(folder), *history.files(folder).values()]:
        if not _has_content(path):
            sentences.append(f"{path.name} is {'empty' if path.exists() else 'missing'}: what it had is lost")
            continue
        try:
            with schema.reading(path) as db:
                if path.name != "hot.db" and (why := year_marks.why_another(db, path)):
                    sentences.append(f"{path.name} is not what it is called: {why}")
                    continue
                why = copied_names.contradiction(names, copied_names.read(db))
                if rescalings.missing(rescaled, rescalings.read(db)):
                    sentences.append(
                        f"{path.name} has values in a unit from before a rescaling; storage converts them at its start"
                    )
                if path.name == "hot.db" and (theirs := _identity(db)) and identity not in ("", theirs):
                    why = why or "it belongs to another store"
        except (OSError, StoreDamaged):
            continue  # the check of each file says that
        if why:
            sentences.append(f"{path.name} contradicts catalog.db: {why}")
    return sentences


def _opened_catalog(folder: Path, losses: list[str]) -> sqlite3.Connection:
    path = schema.catalog_file(folder)
    why = _why_lost(folder)
    if not why:
        try:
            return schema.create(path, schema.CATALOG_PAGE, schema.CATALOG)
        except StoreDamaged as error:
            if schema.is_of_other_format(path):
                raise
            why = f"could not be read ({error})"
    if path.exists() or path.with_name(path.name + "-wal").exists():
        schema.move_aside(path)
    return _made_again(folder, why, losses)


def _why_lost(folder: Path) -> str:
    """Return why the catalog must be made again; empty if it can be opened, or the store is new."""
    path = schema.catalog_file(folder)
    if not path.exists():
        return "was missing" if _others(folder) else ""
    try:
        with schema.reading(path) as db:
            verdict = str(schema.one(db, "PRAGMA quick_check(1)"))
            made = db.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone()
            verdict = (row_types.wrong(db) or verdict) if verdict == "ok" else verdict
    except StoreDamaged as error:
        return f"could not be read ({error})"
    if verdict != "ok":
        return f"was damaged ({verdict})"
    return "was empty" if made is None and _others(folder) else ""


def _others(folder: Path) -> list[Path]:
    """Return the files that have numbers which only a catalog explains."""
    hot_file = schema.hot_file(folder)
    paths = [path for path in history.files(folder).values() if _has_content(path)] + damaged_files.damaged(folder)
    try:
        if _has_content(hot_file):
            with schema.reading(hot_file) as db:
                if db.execute("SELECT 1 FROM frame LIMIT 1").fetchone() or year_marks.noted(db):
                    paths.append(hot_file)
    except StoreDamaged:
        paths.append(hot_file)
    return paths


def _has_content(path: Path) -> bool:
    wal = path.with_name(path.name + "-wal")
    return path.exists() and (path.stat().st_size > 0 or (wal.exists() and wal.stat().st_size > 0))


def _made_again(folder: Path, why: str, losses: list[str]) -> sqlite3.Connection:
    """Make the catalog from the copies of its names; of two that contradict each other the newer file is right."""
    path = schema.catalog_file(folder)
    new = path.with_name(path.name + ".new")
    schema.delete(new)
    sources = 0
    names = CopiedNames()
    with closing(schema.create(new, schema.CATALOG_PAGE, schema.CATALOG)) as db, schema.refusing(new):
        with schema.transaction(db):
            for copies in _sources(folder):
                if copies.series and not copied_names.contradiction(names, copies):
                    copied_names.adopt(db, copies)
                    names = copied_names.read(db)
                    sources += 1
            for table, number in salvage.used_numbers(names).items():
                db.execute("INSERT INTO meta VALUES(?, ?)", (f"highest_{table}", number + JUMP))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    new.rename(path)
    durable.sync(folder)
    losses.append(
        f"catalog.db {why}; it was made again from {sources} other files: {len(names.series)} series. Series whose "
        "readings no file has, and meters that were replaced, may be missing"
    )
    return schema.create(path, schema.CATALOG_PAGE, schema.CATALOG)


def _sources(folder: Path) -> Iterator[CopiedNames]:
    """Yield the names in every file that has copies, the best first."""
    aside = damaged_files.damaged(folder)
    for path in reversed([path for path in aside if damaged_files.kind(path) == "catalog"]):
        yield salvage.names(path)
    for path in [schema.hot_file(folder), *reversed(history.files(folder).values())]:
        if _has_content(path):
            try:
                with schema.reading(path) as db:
                    yield copied_names.read(db)
            except (OSError, StoreDamaged) as error:
                log.error("no names can be read of %s", error)
    for path in reversed([path for path in aside if damaged_files.kind(path) != "catalog"]):
        yield salvage.names(path)


def _why_not(names: CopiedNames, hot_db: sqlite3.Connection) -> str:
    """Return why the numbers in hot.db cannot be those of the catalog; empty if they can."""
    copies = copied_names.read(hot_db)
    if why := copied_names.contradiction(names, copies):
        return why
    layouts = {**copies.layout, **names.layout}
    for layout, size in hot_db.execute("SELECT DISTINCT layout, length(v) FROM frame"):
        if layout not in layouts:
            return f"no file tells what layout {layout} is"
        if size != 2 * len(layouts[layout][1]):  # eight bytes for each series, whose number takes four
            return f"a reading of layout {layout} has {size} bytes"
    crc_or_none = "CASE WHEN typeof(crc) IN ('integer', 'null') THEN crc ELSE -1 END"  # no checksum is below 0
    for number, layout, time, payload, crc in hot_db.execute(f"SELECT seq, layout, ts, v, {crc_or_none} FROM frame"):
        if crc is not None and crc != schema.frame_crc(number, layout, time, payload):
            return f"the checksum of reading {number} is wrong"
    return ""


def _is_foreign(folder: Path, names: CopiedNames, hot_names: CopiedNames) -> bool:
    """Whether more years agree with hot.db than with the catalog."""
    balance = 0
    for path in history.files(folder).values():
        try:
            with schema.reading(path) as db:
                copies = copied_names.read(db)
        except (OSError, StoreDamaged):
            continue
        balance += bool(copied_names.contradiction(names, copies)) - bool(copied_names.contradiction(hot_names, copies))
    return balance > 0


def _older_copies(folder: Path, hot_db: sqlite3.Connection) -> list[str]:
    """Return which years are older copies, and note those as they are now: it is reported once."""
    with schema.refusing(folder):
        sentences = year_marks.older_copies(folder, hot_db)
        if sentences:
            with schema.transaction(hot_db):
                year_marks.put(hot_db, year_marks.of(folder, history.files(folder)))
    return sentences


def _reconciled(
    folder: Path, catalog: sqlite3.Connection, hot_db: sqlite3.Connection, rescaled: Log, losses: list[str], level: int
) -> dict[str, int]:
    """Take the names of hot.db and of all years into the catalog, convert what was not rescaled, move aside what contradicts the catalog.

    Returns the highest numbers.
    """
    names = copied_names.read(catalog)
    highest = dict.fromkeys(copied_names.COLUMNS, 0)
    for key, value in catalog.execute("SELECT key, value FROM meta WHERE key LIKE 'highest_%'"):
        highest = salvage.larger(highest, {key.removeprefix("highest_"): int(value)})
    names = _adopted(folder, catalog, names, copied_names.read(hot_db))
    highest = salvage.larger(highest, history.highest(hot_db))
    known = {number for (number,) in catalog.execute("SELECT number FROM year")}
    for number, path in history.files(folder).items():
        if not _has_content(path) and number not in known:
            schema.delete(path)  # it was being made when the power failed
            continue
        if schema.is_of_other_format(path):
            raise StoreDamaged(f"{path} is of another version of Heliograph; this one reads format {schema.FORMAT}")
        name = path.name
        try:
            with schema.reading(path) as db:
                if db.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone() is None:
                    raise StoreDamaged(f"{path.name} is empty")
                if why := year_marks.why_another(db, path):
                    name = year_marks.right_name(folder, path, year_marks.own_number(db))
                    raise StoreDamaged(f"{path.name} is not what it is called: {why}")
                mark = year_marks.of_file(db)
                if why := row_types.wrong(db, ()):
                    raise StoreDamaged(f"{path.name}: {why}")
                behind = rescalings.missing(rescaled, rescalings.read(db))
                copies = unit_recovery.renamed(copied_names.read(db), behind)
                if not copies.whole:
                    raise StoreDamaged(f"{path.name}: its copies of names cannot all be read")
                highest = salvage.larger(highest, history.highest(db))
            if why := copied_names.contradiction(names, copies):
                if year_marks.is_another(hot_db, number, mark):
                    losses.append(
                        f"history-{number:04d}.db is of another store, or of another time, and is stored again by name ({why}). "
                        f"{year_marks.put_back(number)}"
                    )
                if before := _renamed_since(names, copies):
                    losses.append(
                        f"{path.name} is a copy from before a rename: its readings are stored under the names of then. "
                        f"Rename again, for their history: {'; '.join(before[:5])}"
                    )
                raise ContradictsCatalog(f"{path.name} contradicts the catalog: {why}")
            if why := unit_recovery.why_another_unit(names, copies):
                raise StoreDamaged(f"{path.name} is not in the units of the catalog: {why}")
            names = _adopted(folder, catalog, names, copies)
            unit_recovery.bring(folder, path, rescaled)
        except StoreDamaged as error:
            severity = level if isinstance(error, ContradictsCatalog) else logging.ERROR
            log.log(severity, "%s; moving it aside and salvaging readable data", error)
            schema.move_aside(path, name)
    for path in damaged_files.damaged(folder):
        highest = salvage.larger(highest, salvage.highest(path))
    return highest


def _renamed_since(names: CopiedNames, copies: CopiedNames) -> list[str]:
    """Return the devices in a file that have another name in the catalog since a rename, each as "old to new"."""
    noted = renames.decode(names.renames or None)
    present = {name: noted.present(name) for (name,) in copies.device.values()}
    there = {name for (name,) in names.device.values()} - {name for (name,) in copies.device.values()}
    return [f"{name} to {new}" for name, new in sorted(present.items()) if new != name and new in there]


def _adopted(folder: Path, catalog: sqlite3.Connection, names: CopiedNames, copies: CopiedNames) -> CopiedNames:
    new = copied_names.missing(names, copies)
    if new == CopiedNames():
        return names
    with schema.refusing(schema.catalog_file(folder)), schema.transaction(catalog):
        copied_names.adopt(catalog, new)
    log.warning("catalog.db did not have %d series that another file has; it has them again", len(new.series))
    return copied_names.read(catalog)


def _identity(db: sqlite3.Connection) -> str:
    try:
        identity = schema.meta(db, "identity")
    except sqlite3.Error:
        return ""
    return identity if isinstance(identity, str) else ""
