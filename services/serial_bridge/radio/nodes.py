"""Decodes packets of radio nodes into exact values.

Data codes, scales and whitening are those of emonHub (docs/configuration.md, "Nodes";
src/emonhub_coder.py): little-endian without padding, whitened bytes XOR 0x55.
"""

import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from heliograph import float32, names, names_before, nearest, topics
from heliograph.config import Config
from heliograph.messages import Channel, Kind, Value, finite
from services.serial_bridge.parsing.channels import DBM, MISSED, NO_SENSOR_C, channel, named
from services.serial_bridge.parsing.readings import Description, NotAReading, ParsedReading
from services.serial_bridge.parsing.values import Scale, scale
from services.serial_bridge.radio import packets
from services.serial_bridge.radio.encoder import PacketEncoder, TransmitOptions

CODES = "bBhHiIlLqQfdc"
UNSIGNED = "BHILQ"
MOST_VALUES = 255  # of a node without datacodes; what comes is shown, however many
LARGEST_NODE = 1023  # RFM69 addresses have ten bits, those of the RFM12 five


class NodeOptions(Config, frozen=True):
    """One [serial_bridge.nodes.NUMBER] section: the decoder of a radio node."""

    name: str
    model: str = ""
    names: tuple[str, ...] = ()
    datacodes: tuple[str, ...] = ()
    datacode: str = "h"
    scales: tuple[float, ...] = ()
    scale: float = 1.0
    units: tuple[str, ...] = ()
    kinds: dict[str, Kind] = msgspec.field(default_factory=dict)
    whitening: bool = False
    interval: float = 0.0
    tx: TransmitOptions | None = None


class PacketDecoder:
    """Decodes the packets of one node."""

    def __init__(self, number: int, node: NodeOptions, rule: names.NamingRule = names.PRESENT) -> None:
        """Raise ValueError if the options of the node do not go together."""
        self.number = number
        self.device = topics.name(node.name, "name")
        if not (math.isfinite(node.interval) and node.interval >= 0):
            raise ValueError(f"interval: {node.interval!r} is not a number of seconds")
        packets.check_codes((*node.datacodes, node.datacode), CODES)
        self.encoder = PacketEncoder(node.tx, node.whitening, rule) if node.tx else None
        self._whitened = node.whitening
        self._fixed = struct.Struct(f"<{''.join(node.datacodes)}")
        self._code = "" if node.datacodes else node.datacode
        self._codes = node.datacodes
        self._scales = [_scaled("scales", factor) for factor in node.scales]
        self._scale = Scale(1, 1) if node.scales else _scaled("scale", node.scale)
        self._names = _channels(node.names, rule)
        packets.check_lengths(node.datacodes, names=node.names, scales=node.scales, units=node.units)
        self._names += map(str, range(len(self._names) + 1, len(node.datacodes) + 1))
        self.description = Description(
            node.model or f"JeeLib node {number}",
            node.interval,
            _described(self._names, node, rule),
        )
        self._absent = {
            name
            for name, described in self.description.channels.items()
            if described.unit == "°C" and described.kind == "gauge"
        }

    def decode(self, payload: bytes, rssi: int | None) -> ParsedReading:
        """Return the values of a packet; raise NotAReading if it has the wrong length."""
        if self._whitened:
            payload = payload.translate(packets.WHITENING)
        reading = self._reading(self._unpacked(payload), packed=True)
        if rssi is not None:
            reading.values.setdefault("rssi", rssi)
        return reading

    def named(self, numbers: Sequence[float]) -> ParsedReading:
        """Return the reading of values that came as numbers: names, scales and units apply, datacodes do not."""
        return self._reading(numbers, packed=False)

    def _reading(self, raw_values: Iterable[float | bytes], *, packed: bool) -> ParsedReading:
        values: dict[str, Value] = {}
        no_sensor = 0
        refused: list[str] = []
        for position, raw in enumerate(raw_values):
            name = self._name(position)
            try:
                value = self._value(position, raw, packed=packed)
            except ValueError as error:
                refused.append(f"{name}: {error}")
                continue
            if value in NO_SENSOR_C and name in self._absent:
                no_sensor += 1
            else:
                values[name] = value
        return ParsedReading(
            self.device,
            values,
            self.description,
            no_sensor=no_sensor,
            refused=tuple(refused),
        )

    def _unpacked(self, payload: bytes) -> tuple[int | float | bytes, ...]:
        if not self._code:
            if len(payload) != self._fixed.size:
                raise NotAReading(
                    f"node {self.number} has {self._fixed.size} bytes, not {len(payload)}",
                    "wrong_lengths",
                )
            return self._fixed.unpack(payload)
        size = struct.calcsize(f"<{self._code}")
        if not payload or len(payload) % size:
            raise NotAReading(
                f"node {self.number} has values of {size} bytes; {len(payload)} are not some of them",
                "wrong_lengths",
            )
        return struct.unpack(f"<{len(payload) // size}{self._code}", payload)

    def _name(self, position: int) -> str:
        if position < len(self._names):
            return self._names[position]
        return str(position + 1)

    def _value(self, position: int, raw: float | bytes, *, packed: bool) -> Value:
        if isinstance(raw, bytes):
            text = raw.decode("latin-1")
            if not (text.isascii() and text.isprintable()):
                raise ValueError(f"{raw!r} is not a character")
            return text
        factor = self._scale
        if position < len(self._scales):
            factor = self._scales[position]
        single = packed and isinstance(raw, float) and (self._code or self._codes[position]) == "f"
        return finite(factor.times(float32.shortest(raw) if single else raw))


def packet_decoders(nodes: Mapping[str, NodeOptions], rule: names.NamingRule) -> dict[int, PacketDecoder]:
    """Return the decoders by node number; raise ValueError that names the node whose options are wrong."""
    decoders: dict[int, PacketDecoder] = {}
    for number, node in nodes.items():
        if not re.fullmatch("0|[1-9][0-9]{0,3}", number) or int(number) > LARGEST_NODE:
            raise ValueError(f"nodes.{number}: the number of a node is between 0 and {LARGEST_NODE}")
        try:
            decoder = PacketDecoder(int(number), node, rule)
        except ValueError as error:
            raise ValueError(f"nodes.{number}: {error}") from None
        for other in decoders.values():
            if other.device == decoder.device:
                raise ValueError(f"nodes.{number}: name: node {other.number} is called {other.device!r}, too")
        decoders[decoder.number] = decoder
    return decoders


def possible_channels(number: int, node: NodeOptions) -> list[str]:
    """Return the names of all channels that a node can have, also in a data folder whose names follow the former rule."""
    decoders = (PacketDecoder(number, node, rule) for rule in (names.PRESENT, names_before.PLAIN))
    described = [name for decoder in decoders for name in decoder.description.channels]
    most = len(node.datacodes) or MOST_VALUES
    return list(dict.fromkeys([*described, *map(str, range(len(node.names) + 1, most + 1))]))


def _scaled(option: str, factor: float) -> Scale:
    try:
        return scale(factor)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def _channels(given: tuple[str, ...], rule: names.NamingRule) -> list[str]:
    channels = named("names", given, rule)
    for name in channels:
        if name.isdigit():
            raise ValueError(f"names: {name!r} is reserved for a value without a name")
    return channels


def _described(ordered: list[str], node: NodeOptions, rule: names.NamingRule) -> dict[str, Channel]:
    """Return the description of every channel that has a name or a unit in the options."""
    ordered = [
        *ordered,
        *map(str, range(len(ordered) + 1, len(node.units) + 1)),
    ]
    kinds = dict(zip(named("kinds", node.kinds, rule), node.kinds.values(), strict=True))
    for name in kinds:
        if name not in ordered:
            raise ValueError(f"kinds: {name!r} is not one of the names{nearest.hint(name, ordered)}")
    described = {"rssi": DBM, "missed": MISSED}
    for position, name in enumerate(ordered):
        unit = node.units[position] if position < len(node.units) else ""
        text = position < len(node.datacodes) and node.datacodes[position] == "c"
        try:
            described[name] = channel(unit, kinds.get(name, "text" if text else None))
        except ValueError as error:
            raise ValueError(f"units: {name}: {error}") from None
        if described[name].kind == "counter" and (rollover := _rollover(node, position)):
            described[name] = msgspec.structs.replace(described[name], rollover=rollover)
    return described


def _rollover(node: NodeOptions, position: int) -> float:
    """Return the value at which an unsigned number of the packet begins again at zero; 0 for any other."""
    codes = node.datacodes or (node.datacode,) * (position + 1)
    if position >= len(codes) or codes[position] not in UNSIGNED:
        return 0.0
    factor = node.scales[position] if position < len(node.scales) else (1.0 if node.scales else node.scale)
    return max(0.0, float(scale(factor).times(1 << 8 * struct.calcsize(f"<{codes[position]}"))))
