"""What a row of the store's files can be: SQLite takes any value in any column, and damage puts any value there."""

import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import msgspec

from heliograph.errors import StoreDamaged
from heliograph.messages import Kind
from heliograph.store import rescalings

ARRIVALS = 1 << 48  # numbers of arrival; far below 2^53, so that damage leaves numbers to be given
SERIES = 1 << 31  # numbers of series, four bytes in a layout
DEVICES = 1 << 26  # numbers of devices, 27 bits in the key of an axis
NAMES = 1 << 31  # numbers of layouts and words
LIMITS = {"device": DEVICES, "series": SERIES, "layout": NAMES, "word": NAMES}
COUNTS = 1 << 53
FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999  # ms UTC: the years 1 to 9999

KINDS = frozenset(get_args(Kind))

Check = Callable[[Any], bool]


def _whole(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def _name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()  # zeros over the end of a name are not


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _bytes(value: Any) -> bool:
    return isinstance(value, bytes)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _sids(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) % 4 == 0


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _json(kind: Any) -> Check:
    def decodes(value: Any) -> bool:
        try:
            msgspec.json.decode(value, type=kind)
        except (msgspec.DecodeError, TypeError):
            return False
        return isinstance(value, str)

    return decodes


def _rescalings(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(rescalings.decode(value))
    except StoreDamaged:
        return False


_TIME = _whole(FIRST, LAST)
TABLES: dict[str, dict[str, Check]] = {  # the key first
    "frame": {"seq": _whole(1, ARRIVALS), "layout": _whole(1, NAMES), "ts": _TIME, "v": _bytes},
    "progress": {
        "producer": _text,
        "epoch": _text,
        "last": _whole(-COUNTS, COUNTS),
        "lost": _whole(0, COUNTS),
        "seen": _whole(0, COUNTS),
    },
    "device": {"id": _whole(1, DEVICES), "name": _name},
    "series": {
        "id": _whole(1, SERIES),
        "device": _whole(1, DEVICES),
        "name": _name,
        "unit": _or_null(_name),
        "kind": _or_null(KINDS.__contains__),
        "rollover": _or_null(_number),
    },
    "layout": {"id": _whole(1, NAMES), "device": _whole(1, DEVICES), "sids": _sids},
    "word": {"id": _whole(1, NAMES), "text": _text},
    "replacement": {"series": _whole(1, SERIES), "ts": _TIME},
    "year": {"number": _whole(0, 9999)},
    "loss": {"ts": _TIME, "what": _text},
    "meta": {"key": _text},
}
META: dict[str, Check] = {
    "identity": _name,
    "last": _whole(0, ARRIVALS),
    "sealed_at": _number,
    "checked_at": _number,
    "version": _whole(0, COUNTS),
    "mark": _name,
    "year": _whole(0, 9999),
    "changed_units": _json(dict[str, dict[str, str]]),
    "renames": _json(list[dict[str, str | float]]),
    rescalings.KEY: _rescalings,
    "calendar": _json(dict[str, int]),
    "dropped": _json(list[str]),
    "highest_device": _whole(0, DEVICES),
    "highest_series": _whole(0, SERIES),
    "highest_layout": _whole(0, NAMES),
    "highest_word": _whole(0, NAMES),
}


def fits(table: str, row: Sequence[object]) -> bool:
    """Whether these values, in the order of TABLES, can be a row of a table."""
    checks = TABLES[table]
    return len(row) == len(checks) and all(check(value) for check, value in zip(checks.values(), row, strict=True))


def wrong(db: sqlite3.Connection, tables: Iterable[str] = TABLES) -> str:
    """Return the first row of a file that cannot be one of its table, as a sentence; empty if all can. Raises sqlite3.Error."""
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    for table in tables:
        if table in there:
            for row in db.execute(f"SELECT {', '.join(TABLES[table])} FROM {table}"):
                if not fits(table, row):
                    return f"no row of {table} is {_shown(row)}"
    for key, value in db.execute("SELECT key, value FROM meta") if "meta" in there else ():
        if key in META and not META[key](value):
            return f"{key} in the table meta is {_shown((value,))}"
    return ""


def _shown(row: Sequence[object]) -> str:
    return ", ".join(repr(value)[:40] for value in row)
