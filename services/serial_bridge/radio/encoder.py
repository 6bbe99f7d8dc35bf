"""Encodes packets to radio nodes: values scaled and packed as the `tx` section says.

As emonHub does it (src/emonhub_interfacer.py): a value is divided by its scale, and packed
little-endian without padding by its data code.
"""

import math
import struct
from collections.abc import Mapping

import msgspec

from heliograph import names, tolerant_json
from heliograph.config import Config
from services.serial_bridge.parsing.channels import named
from services.serial_bridge.parsing.values import Scale, scale
from services.serial_bridge.radio import packets

CODES = "bBhHiIlLqQfd"
MAX_BYTES = 62  # a packet of the RFM12 and RFM69 drivers has no room for more


class NotSent(ValueError):
    """Values that cannot be packed for this node: set them aside."""


class TransmitOptions(Config, frozen=True):
    """One [serial_bridge.nodes.NUMBER.tx] section: the packets that the node understands."""

    names: tuple[str, ...] = ()
    datacodes: tuple[str, ...] = ()
    datacode: str = "h"
    scales: tuple[float, ...] = ()
    scale: float = 1.0


class PacketEncoder:
    """Encodes the packets to one node."""

    def __init__(self, tx: TransmitOptions, whitening: bool = False, rule: names.NamingRule = names.PRESENT) -> None:
        """Raise ValueError if the options do not go together."""
        try:
            packets.check_codes((*tx.datacodes, tx.datacode), CODES)
            packets.check_lengths(tx.datacodes, names=tx.names, scales=tx.scales)
            self._names = named("names", tx.names, rule)
            self._scales = [scale(factor) for factor in tx.scales]
            self._scale = Scale(1, 1) if tx.scales else scale(tx.scale)
        except ValueError as error:
            raise ValueError(f"tx: {error}") from None
        self._codes = tx.datacodes
        self._code = tx.datacode
        self._whitening = whitening

    def values(self, message: bytes) -> dict[str, float]:
        """Return the values of a `set` message, an object by name or an array, in the order of the packet; raise NotSent."""
        try:
            values = msgspec.json.decode(message, type=dict[str, float | bool] | list[float | bool])
            tolerant_json.refuse_repeated_keys(message)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise NotSent(f"neither an object nor an array of numbers: {error}") from None
        if isinstance(values, dict):
            return self._ordered(values)
        if self._names and not self._codes and len(values) != len(self._names):
            raise NotSent(f"{len(values)} values, the node gets {len(self._names)}")
        all_names = self._names + [str(position) for position in range(len(self._names) + 1, len(values) + 1)]
        return dict(zip(all_names, values, strict=False))

    def packet(self, values: list[float]) -> bytes:
        """Return the packet with these values; raise NotSent if they do not fit into it."""
        if self._codes and len(values) != len(self._codes):
            raise NotSent(f"{len(values)} values, the node gets {len(self._codes)}")
        packet = b"".join(self._one(position, value) for position, value in enumerate(values))
        if not 0 < len(packet) <= MAX_BYTES:
            raise NotSent(f"{len(packet)} bytes are not a packet")
        return packet.translate(packets.WHITENING) if self._whitening else packet

    def _ordered(self, values: Mapping[str, float]) -> dict[str, float]:
        if set(values) != set(self._names):
            raise NotSent(f"a packet has all of {', '.join(self._names) or 'no names'}, and nothing else")
        return {name: values[name] for name in self._names}

    def _one(self, position: int, value: float) -> bytes:
        code = self._codes[position] if self._codes else self._code
        factor = self._scales[position] if position < len(self._scales) else self._scale
        if not math.isfinite(value):
            raise NotSent(f"value {position + 1}: {value!r} is not a finite number")
        raw = value * factor.denominator / factor.numerator
        try:
            return struct.pack(f"<{code}", raw if code in "fd" else round(raw))
        except (struct.error, OverflowError):
            raise NotSent(f"value {position + 1}: {value!r} does not fit into {code!r}") from None
