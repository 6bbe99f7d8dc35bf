"""Notices files that are not what they are called, and older copies of years in the place of newer ones.

Each year knows its number, has a mark of its own, and a version that rises with every change. Whenever readings leave hot.db for a
year, hot.db notes both; a file with that mark and a smaller version is an older copy, and what was sealed since is not in it.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import history, schema

KEY = "sealed_{:04d}"  # in the table meta of hot.db: mark and version of that year, as text


def why_another(db: sqlite3.Connection, path: Path) -> str:
    """Return why a file is not the year that it is called; empty if it is. Raises sqlite3.Error."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name='axis'").fetchone() is None:
        return "it is not a year, but another file of a store"
    own = own_number(db)
    return "" if own in (None, _called(path)) else f"it is the year {own}"


def own_number(db: sqlite3.Connection) -> int | None:
    """Return which year a file is, None if it does not say. Raises sqlite3.Error."""
    number = schema.meta(db, "year")
    return number if isinstance(number, int) else None


def right_name(folder: Path, path: Path, own: int | None) -> str:
    """Return the name under which a file that is another year is salvaged: its readings come into that year.

    Cells without points are not merged: a file that has only those, or whose year has only those now, keeps its name.
    """
    if own is None or history.is_bare(path) or history.file(folder, own, tiers=True).exists():
        return path.name
    return history.file(folder, own).name


def of(folder: Path, numbers: Iterable[int]) -> dict[str, str]:
    """Return what hot.db has to note of these years, by key; nothing of one that cannot be read. Raises OSError."""
    marks: dict[str, str] = {}
    for number in numbers:
        with suppress(StoreDamaged), schema.reading(history.file(folder, number)) as db:
            mark, version = _read(db)
            if mark:
                marks[KEY.format(number)] = f"{mark}:{version}"
    return marks


def put(hot: sqlite3.Connection, marks: dict[str, str]) -> None:
    """Note marks of years in hot.db, in the transaction that is open."""
    hot.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", marks.items())


def noted(hot: sqlite3.Connection) -> list[int]:
    """Return the years that readings left hot.db for. Raises sqlite3.Error."""
    keys = [key for (key,) in hot.execute("SELECT key FROM meta WHERE key GLOB 'sealed_[0-9][0-9][0-9][0-9]'")]
    return [int(key.removeprefix("sealed_")) for key in keys]


def forget(hot: sqlite3.Connection, number: int) -> None:
    """Forget a year that is going to be deleted on purpose, in a transaction or at once. Raises sqlite3.Error."""
    hot.execute("DELETE FROM meta WHERE key = ?", (KEY.format(number),))


def of_file(db: sqlite3.Connection) -> str:
    """Return the mark of a year, empty if it has none. Raises sqlite3.Error."""
    return _read(db)[0]


def is_another(hot: sqlite3.Connection, number: int, mark: str) -> bool:
    """Whether a file is not the one that hot.db was sealed into: one of another store, say. False if hot.db does not tell."""
    return _noted(hot, number)[0] not in ("", mark)


def older_copies(folder: Path, hot: sqlite3.Connection) -> list[str]:
    """Return which years are older copies than those that hot.db was sealed into, a sentence each. Raises OSError, StoreDamaged."""
    sentences: list[str] = []
    for number, path in history.files(folder).items():
        noted, sealed = _noted(hot, number)
        with suppress(StoreDamaged), schema.reading(path) as db:
            mark, version = _read(db)
            if noted == mark and version < sealed:
                sentences.append(
                    f"{path.name} is an older copy of that year: readings that were sealed into it later are not there. "
                    f"{put_back(number)}"
                )
    return sentences


def put_back(number: int) -> str:
    """Return the sentence about how the readings of another file of a year come back."""
    return (
        f"If you have the file that was there, or a backup of it, put it beside this one as history-{number:04d}.db.damaged-1-1 "
        "while storage is stopped: what it has is stored again"
    )


def _noted(hot: sqlite3.Connection, number: int) -> tuple[str, int]:
    mark, _, version = str(schema.meta(hot, KEY.format(number)) or "").partition(":")
    return mark, int(version) if version.isdecimal() else 0


def _read(db: sqlite3.Connection) -> tuple[str, int]:
    version = schema.meta(db, "version")
    return str(schema.meta(db, "mark") or ""), version if isinstance(version, int) else 0


def _called(path: Path) -> int:
    return int(path.name.removeprefix("history-")[:4])
