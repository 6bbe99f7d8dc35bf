"""What a store has, hot and sealed, while another process writes it."""

import hashlib
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heliograph.errors import StoreAway
from heliograph.messages import Value
from heliograph.store import open_reader
from heliograph.store.interface import FUNCTIONS, Arrival

FOR_EVER = 1e11


def arrivals(data: Path) -> list[Arrival]:
    """Return every reading in order of arrival; none if there is no store yet.

    What is stored twice takes two numbers of arrival, even if sealing has made one reading of it.
    """
    reader = open_reader(data)
    try:
        rows = reader.since(0, 10**9)
    except StoreAway:
        return []
    finally:
        reader.close()
    assert not rows or rows[-1].cursor == len(rows), "a reading is stored twice"
    return rows


def points(data: Path) -> dict[str, list[tuple[float, Value]]]:
    """Return times and values of every series, by name; none if there is no store yet."""
    with closing(open_reader(data)) as reader:
        try:
            every = reader.series()
        except StoreAway:
            return {}
        pages = {one.name: reader.raw(one.id, 0, FOR_EVER, limit=10**7) for one in every}
    return {name: list(zip(page.times, page.values, strict=True)) for name, page in pages.items()}


def contents(data: Path) -> dict[str, dict[str, Any]]:
    """Return what every series is, how many points it has, and a checksum of them, as JSON can hold it."""
    rows = points(data)
    with closing(open_reader(data)) as reader:
        return {
            one.name: {
                "unit": one.unit,
                "kind": one.kind,
                "rows": len(rows[one.name]),
                "first": rows[one.name][:1],
                "last": rows[one.name][-1:],
                "sha256": checksum(rows[one.name]),
            }
            for one in (reader.series() if rows else ())
        }


def checksum(rows: list[tuple[float, Value]]) -> str:
    """Return the same for the same times and values."""
    return hashlib.sha256(repr([(at, value) for at, value in rows]).encode()).hexdigest()


def yearly(data: Path) -> dict[str, dict[str, list[Value | None]]]:
    """Return what the store sums up of every series that has points before 2025, for each year from 2019."""
    edges = [datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in range(2019, 2026)]
    with closing(open_reader(data)) as reader:
        sums = {one.name: reader.aggregate(one.id, edges, FUNCTIONS) for one in reader.series()}
    return {name: values for name, values in sums.items() if any(values["n"])}
