"""Brings all files of a store to the units of its series: what damage, an interruption, or another copy of a file has left behind."""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import copied_names, damaged_files, history, names, rescaling, rescalings, salvage, schema
from heliograph.store.copied_names import CopiedNames
from heliograph.store.rescalings import Log

log = logging.getLogger(__name__)


def gathered(folder: Path, catalog: sqlite3.Connection, hot_db: sqlite3.Connection) -> Log:
    """Return the rescalings that any file of the store has had, or was to have; the catalog has all of them afterwards.

    Raises OSError, or StoreDamaged for the catalog.
    """
    with schema.refusing(schema.catalog_file(folder)):
        known = rescalings.read(catalog)
        whole = rescalings.merged([known, *_of_files(folder, copied_names.read(catalog), hot_db)])
        if rescalings.missing(whole, known):
            log.warning("catalog.db did not have every rescaling that other files had; it has them again")
            with schema.transaction(catalog):
                rescaling.rename_unit(catalog, whole)
    return whole


def why_hot_is_behind(folder: Path, hot_db: sqlite3.Connection, log_: Log) -> str:
    """Return why the readings of hot.db have other units than the catalog; empty if they have not, and then it has the log.

    Raises OSError, StoreDamaged.
    """
    with schema.refusing(schema.hot_file(folder)):
        behind = rescalings.missing(log_, rescalings.read(hot_db))
        if behind and hot_db.execute("SELECT 1 FROM frame LIMIT 1").fetchone():
            return f"its readings are from before {len(behind)} rescalings"
        if behind:
            with schema.transaction(hot_db):
                rescaling.rename_unit(hot_db, log_)
    return ""


def bring(folder: Path, path: Path, log_: Log) -> None:
    """Convert what a year has not had; raise StoreDamaged if it cannot be read or converted, OSError if the disk refuses."""
    with schema.reading(path) as db:
        if not rescalings.missing(log_, rescalings.read(db)):
            return
    with schema.reading(schema.catalog_file(folder)) as db:
        known = names.read(db)
    rescaling.bring(path, log_, known)
    log.info("%s: values are converted into the units that their series have now", path.name)


def renamed(copies: CopiedNames, behind: Log) -> CopiedNames:
    """Return the names of a file with the units that its series get from rescalings which it has not had."""
    for entry in behind:
        if row := copies.series.get(entry.change.series):
            copies.series[entry.change.series] = (row[0], row[1], entry.change.unit, row[3], entry.rollover)
    return copies


def why_another_unit(names_: CopiedNames, copies: CopiedNames) -> str:
    """Return which series has another unit in the catalog than in a file; empty if there is none."""
    for number, row in copies.series.items():
        theirs, ours = row[2] or "", (names_.series[number][2] if number in names_.series else "") or ""
        if rescalings.contradict(theirs, ours):
            return f"series {number} has the unit {theirs}, and {ours} in the catalog"
    return ""


def _of_files(folder: Path, names_: CopiedNames, hot_db: sqlite3.Connection) -> Iterator[Log]:
    """Yield the logs of hot.db and of every year that does not contradict the catalog."""
    yield rescalings.read(hot_db)
    for path in history.files(folder).values():
        try:
            with schema.reading(path) as db:
                theirs = rescalings.read(db)
                if theirs and not copied_names.contradiction(names_, copied_names.read(db)):
                    yield theirs
        except (OSError, StoreDamaged):
            continue  # it is looked at when its names are
    for path in damaged_files.damaged(folder):
        theirs = salvage.rescaled(path) or ()
        if theirs and not copied_names.contradiction(names_, salvage.names(path)):
            yield theirs
