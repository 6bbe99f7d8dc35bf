"""Files of sealed years: `history-YYYY.db`, what they are called, their tables and the keys of their rows.

A chunk holds the values of one series in one UTC day. Series that were always measured
together share an axis, which has the times and, for `since`, the number of arrival of each
reading. docs/store-format.md has the format byte by byte.
"""

import re
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from heliograph.store import blocks, row_types
from heliograph.store.cells import DAY

PAGE = 4096
DAY_BITS, SLOT_BITS = 20, 16
SLOTS = 1 << SLOT_BITS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

SCHEMA = """
CREATE TABLE IF NOT EXISTS axis(
    k INTEGER PRIMARY KEY,  -- device << 36 | UTC day << 16 | slot
    smin INT NOT NULL, smax INT NOT NULL,  -- of the numbers of arrival
    t BLOB NOT NULL,        -- block: ms in the day, rising
    s BLOB NOT NULL         -- block: numbers of arrival
);
CREATE INDEX IF NOT EXISTS arrival ON axis(smax, smin);
CREATE TABLE IF NOT EXISTS chunk(
    k INTEGER PRIMARY KEY,  -- series << 20 | UTC day
    axis INT NOT NULL,      -- k of its axis
    tmax INT NOT NULL, vlast REAL NOT NULL,  -- the newest point: ms UTC and value
    v BLOB NOT NULL         -- block: values
);
CREATE TABLE IF NOT EXISTS r5m_day(k INTEGER PRIMARY KEY, b BLOB NOT NULL);    -- series << 20 | UTC day
CREATE TABLE IF NOT EXISTS r1h_day(k INTEGER PRIMARY KEY, b BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS r5m_month(k INTEGER PRIMARY KEY, b BLOB NOT NULL);  -- series << 20 | month: year * 12 + 0…11
CREATE TABLE IF NOT EXISTS r1h_month(k INTEGER PRIMARY KEY, b BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS r1h_year(k INTEGER PRIMARY KEY, b BLOB NOT NULL);   -- series << 20 | year
-- which rows there are, once more: a damaged page hides those that it had, and SQLite does not notice
CREATE INDEX IF NOT EXISTS keys_of_axis ON axis(k, smin, smax);
CREATE INDEX IF NOT EXISTS keys_of_chunk ON chunk(k);
CREATE INDEX IF NOT EXISTS keys_of_r5m_month ON r5m_month(k);
CREATE INDEX IF NOT EXISTS keys_of_r1h_month ON r1h_month(k);
CREATE INDEX IF NOT EXISTS keys_of_r1h_year ON r1h_year(k);
CREATE TABLE IF NOT EXISTS device(id INTEGER PRIMARY KEY, name TEXT NOT NULL);  -- copies of the catalog's rows of those above
CREATE TABLE IF NOT EXISTS series(
    id INTEGER PRIMARY KEY, device INT NOT NULL, name TEXT NOT NULL, unit TEXT, kind TEXT, rollover REAL
);
CREATE TABLE IF NOT EXISTS word(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS damaged(k INTEGER NOT NULL, axis INT, v BLOB);  -- chunks that could not be read
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
_NAME = re.compile(r"history-([0-9]{4})(-tiers)?\.db")


def year_of(day: int) -> int:
    """Return the year of a UTC day, counted from 1970-01-01."""
    return (EPOCH + timedelta(days=day)).year


def month_of(day: int) -> int:
    """Return the month of a UTC day: year * 12 + 0 … 11."""
    moment = EPOCH + timedelta(days=day)
    return moment.year * 12 + moment.month - 1


def first_day(month: int) -> int:
    """Return the first UTC day of a month; raise StoreDamaged for one that no calendar has, of a damaged key."""
    if not 12 <= month < 120_000:
        raise blocks.BlockDamaged(f"there is no month {month}")
    return (datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) - EPOCH).days


def file(folder: Path, year: int, *, tiers: bool = False) -> Path:
    """Return the path of a year; with `tiers` that of one whose points were dropped."""
    return folder / f"history-{year:04d}{'-tiers' if tiers else ''}.db"


def files(folder: Path) -> dict[int, Path]:
    """Return the file of each year that exists; of two files, the one without points is complete.

    A link that leads nowhere, perhaps only for now, is no file; there is no year 0 or 9999.
    """
    paths: dict[int, Path] = {}
    for path in sorted(folder.glob("history-*.db"), reverse=True):
        if (
            (match := _NAME.fullmatch(path.name))
            and 0 < int(match[1]) < 9999
            and not (path.is_symlink() and not path.exists())
        ):
            paths[int(match[1])] = path
    return dict(sorted(paths.items()))


def is_bare(path: Path) -> bool:
    """Whether the points of a year were dropped, and only its cells kept."""
    return path.name.endswith("-tiers.db")


def origin(level: str, number: int) -> int:
    """Return the time from which the cells of a day, month or year are counted, in ms UTC."""
    if level == "day":
        return number * DAY
    return first_day(number if level == "month" else number * 12) * DAY


def key(series: int, number: int) -> int:
    """Return the key of a series' day or month."""
    return series << DAY_BITS | number


def axis_key(device: int, day: int, slot: int = 0) -> int:
    """Return the key of an axis."""
    return (device << DAY_BITS | day) << SLOT_BITS | slot


def axis_owner(k: int) -> tuple[int, int]:
    """Return the device and the UTC day of an axis."""
    return k >> (DAY_BITS + SLOT_BITS), k >> SLOT_BITS & ((1 << DAY_BITS) - 1)


def highest(db: sqlite3.Connection) -> dict[str, int]:
    """Return the highest numbers of devices, series and layouts that the rows of a file use, as far as they can be read."""
    queries = {
        "device": [_highest("axis", "k", DAY_BITS + SLOT_BITS, row_types.DEVICES)],
        "series": [
            _highest(table, "k", DAY_BITS, row_types.SERIES)
            for table in ("chunk", "r5m_day", "r1h_day", "r5m_month", "r1h_month", "r1h_year")
        ],
        "layout": [_highest("frame", "layout", 0, row_types.NAMES)],
    }
    largest: dict[str, int] = {}
    for name, questions in queries.items():
        for question in questions:
            with suppress(sqlite3.Error):
                largest[name] = max(largest.get(name, 0), int(db.execute(question).fetchone()[0] or 0))
    return largest


def _highest(table: str, column: str, bits: int, most: int) -> str:
    """Return the query of a highest number; larger ones than can be are damage, and would leave none for new names."""
    return (
        f"SELECT max({column}) >> {bits} FROM {table} "
        f"WHERE typeof({column}) = 'integer' AND {column} BETWEEN 0 AND {(most + 1 << bits) - 1}"
    )
