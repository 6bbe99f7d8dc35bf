"""The names of a store: a snapshot of its catalog."""

import array
import sqlite3
import sys
from collections.abc import Iterable
from typing import NamedTuple

from heliograph.store import row_types
from heliograph.store.interface import Series


class Layout(NamedTuple):
    """The device of a reading, and the series of its values in the order of the payload."""

    device: int
    series: tuple[int, ...]


class Names(NamedTuple):
    """What the numbers of devices, series, layouts and words stand for."""

    devices: dict[int, tuple[str, str]]  # node and device
    series: dict[int, Series]  # in order of their ids
    owners: dict[int, int]  # series → device
    layouts: dict[int, Layout]
    positions: dict[int, dict[int, int]]  # series → layout → position of its value in the payload
    words: dict[int, str]
    replacements: dict[int, list[int]]  # series → ms UTC, rising

    def width(self, layout: int) -> int:
        """Return the number of values in a reading of a layout, 0 if the layout is unknown."""
        known = self.layouts.get(layout)
        return len(known.series) if known else 0

    def of_device(self, device: int) -> set[int]:
        """Return the series of a device."""
        return {sid for sid, owner in self.owners.items() if owner == device}


EMPTY = Names({}, {}, {}, {}, {}, {}, {})


def read(catalog: sqlite3.Connection) -> Names:
    """Return all names; within a transaction they are those of one moment."""
    names = Names({}, {}, {}, {}, {}, {}, {})
    for number, full_name in catalog.execute("SELECT id, name FROM device"):
        if not row_types.fits("device", (number, full_name)):
            continue  # the catalog is damaged, and not mended yet
        node, _, device = full_name.partition("/")
        names.devices[number] = (node, device)
    for number, owner, name, unit, kind, rollover in catalog.execute(
        "SELECT id, device, name, unit, kind, rollover FROM series ORDER BY id"
    ):
        if owner not in names.devices or not row_types.fits("series", (number, owner, name, unit, kind, rollover)):
            continue
        names.series[number] = Series(
            number, *names.devices[owner], name, unit or "", kind or "gauge", float(rollover or 0)
        )
        names.owners[number] = owner
    for number, owner, blob in catalog.execute("SELECT id, device, sids FROM layout"):
        if not row_types.fits("layout", (number, owner, blob)):
            continue
        if owner not in names.devices or not set(unpacked(blob)) <= names.series.keys():
            continue
        names.layouts[number] = Layout(owner, tuple(unpacked(blob)))
        for position, sid in enumerate(names.layouts[number].series):
            names.positions.setdefault(sid, {})[number] = position
    names.words.update(words(catalog))
    for sid, time in catalog.execute("SELECT series, ts FROM replacement ORDER BY ts"):
        if row_types.fits("replacement", (sid, time)):
            names.replacements.setdefault(sid, []).append(time)
    return names


def words(catalog: sqlite3.Connection) -> dict[int, str]:
    """Return the texts by their numbers."""
    return {row[0]: row[1] for row in catalog.execute("SELECT id, text FROM word") if row_types.fits("word", row)}


def packed(series: Iterable[int]) -> bytes:
    """Return the ids of series as a layout holds them: u32, little endian."""
    sids = array.array("I", series)
    if sys.byteorder == "big":
        sids.byteswap()
    return sids.tobytes()


def unpacked(blob: bytes) -> "array.array[int]":
    """Return the ids of series of a layout."""
    sids = array.array("I", blob)
    if sys.byteorder == "big":
        sids.byteswap()
    return sids
