"""The catalog of a store, written: numbers for devices, series, layouts and words."""

import itertools
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from heliograph.messages import Info, Kind, Value
from heliograph.store import changed_units, copied_names, names, rescalings, schema
from heliograph.store.changed_units import ChangedUnits
from heliograph.store.copied_names import CopiedNames
from heliograph.store.rescalings import Log

NO_FLOOR: Mapping[str, int] = MappingProxyType({})


class CatalogLayout:
    """The channels of one kind of reading of a device, in the order of the payload."""

    def __init__(self, number: int, kinds: tuple[Kind, ...]) -> None:
        self.id = number
        self.kinds = kinds
        self.texts = "text" in kinds


class Catalog:
    """Gives numbers to names; new ones wait in memory until `commit` makes them durable.

    If a transaction stayed open instead, a full disk would roll it back, and its numbers would be given twice.
    """

    def __init__(self, connection: sqlite3.Connection, highest: Mapping[str, int] = NO_FLOOR) -> None:
        """Read the names; new numbers are larger than all of the catalog and than the `highest` of each table elsewhere."""
        self._db = connection
        self._new: list[tuple[str, tuple[object, ...]]] = []  # statements for the next commit
        self._not_copied: list[tuple[str, tuple[object, ...]]] = []  # statements for the copies in hot.db
        self._ids: dict[str, Iterator[int]] = {
            table: itertools.count(
                max(int(schema.one(connection, f"SELECT coalesce(max(id), 0) FROM {table}")), floor) + 1
            )
            for table in copied_names.COLUMNS
            for floor in [highest.get(table, 0)]
        }
        self._layouts: dict[tuple[str, str, tuple[str, ...]], CatalogLayout] = {}
        self.units = ChangedUnits(schema.meta(connection, changed_units.KEY), self._keep_units)
        self._devices: dict[str, int] = dict(connection.execute("SELECT name, id FROM device"))
        self._words: dict[str, int] = dict(connection.execute("SELECT text, id FROM word"))
        self._numbers: dict[tuple[int, bytes], int] = {
            (device, sids): number for number, device, sids in connection.execute("SELECT id, device, sids FROM layout")
        }
        self._series: dict[tuple[int, str], tuple[int, str, Kind, float]] = {
            (device, name): (number, unit, kind, rollover or 0.0)
            for number, device, name, unit, kind, rollover in connection.execute(
                "SELECT id, device, name, unit, kind, rollover FROM series"
            )
        }

    def declare(self, node: str, device: str, info: Info) -> list[str]:
        """Note units and kinds; return the channels that change between text and number, which is refused.

        A channel whose unit changes gets another series (changed_units.py). Raises OSError if the disk refuses.
        """
        number = self._device(f"{node}/{device}")
        info = self.units.declared(node, device, info, lambda name: self._series.get((number, name), (0, None))[1])
        refused = []
        for name, channel in info.channels.items():
            series = self._series.get((number, name))
            if series is None:
                self._new_series(number, name, channel.unit, channel.kind, channel.rollover)
                continue
            sid, unit, kind, rollover = series
            if (kind == "text") != (channel.kind == "text"):
                refused.append(name)
            elif (unit, kind, rollover) != (channel.unit, channel.kind, channel.rollover):
                new = (channel.unit, channel.kind, channel.rollover)
                self._new.append(("UPDATE series SET unit=?, kind=?, rollover=? WHERE id=?", (*new, sid)))
                self._series[number, name] = (sid, *new)
        return refused

    def layout(self, node: str, device: str, channels: tuple[str, ...], example: list[Value]) -> CatalogLayout:
        """Return the layout of a device's reading; a channel that was not declared gets its kind from the example."""
        key = (node, device, channels)
        layout = self._layouts.get(key)
        if layout is None:
            stored = self.units.stored(node, device, channels)
            layout = self._layouts[key] = self._new_layout(f"{node}/{device}", stored, example)
        return layout

    def word(self, text: str) -> int:
        """Return the number of a text."""
        number = self._words.get(text)
        if number is None:
            number = self._words[text] = next(self._ids["word"])
            self._new.append(("INSERT INTO word VALUES(?, ?)", (number, text)))
        return number

    def commit(self) -> bool:
        """Make new names durable, before rows refer to them; return whether there were any.

        Raises sqlite3.Error; everything is kept for the next call.
        """
        if not self._new:
            return False
        with schema.transaction(self._db):
            for statement, values in self._new:
                self._db.execute(statement, values)
        self._not_copied += self._new
        self._new.clear()
        return True

    def copy_into(self, hot: sqlite3.Connection) -> int:
        """Write committed names into hot.db, too, in the transaction that is open there; return a number for `copied`."""
        for statement, values in self._not_copied:
            hot.execute(statement.replace("INSERT INTO", "INSERT OR REPLACE INTO"), values)
        return len(self._not_copied)

    def copied(self, count: int) -> None:
        """Note that the transaction of `copy_into` is committed."""
        del self._not_copied[:count]

    def copies(self) -> CopiedNames:
        """Return all names that are durable."""
        return copied_names.read(self._db)

    def device(self, name: str) -> int:
        """Return the number of a device, node/device; a new one if it has none."""
        return self._device(name)

    def rescalings(self) -> Log:
        """Return what series were rescaled, in order."""
        return rescalings.read(self._db)

    def number(self, device: int, channel: str) -> int | None:
        """Return the number of a series, None if it has none."""
        known = self._series.get((device, channel))
        return None if known is None else known[0]

    def series(self, device: int, channel: str, unit: str, kind: Kind, rollover: float) -> int | None:
        """Return the number of a series, a new one if it has none; None if it is a text and `kind` a number, or vice versa.

        If it has another unit, that is the number of the one in which values of this unit of the channel are (changed_units.py).
        """
        if (device, channel) in self._series and rescalings.contradict(self._series[device, channel][1], unit):
            channel = changed_units.free_name(
                channel, unit, (), lambda name: self._series.get((device, name), (0, None))[1]
            )
        if (device, channel) not in self._series:
            self._new_series(device, channel, unit, kind, rollover)
        number, _, known, _ = self._series[device, channel]
        return number if (known == "text") == (kind == "text") else None

    def layout_of(self, device: int, sids: Sequence[int]) -> int:
        """Return the number of a layout of a device, a new one if it has none."""
        blob = names.packed(sids)
        number = self._numbers.get((device, blob))
        if number is None:
            number = self._numbers[device, blob] = next(self._ids["layout"])
            self._new.append(("INSERT INTO layout VALUES(?, ?, ?)", (number, device, blob)))
        return number

    def _keep_units(self, text: str) -> None:
        with schema.refusing(Path("catalog.db")), schema.transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (changed_units.KEY, text))
        self._layouts.clear()

    def _device(self, name: str) -> int:
        number = self._devices.get(name)
        if number is None:
            number = self._devices[name] = next(self._ids["device"])
            self._new.append(("INSERT INTO device VALUES(?, ?)", (number, name)))
        return number

    def _new_series(self, device: int, name: str, unit: str, kind: Kind, rollover: float = 0.0) -> None:
        number = next(self._ids["series"])
        self._series[device, name] = (number, unit, kind, rollover)
        self._new.append(("INSERT INTO series VALUES(?, ?, ?, ?, ?, ?)", (number, device, name, unit, kind, rollover)))

    def _new_layout(self, device_name: str, channels: tuple[str, ...], example: list[Value]) -> CatalogLayout:
        device = self._device(device_name)
        sids: list[int] = []
        kinds: list[Kind] = []
        for name, value in zip(channels, example, strict=True):
            if (device, name) not in self._series:
                self._new_series(device, name, "", _kind(value))
            sid, _, kind, _ = self._series[device, name]
            sids.append(sid)
            kinds.append(kind)
        return CatalogLayout(self.layout_of(device, sids), tuple(kinds))


def _kind(value: Value) -> Kind:
    if isinstance(value, str):
        return "text"
    return "state" if isinstance(value, bool) else "gauge"
