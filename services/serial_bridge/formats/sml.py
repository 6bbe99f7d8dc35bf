"""SML, what German electricity meters send through their optical port (BSI TR-03109-1, "SML 1.03").

A transmission is `1b1b1b1b 01010101`, messages, `1b1b1b1b 1a`, the number of fill bytes,
CRC-16/X-25; Holley's meters use CRC-16/KERMIT. `1b1b1b1b` within the messages is doubled.
"""

from collections.abc import Iterator
from typing import NamedTuple

from heliograph.messages import Value, finite
from services.serial_bridge.parsing.readings import (
    BlockParser,
    Detection,
    NotAReading,
    ParsedReading,
    Piece,
    StreamSplitter,
)
from services.serial_bridge.parsing.values import Scale
from services.serial_bridge.protocols import checksums, obis
from services.serial_bridge.protocols.sml_elements import Element, ShortInteger, elements
from services.serial_bridge.source import ParserContext, SourceOptions

BAUD = 9600
DETECTION = Detection(readings=1, specificity=3)
LONGEST_BYTES = 8192
ESCAPE = b"\x1b" * 4
START = ESCAPE + b"\x01" * 4
TAIL_BYTES = 8  # escape, 1a, fill bytes, checksum
LIST_RESPONSE = 0x0701
WATT = 27
DZG = b"\x0a\x01DZG"  # the beginning of a server id: medium electricity, maker; a number of five bytes follows
UNSIGNED_NUMBERS = (range(42_000_000, 49_000_000), range(55_000_000, 59_000_000))
# DLMS unit codes (IEC 62056-6-2, table of units)
UNITS = {
    8: "°",
    9: "°C",
    13: "m³",
    27: "W",
    28: "VA",
    29: "var",
    30: "Wh",
    31: "VAh",
    32: "varh",
    33: "A",
    35: "V",
    44: "Hz",
    56: "%",
    255: "",
}


def splitter(_joined_late: bool) -> StreamSplitter:
    """Return the splitter of transmissions; it finds their beginning by itself."""
    return TransmissionSplitter()


class TransmissionSplitter:
    """Splits at start and end sequences, checks, and removes escapes and fill bytes."""

    def __init__(self) -> None:
        self._rest = b""
        self.dropped = 0

    @property
    def unfinished(self) -> bytes:
        """The transmission that has begun, and what may be the beginning of one."""
        return self._rest

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the transmissions that end in this part of the stream."""
        self._rest += data
        while True:
            begin = self._rest.find(START)
            if begin < 0:
                begin = max(0, len(self._rest) - len(START) + 1)
                self.dropped += begin
                self._rest = self._rest[begin:]
                return
            self.dropped += begin
            self._rest = self._rest[begin:]
            end = _end(self._rest)
            if end == 0:
                if len(self._rest) > LONGEST_BYTES:
                    yield Piece(self._rest[:200], "longer than any transmission", "overlong_lines", len(START))
                    self._rest = self._rest[len(START) :]
                    continue
                return
            if end < 0:  # a new transmission begins within this one, or an unknown escape
                broken = self._rest[:-end]
                yield Piece(broken[:200], "the end of the transmission is missing", "bad_checksums", len(broken))
                self._rest = self._rest[-end:]
                continue
            whole, self._rest = self._rest[:end], self._rest[end:]
            yield _checked(whole)


def _end(stream: bytes) -> int:
    """Return the length of the transmission that begins here, 0 before its end has come, and minus its length if it is broken off."""
    at = len(START)
    while True:
        at = stream.find(ESCAPE, at)
        if at < 0 or len(stream) < at + TAIL_BYTES:
            return 0
        following = stream[at + 4 : at + 8]
        if following == ESCAPE:
            at += 8
        elif following[0] == 0x1A:
            return at + TAIL_BYTES
        elif following[0] == 0x1B:
            at += 1  # a byte 1b before the escape
        else:
            return -at


def _checked(whole: bytes) -> Piece:
    covered, given, fill = whole[:-2], int.from_bytes(whole[-2:], "little"), whole[-3]
    swapped = int.from_bytes(whole[-2:], "big")
    if given != checksums.x25(covered) and checksums.kermit(covered) not in (given, swapped):
        return Piece(whole[:200], "the checksum is wrong", "bad_checksums", len(whole))
    messages = whole[len(START) : -TAIL_BYTES].replace(ESCAPE + ESCAPE, ESCAPE)
    return Piece(messages[: len(messages) - min(fill, 3)], size=len(whole))


def parser(source: SourceOptions, context: ParserContext) -> BlockParser:
    """Return the parser of the transmissions of a meter."""
    source.refuse("columns", "pattern", "node_offset")
    channels = obis.MeterChannels(context.describe(source, "smart meter (SML)"))

    def parse(block: bytes) -> ParsedReading:
        values: dict[str, Value] = {}
        refused: list[str] = []
        entries: dict[obis.Code, _Entry] = {}
        unread: list[str] = []
        for code, entry in _entries(block, unread):
            if entries.setdefault(code, entry) != entry:
                refused.append(f"{code.name}: a second value of the same code")
        for code, (unit, scaler, raw) in sorted(
            entries.items(), key=lambda item: item[0].quantity == obis.SECOND_CHOICE
        ):
            if unit not in UNITS:
                refused.append(f"{code.name}: unit {unit}")
                continue
            try:
                name, value = channels.name(code), _power_of_ten(scaler).times(raw)
                values[name] = finite(channels.convert(name, code, UNITS[unit], value))
            except ValueError as error:
                refused.append(f"{code.name}: {error}")
        if not values and not refused:
            raise NotAReading("a transmission without values", "empty_transmissions")
        return ParsedReading(
            source.device_name, values, channels.description(), refused=tuple(refused), unread=tuple(unread)
        )

    return parse


class _Entry(NamedTuple):
    """The value of an entry: `raw` times ten to the power of `scaler`, in a unit of UNITS."""

    unit: int
    scaler: int
    raw: int


def _power_of_ten(scaler: int) -> Scale:
    if not -12 <= scaler <= 12:
        raise ValueError(f"ten to the power of {scaler}")
    return Scale(10**scaler, 1) if scaler >= 0 else Scale(1, 10**-scaler)


def _entries(messages: bytes, unread: list[str]) -> Iterator[tuple[obis.Code, _Entry]]:
    """Yield the numbers in the value lists; add to `unread` what is not an entry of such a list."""
    for message in elements(messages):
        body = _list(message, 6)[3:4]
        choice = _list(body[0], 2) if body else []
        if len(choice) != 2 or choice[0] != LIST_RESPONSE:
            continue
        response = _list(choice[1], 7)
        unsigned = bool(response) and _writes_unsigned(response[1])
        for entry in response[4] if response and isinstance(response[4], list) else []:
            fields = _list(entry, 7)
            if len(fields) < 7 or not isinstance(fields[0], bytes) or len(fields[0]) != 6:
                unread.append(f"entry({entry!r})"[:80])
                continue
            name, unit, scaler, value = fields[0], fields[3], fields[4], fields[5]
            if isinstance(value, bool) or not isinstance(value, int):
                continue  # a text, a key, or no value
            code = obis.Code(name[0], name[1], ".".join(str(byte) for byte in name[2:5]), name[5])
            number = unit if isinstance(unit, int) else 255
            power = scaler if isinstance(scaler, int) else 0
            if number == 255 and code.quantity.startswith(("96.", "0.")):
                continue  # identification numbers, states
            if unsigned and number == WATT and isinstance(value, ShortInteger):
                value = value.unsigned
            yield code, _Entry(number, power, int(value))


def _writes_unsigned(server: Element) -> bool:
    """Whether a meter is one of DZG's DVS74 that write a power from 327.68 to 655.35 W in two bytes as if they had no sign.

    DZG gave the ranges of their numbers to libsml (volkszaehler/libsml, pull request 136, sml_list.c); those after them,
    and other models of DZG, write two's complement as everyone does.
    """
    if not isinstance(server, bytes) or len(server) != 10 or not server.startswith(DZG):
        return False
    return any(int.from_bytes(server[len(DZG) :], "big") in numbers for numbers in UNSIGNED_NUMBERS)


def _list(element: Element, length: int) -> list[Element]:
    return element if isinstance(element, list) and len(element) == length else []
