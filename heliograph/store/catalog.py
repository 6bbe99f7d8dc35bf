"""The names of a store, for the one process that writes them."""

import array
import sqlite3
import sys

from heliograph.messages import Info, Kind, Value


class Layout:
    """The channels of one kind of reading of a device, in the order of the payload."""

    def __init__(self, number: int, kinds: tuple[Kind, ...]) -> None:
        self.id = number
        self.kinds = kinds
        self.texts = "text" in kinds


class Catalog:
    """Gives numbers to names; what is new becomes durable with `commit`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._begun = False
        self._layouts: dict[tuple[str, str, tuple[str, ...]], Layout] = {}
        self._devices: dict[str, int] = dict(connection.execute("SELECT name, id FROM device"))
        self._words: dict[str, int] = dict(connection.execute("SELECT text, id FROM word"))
        self._series: dict[tuple[int, str], tuple[int, Kind]] = {
            (device, name): (number, kind)
            for number, device, name, kind in connection.execute("SELECT id, device, name, kind FROM series")
        }

    def declare(self, node: str, device: str, info: Info) -> list[str]:
        """Note units and kinds; return the channels whose kind cannot change between text and number any more."""
        number = self._device(f"{node}/{device}")
        kept = []
        for name, channel in info.channels.items():
            found = self._series.get((number, name))
            if found is None:
                self._new_series(number, name, channel.unit, channel.kind)
                continue
            sid, kind = found
            if (kind == "text") != (channel.kind == "text"):
                kept.append(name)
                continue
            unit = self._db.execute("SELECT unit FROM series WHERE id=?", (sid,)).fetchone()[0]
            if (unit, kind) != (channel.unit, channel.kind):
                self._begin()
                self._db.execute(
                    "UPDATE series SET unit=?, kind=? WHERE id=?",
                    (channel.unit, channel.kind, sid),
                )
                self._series[number, name] = (sid, channel.kind)
        return kept

    def layout(self, node: str, device: str, channels: tuple[str, ...], example: list[Value]) -> Layout:
        """Return the layout of a device's reading; a channel nobody declared gets its kind from the example."""
        key = (node, device, channels)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = self._new_layout(f"{node}/{device}", channels, example)
        return layout

    def word(self, text: str) -> int:
        """Return the number of a text."""
        number = self._words.get(text)
        if number is None:
            self._begin()
            number = self._db.execute("INSERT INTO word(text) VALUES(?)", (text,)).lastrowid
            assert number is not None
            self._words[text] = number
        return number

    def commit(self) -> None:
        """Make new names durable: before anything refers to them."""
        if self._begun:
            self._db.execute("COMMIT")
            self._begun = False

    def _begin(self) -> None:
        if not self._begun:
            self._db.execute("BEGIN IMMEDIATE")
            self._begun = True

    def _device(self, name: str) -> int:
        number = self._devices.get(name)
        if number is None:
            self._begin()
            number = self._db.execute("INSERT INTO device(name) VALUES(?)", (name,)).lastrowid
            assert number is not None
            self._devices[name] = number
        return number

    def _new_series(self, device: int, name: str, unit: str, kind: Kind) -> int:
        self._begin()
        row = self._db.execute(
            "INSERT INTO series(device, name, unit, kind) VALUES(?, ?, ?, ?)",
            (device, name, unit, kind),
        )
        assert row.lastrowid is not None
        self._series[device, name] = (row.lastrowid, kind)
        return row.lastrowid

    def _new_layout(self, device_name: str, channels: tuple[str, ...], example: list[Value]) -> Layout:
        device = self._device(device_name)
        sids = array.array("I")
        kinds: list[Kind] = []
        for name, value in zip(channels, example, strict=True):
            if (device, name) not in self._series:
                self._new_series(device, name, "", _kind(value))
            sid, kind = self._series[device, name]
            sids.append(sid)
            kinds.append(kind)
        if sys.byteorder == "big":
            sids.byteswap()
        blob = sids.tobytes()
        found = self._db.execute("SELECT id FROM layout WHERE device=? AND sids=?", (device, blob)).fetchone()
        if found:
            return Layout(found[0], tuple(kinds))
        self._begin()
        number = self._db.execute("INSERT INTO layout(device, sids) VALUES(?, ?)", (device, blob)).lastrowid
        assert number is not None
        return Layout(number, tuple(kinds))


def _kind(value: Value) -> Kind:
    if isinstance(value, str):
        return "text"
    return "state" if isinstance(value, bool) else "gauge"
