r"""VE.Direct text of Victron's solar chargers, battery monitors, shunts and inverters.

A field is `\r\nLABEL\tVALUE`; a block ends with the field `Checksum`, whose one byte makes
the sum of all bytes of the block 0 modulo 256. HEX frames, `:…\n`, may occur anywhere and
do not count ("VE.Direct Protocol" 3.33). A battery monitor spreads its fields over blocks.
"""

import re
from collections.abc import Iterator

from heliograph.messages import LARGEST_INTEGER, Channel, Value
from services.serial_bridge.parsing.readings import (
    BlockParser,
    Detection,
    NotAReading,
    ParsedReading,
    Piece,
    StreamSplitter,
)
from services.serial_bridge.parsing.values import Scale
from services.serial_bridge.protocols import victron_codes
from services.serial_bridge.source import ParserContext, SourceOptions

BAUD = 19_200
DETECTION = Detection(readings=1, specificity=3)
LONGEST_BYTES = 2048  # 22 fields of 43 bytes are 946
LONGEST_HEX = 256
_LAST_LABEL = b"\r\nChecksum\t"
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_MILLI, _CENTI, _DECI, _ONE = Scale(1, 1000), Scale(1, 100), Scale(1, 10), Scale(1, 1)
_NUMBERS: dict[str, tuple[str, str, Scale]] = {
    "V": ("battery_voltage", "V", _MILLI),
    "V2": ("battery_2_voltage", "V", _MILLI),
    "V3": ("battery_3_voltage", "V", _MILLI),
    "VS": ("starter_voltage", "V", _MILLI),
    "VM": ("midpoint_voltage", "V", _MILLI),
    "DM": ("midpoint_deviation", "%", _DECI),
    "VPV": ("pv_voltage", "V", _MILLI),
    "PPV": ("pv_power", "W", _ONE),
    "I": ("battery_current", "A", _MILLI),
    "I2": ("battery_2_current", "A", _MILLI),
    "I3": ("battery_3_current", "A", _MILLI),
    "IL": ("load_current", "A", _MILLI),
    "T": ("battery_temperature", "°C", _ONE),
    "P": ("battery_power", "W", _ONE),
    "CE": ("consumed", "Ah", _MILLI),
    "SOC": ("state_of_charge", "%", _DECI),
    "TTG": ("time_to_go", "min", _ONE),
    "H1": ("deepest_discharge", "Ah", _MILLI),
    "H2": ("last_discharge", "Ah", _MILLI),
    "H3": ("average_discharge", "Ah", _MILLI),
    "H4": ("charge_cycles", "", _ONE),
    "H5": ("full_discharges", "", _ONE),
    "H6": ("drawn_total", "Ah", _MILLI),
    "H7": ("lowest_voltage", "V", _MILLI),
    "H8": ("highest_voltage", "V", _MILLI),
    "H9": ("since_full", "s", _ONE),
    "H10": ("synchronisations", "", _ONE),
    "H11": ("low_voltage_alarms", "", _ONE),
    "H12": ("high_voltage_alarms", "", _ONE),
    "H15": ("lowest_starter_voltage", "V", _MILLI),
    "H16": ("highest_starter_voltage", "V", _MILLI),
    "H17": ("energy_discharged", "kWh", _CENTI),
    "H18": ("energy_charged", "kWh", _CENTI),
    "H19": ("yield_total", "kWh", _CENTI),
    "H20": ("yield_today", "kWh", _CENTI),
    "H21": ("power_max_today", "W", _ONE),
    "H22": ("yield_yesterday", "kWh", _CENTI),
    "H23": ("power_max_yesterday", "W", _ONE),
    "ERR": ("error", "", _ONE),
    "AR": ("alarm_reasons", "", _ONE),
    "WARN": ("warning_reasons", "", _ONE),
    "HSDS": ("day", "", _ONE),
    "AC_OUT_V": ("ac_voltage", "V", _CENTI),
    "AC_OUT_I": ("ac_current", "A", _DECI),
    "AC_OUT_S": ("ac_apparent_power", "VA", _ONE),
    "DC_IN_V": ("dc_voltage", "V", _CENTI),
    "DC_IN_I": ("dc_current", "A", _DECI),
    "DC_IN_P": ("dc_power", "W", _ONE),
}
# H6, the charge ever drawn, falls below zero: a gauge. As a counter, every discharge would be a reset.
_COUNTERS = {"energy_discharged", "energy_charged", "yield_total", "charge_cycles", "full_discharges"}
_STATES = {"LOAD": "load", "Relay": "relay", "Alarm": "alarm"}
_TEXTS = {
    "CS": ("charge_state", victron_codes.STATES),
    "MPPT": ("tracker", victron_codes.TRACKERS),
    "MODE": ("mode", victron_codes.MODES),
    "ERR": ("error_text", victron_codes.ERRORS),
}
_ABSENT = {"---", ""}
_ABOUT_THE_DEVICE = {"PID", "FW", "FWE", "SER#", "BMV", "MON"}
_KNOWN = {*_NUMBERS, *_STATES, *_TEXTS, *_ABOUT_THE_DEVICE, "OR"}
CHANNELS = {
    **{name: Channel(unit, "counter" if name in _COUNTERS else "gauge") for name, unit, _ in _NUMBERS.values()},
    **{name: Channel(kind="state") for name in _STATES.values()},
    **{name: Channel(kind="text") for name, _ in _TEXTS.values()},
    "off_reasons": Channel(),
}


def splitter(joined_late: bool) -> StreamSplitter:
    """Return the splitter of blocks."""
    return BlockSplitter(joined_late=joined_late)


class BlockSplitter:
    """Splits blocks and checks them; HEX frames are skipped, also in the middle of a block."""

    def __init__(self, *, joined_late: bool = False) -> None:
        self._block = bytearray()
        self._hex = 0
        self._late = joined_late
        self.dropped = 0

    @property
    def unfinished(self) -> bytes:
        """The block that has begun."""
        return bytes(self._block)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the blocks that end in this part of the stream."""
        for byte in data:
            if self._hex:
                self._hex += 1
                if byte == 10:
                    self._hex = 0
                elif self._hex > LONGEST_HEX:  # noise
                    self.dropped += self._hex
                    self._hex = 0
                continue
            complete = self._block.endswith(_LAST_LABEL)
            if byte == 58 and not complete:
                self._hex = 1
                continue
            self._block.append(byte)
            if complete or len(self._block) > LONGEST_BYTES:
                block = bytes(self._block)
                self._block.clear()
                if complete and sum(block) % 256 == 0:
                    yield Piece(block[: -len(_LAST_LABEL) - 1], size=len(block))
                elif not self._late:
                    why = "the checksum is wrong" if complete else "longer than any block"
                    yield Piece(block[:200], why, "bad_checksums" if complete else "overlong_lines", len(block))
                else:
                    self.dropped += len(block)
                self._late = False


def parser(source: SourceOptions, context: ParserContext) -> BlockParser:
    """Return the parser of the blocks of a device; its model is that of the last product id."""
    source.refuse("columns", "pattern", "node_offset")
    description = context.describe(source, "Victron device", CHANNELS)

    def parse(block: bytes) -> ParsedReading:
        nonlocal description
        fields = dict(_fields(block))
        number = _hexadecimal(fields.pop("PID", ""))
        if number is not None and not source.model:
            description = description._replace(model=victron_codes.product(number))
        values: dict[str, Value] = {}
        refused = []
        no_sensor = 0
        for label, text in fields.items():
            try:
                values |= _values(label, text)
            except ValueError as error:
                refused.append(f"{label[:40]}: {error}")
                continue
            no_sensor += text in _ABSENT and label in _NUMBERS
        unread = tuple(f"{label}({text})" for label, text in fields.items() if label not in _KNOWN)
        if not values and not refused and not no_sensor and number is None:
            raise NotAReading("a block without values")
        return ParsedReading(
            source.device_name, values, description, no_sensor=no_sensor, refused=tuple(refused), unread=unread
        )

    return parse


def _fields(block: bytes) -> Iterator[tuple[str, str]]:
    for line in block.decode("latin-1").split("\r\n"):
        label, tab, text = line.partition("\t")
        if tab:
            yield label, text.strip()


def _values(label: str, text: str) -> dict[str, Value]:
    """Return the channels of a field; a label without a value, as a serial number, has none. Raise ValueError if it is bad."""
    if text in _ABSENT or (label == "TTG" and text == "-1"):
        return {}
    if label in _STATES:
        if text.upper() not in ("ON", "OFF"):
            raise ValueError(f"{text[:40]!r} is neither ON nor OFF")
        return {_STATES[label]: text.upper() == "ON"}
    if label == "OR":
        number = _hexadecimal(text)
        if number is None:
            raise ValueError(f"{text[:40]!r} is not a number")
        return {"off_reasons": number}
    if label not in _NUMBERS and label not in _TEXTS:
        return {}
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number")
    raw = int(text)
    values: dict[str, Value] = {}
    if label in _NUMBERS:
        name, _, scale = _NUMBERS[label]
        values[name] = scale.times(raw)
    if label in _TEXTS:
        name, words = _TEXTS[label]
        values[name] = words.get(raw, str(raw))
    return values


def _hexadecimal(text: str) -> int | None:
    try:
        number = int(text, 16)
    except ValueError:
        return None
    return number if 0 <= number <= LARGEST_INTEGER else None
