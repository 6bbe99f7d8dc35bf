"""The names of a store, in a process that writes some of them."""

from collections.abc import Iterable
from typing import NamedTuple

from heliograph.messages import Channel, Info, Kind, Value
from heliograph.store import changed_units
from heliograph.store.changed_units import ChangedUnits
from heliograph.store.postgres.schema import Connection, meta, put_meta


class Slot:
    """A series: its number is 0 until the first commit that has it."""

    def __init__(self, device: "Device", name: str, channel: Channel) -> None:
        self.id = 0
        self.device = device
        self.name = name
        self.declared = channel


class Device:
    """A device of a node: its number is 0 until the first commit that has it."""

    def __init__(self, node: str, name: str) -> None:
        self.id = 0
        self.node = node
        self.name = name
        self.slots: dict[str, Slot] = {}


class PostgresLayout:
    """The channels of one kind of reading of a device, in the order of its values."""

    def __init__(self, device: Device, slots: list[Slot]) -> None:
        self.device = device
        self.slots = slots
        self.kinds: tuple[Kind, ...] = tuple(slot.declared.kind for slot in slots)
        self.texts = "text" in self.kinds


class Waiting(NamedTuple):
    """The numbers of new names at one moment, and the changed series."""

    devices: int
    slots: int
    words: int
    changed: dict[Slot, Channel]


class PostgresNames:
    """All names of the database; new ones wait for `insert`, in the transaction of the readings that need them."""

    def __init__(self, connection: Connection) -> None:
        """Read the names; raise psycopg.Error."""
        self._devices: dict[tuple[str, str], Device] = {}
        self._layouts: dict[tuple[str, str, tuple[str, ...]], PostgresLayout] = {}
        self._new_devices: list[Device] = []
        self._new_slots: list[Slot] = []
        self._changed: dict[Slot, bool] = {}  # whether its tiers have to be built again
        by_number: dict[int, Device] = {}
        for number, node, name in connection.execute("SELECT id, node, name FROM device"):
            by_number[number] = self._devices[node, name] = Device(node, name)
            by_number[number].id = number
        for number, owner, name, unit, kind, rollover in connection.execute(
            "SELECT id, device, name, unit, kind, rollover FROM series ORDER BY id"
        ):
            slot = Slot(by_number[owner], name, Channel(unit, kind, rollover=rollover))
            slot.id = number
            slot.device.slots[name] = slot
        rows = connection.execute("SELECT text, id FROM word ORDER BY id").fetchall()
        self._words = {bytes(text): index for index, (text, _) in enumerate(rows)}
        self._word_ids: list[int] = [number for _, number in rows]
        self._new_words: list[bytes] = []
        self._units_text = ""  # to be kept with the next commit
        self.units = ChangedUnits(meta(connection, changed_units.KEY) or None, self._keep_units)

    def declare(self, node: str, device: str, info: Info) -> list[str]:
        """Note units and kinds; return the channels that change between text and number, which is refused.

        A channel whose unit changes gets another series (changed_units.py).
        """
        owner = self._device(node, device)
        units = {name: slot.declared.unit for name, slot in owner.slots.items()}
        info = self.units.declared(node, device, info, units.get)
        refused = []
        for name, channel in info.channels.items():
            slot = owner.slots.get(name)
            declared = Channel(clean(channel.unit), channel.kind, rollover=channel.rollover)
            if slot is None:
                self._new_slot(owner, name, declared)
            elif (slot.declared.kind == "text") != (declared.kind == "text"):
                refused.append(name)
            elif slot.declared != declared:
                counts = slot.declared.kind == "counter", slot.declared.rollover
                counted = counts != (declared.kind == "counter", declared.rollover)
                self._changed[slot] = self._changed.get(slot, False) or counted
                slot.declared = declared
        return refused

    def layout(self, node: str, device: str, channels: tuple[str, ...], example: list[Value]) -> PostgresLayout:
        """Return the layout of a device's reading; a channel that was not declared gets its kind from the example."""
        key = (node, device, channels)
        layout = self._layouts.get(key)
        if layout is None:
            owner = self._device(node, device)
            stored = self.units.stored(node, device, channels)
            slots = [
                owner.slots.get(name) or self._new_slot(owner, name, Channel("", _kind(value)))
                for name, value in zip(stored, example, strict=True)
            ]
            layout = self._layouts[key] = PostgresLayout(owner, slots)
        return layout

    def word(self, text: str) -> int:
        """Return the index of a text; its number in the database follows with `insert`."""
        packed = pack(text)
        index = self._words.get(packed)
        if index is None:
            index = self._words[packed] = len(self._word_ids)
            self._word_ids.append(0)
            self._new_words.append(packed)
        return index

    def word_id(self, index: int) -> int:
        """Return the number in the database of the text with this index."""
        return self._word_ids[index]

    def waiting(self) -> Waiting:
        """Return the numbers of new names, and the changed series."""
        changed = {slot: slot.declared for slot in self._changed}
        return Waiting(len(self._new_devices), len(self._new_slots), len(self._new_words), changed)

    def insert(self, connection: Connection) -> list[int]:
        """Insert new names, in a transaction that holds the clock; return the devices whose tiers are no longer valid.

        The names stay new until `forget`. Raises psycopg.Error.
        """
        if self._units_text:
            put_meta(connection, changed_units.KEY, self._units_text)
        if self._new_devices:
            _insert_devices(connection, self._new_devices)
        if self._new_slots:
            _insert_slots(connection, self._new_slots)
        if self._new_words:
            numbers = _insert_words(connection, self._new_words)
            for word in self._new_words:
                self._word_ids[self._words[word]] = numbers[word]
        if self._changed:
            with connection.cursor() as cursor:
                cursor.executemany(
                    "UPDATE series SET unit=%s, kind=%s, rollover=%s WHERE id=%s",
                    [(s.declared.unit, s.declared.kind, s.declared.rollover, s.id) for s in self._changed],
                )
        return sorted({slot.device.id for slot, counted in self._changed.items() if counted})

    def forget(self, waiting: Waiting) -> None:
        """Note that the names that were waiting then are durable."""
        del self._new_devices[: waiting.devices]
        del self._new_slots[: waiting.slots]
        del self._new_words[: waiting.words]
        for slot, declared in waiting.changed.items():
            if slot.declared == declared:
                self._changed.pop(slot, None)

    def _keep_units(self, text: str) -> None:
        self._units_text = text
        self._layouts.clear()

    def _device(self, node: str, name: str) -> Device:
        device = self._devices.get((node, name))
        if device is None:
            device = self._devices[node, name] = Device(node, name)
            self._new_devices.append(device)
        return device

    def _new_slot(self, device: Device, name: str, channel: Channel) -> Slot:
        slot = device.slots[name] = Slot(device, name, channel)
        self._new_slots.append(slot)
        return slot


def pack(text: str) -> bytes:
    """Return a text as the database stores it, in bytes: its texts cannot hold NUL."""
    return text.encode("utf-8", "surrogatepass")


def unpack(packed: bytes) -> str:
    """Return the text of `pack`."""
    return packed.decode("utf-8", "surrogatepass")


def clean(text: str) -> str:
    """Return a text without the characters that the database's texts cannot hold."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _kind(value: Value) -> Kind:
    if isinstance(value, str):
        return "text"
    return "state" if isinstance(value, bool) else "gauge"


def _insert_devices(connection: Connection, devices: list[Device]) -> None:
    nodes, names = [d.node for d in devices], [d.name for d in devices]
    connection.execute(
        "INSERT INTO device SELECT (SELECT coalesce(max(id), 0) FROM device) + row_number() OVER (ORDER BY place), "
        "node, name FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS new(node, name, place) "
        "WHERE NOT EXISTS (SELECT FROM device old WHERE (old.node, old.name) = (new.node, new.name))",
        (nodes, names),
    )
    rows = connection.execute(
        "SELECT node, name, id FROM device WHERE (node, name) IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
        (nodes, names),
    )
    numbers = {(node, name): number for node, name, number in rows}
    for device in devices:
        device.id = numbers[device.node, device.name]


def _insert_slots(connection: Connection, slots: list[Slot]) -> None:
    owners, names = [s.device.id for s in slots], [s.name for s in slots]
    units, kinds, rollovers = _columns((s.declared.unit, s.declared.kind, s.declared.rollover) for s in slots)
    connection.execute(
        "INSERT INTO series SELECT (SELECT coalesce(max(id), 0) FROM series) + row_number() OVER (ORDER BY place), "
        "device, name, unit, kind, rollover FROM "
        "unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::float8[]) WITH ORDINALITY "
        "AS new(device, name, unit, kind, rollover, place) "
        "WHERE NOT EXISTS (SELECT FROM series old WHERE (old.device, old.name) = (new.device, new.name))",
        (owners, names, units, kinds, rollovers),
    )
    rows = connection.execute(
        "SELECT device, name, id FROM series WHERE (device, name) IN (SELECT * FROM unnest(%s::int[], %s::text[]))",
        (owners, names),
    )
    numbers = {(device, name): number for device, name, number in rows}
    for slot in slots:
        slot.id = numbers[slot.device.id, slot.name]


def _insert_words(connection: Connection, words: list[bytes]) -> dict[bytes, int]:
    connection.execute(
        "INSERT INTO word SELECT (SELECT coalesce(max(id), 0) FROM word) + row_number() OVER (ORDER BY place), text "
        "FROM unnest(%s::bytea[]) WITH ORDINALITY AS new(text, place) "
        "WHERE NOT EXISTS (SELECT FROM word old WHERE old.text = new.text)",
        (words,),
    )
    rows = connection.execute("SELECT text, id FROM word WHERE text = ANY(%s)", (words,))
    return {bytes(text): number for text, number in rows}


def _columns(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
