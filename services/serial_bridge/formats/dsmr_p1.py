r"""Telegrams of smart meters with a P1 port: DSMR 2.2 to 5, eMUCS (Belgium), and their relatives.

From `/` to `!`, then four digits of CRC-16/ARC over both and what is between; DSMR 2.2 and 3
have none. A line is `1-0:1.8.1(001234.567*kWh)`. Gas, water and heat meters behind it are
devices of their own; their values have the time at which they were read, and are published once.
Facts: "DSMR P1 Companion Standard" 5.0.2, chapters 5.2 and 6.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

from heliograph.messages import Value
from services.serial_bridge.parsing import named_values
from services.serial_bridge.parsing.channels import channel
from services.serial_bridge.parsing.readings import (
    BlockParser,
    Description,
    Detection,
    NotAReading,
    ParsedReading,
    Piece,
    StreamSplitter,
)
from services.serial_bridge.parsing.values import number
from services.serial_bridge.protocols import checksums, obis
from services.serial_bridge.source import ParserContext, SourceOptions

BAUD = 115_200
DETECTION = Detection(readings=1, specificity=3)
LONGEST_BYTES = 8192
MAX_METERS = 9
_END = re.compile(rb"!([0-9A-Fa-f]{4})?[ \t]*\r?\n")
_LINE = re.compile(r"(\d+)-(\d+):(\d+\.\d+\.\d+)(?:\*\d+)?((?:\([^()]*\))+)")
_GROUP = re.compile(r"\(([^()]*)\)")
_VALUE = re.compile(r"([+-]?[0-9.]+)(?:\*(\w+))?")
_TIME = re.compile(r"([0-9]{12})([SW]?)")
METER_TYPE, METER_VALUES = "24.1.0", ("24.2.1", "24.2.3", "24.3.0")
_METERS = {"3": "gas", "4": "heat", "6": "heat", "7": "water", "12": "cooling", "2": "electricity"}


def splitter(joined_late: bool) -> StreamSplitter:
    """Return the splitter of telegrams."""
    return TelegramSplitter(joined_late=joined_late)


class TelegramSplitter:
    """Splits from `/` to the end of the line with `!`; a wrong checksum is an error."""

    def __init__(self, *, joined_late: bool = False) -> None:
        self._rest = b""
        self._late = joined_late

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the telegrams that end in this part of the stream."""
        self._rest += data
        while end := _END.search(self._rest):
            telegram, self._rest = self._rest[: end.end()], self._rest[end.end() :]
            begin = telegram.rfind(b"/", 0, end.start())
            if begin >= 0:
                yield _checked(telegram[begin:], end[1])
            elif not self._late:
                yield Piece(telegram[:200], "the beginning of the telegram is missing", "bad_checksums")
            self._late = False
        begin = self._rest.rfind(b"\n/")
        if begin >= 0:
            self._rest = self._rest[begin + 1 :]  # the one before was cut off
        if len(self._rest) > LONGEST_BYTES:
            yield Piece(self._rest[:200], "longer than any telegram", "overlong_lines")
            self._rest = b""
            self._late = True


def _checked(telegram: bytes, digits: bytes | None) -> Piece:
    covered = telegram[: telegram.rindex(b"!") + 1]
    if digits and checksums.arc(covered) != int(digits, 16):
        return Piece(telegram[:200], "the checksum is wrong", "bad_checksums")
    return Piece(covered)


def parser(source: SourceOptions, context: ParserContext) -> BlockParser:
    """Return the parser of the telegrams of a meter."""
    source.refuse("columns", "pattern", "node_offset")
    channels = obis.MeterChannels(context.describe(source, "smart meter (P1)"))
    published: dict[str, float] = {}  # the times of the meters behind it

    def is_new(meter: ParsedReading) -> bool:
        if meter.at is None:
            return True
        if meter.at <= published.get(meter.device, 0.0):
            return False
        if meter.device in published or len(published) < obis.MAX_CHANNELS:
            published[meter.device] = meter.at
        return True

    def parse(block: bytes) -> list[ParsedReading]:
        telegram = _Telegram(source.device_name, channels)
        for line in _joined(block.decode("latin-1")):
            telegram.add(line)
        readings = telegram.reading() + [meter for meter in telegram.meters() if is_new(meter)]
        if not readings:
            raise NotAReading("a telegram without values")
        return readings

    return parse


class _Telegram:
    """Collects the values of one telegram."""

    def __init__(self, device: str, channels: obis.MeterChannels) -> None:
        self._device = device
        self._channels = channels
        self._values: dict[str, Value] = {}
        self._refused: list[str] = []
        self._meter_types: dict[str, str] = {}
        self._meters: dict[str, ParsedReading] = {}

    def add(self, line: str) -> None:
        """Add the value of a line, if it has one."""
        match = _LINE.fullmatch(line)
        if not match:
            return
        medium, channel_number, code, groups = match[1], match[2], match[3], _GROUP.findall(match[4])
        if code == METER_TYPE:
            meter_type = str(int(groups[-1])) if groups[-1].isdecimal() else ""
            self._meter_types[channel_number] = _METERS.get(meter_type, "meter")
        elif channel_number != "0" and code in METER_VALUES:
            self._add_meter(channel_number, groups)
        elif len(groups) == 1 and (value := _VALUE.fullmatch(groups[0])):
            self._add_value(line, obis.channel(int(medium), int(channel_number), code), value[1], value[2] or "")

    def reading(self) -> list[ParsedReading]:
        """Return the reading of the meter itself, if there is one."""
        if not self._values and not self._refused:
            return []
        return [ParsedReading(self._device, self._values, self._channels.description(), refused=tuple(self._refused))]

    def meters(self) -> list[ParsedReading]:
        """Return the readings of the meters behind it."""
        return [meter._replace(device=name) for name, meter in self._meters.items()]

    def _add_meter(self, number: str, groups: list[str]) -> None:
        meter = _meter(groups, f"{self._device}_{self._meter_types.get(number, 'meter')}")
        if meter and len(self._meters) < MAX_METERS:
            name = f"{meter.device}_{number}" if meter.device in self._meters else meter.device
            self._meters[name] = meter

    def _add_value(self, line: str, name: str, written: str, unit: str) -> None:
        if not unit and name.startswith("obis_"):
            return  # identification numbers, versions
        try:
            self._values[name] = self._channels.convert(name, unit, number(written))
        except ValueError as error:
            self._refused.append(f"{line[:80]}: {error}")


def _joined(telegram: str) -> Iterator[str]:
    """Yield the lines; a value on the line after its code, as in DSMR 2.2, goes with it."""
    last = ""
    for line in telegram.split("\n"):
        line = line.strip()
        if line.startswith("("):
            last += line
        else:
            yield last
            last = line
    yield last


def _meter(groups: list[str], device: str) -> ParsedReading | None:
    """Return the reading of a meter behind the meter, or None if there is none."""
    units = [group for group in groups if group in ("m3", "GJ", "kWh")]
    value = _VALUE.fullmatch(groups[-1])
    if len(groups) < 2 or not value:
        return None
    unit = value[2] or (units[0] if units else "")
    try:
        unit, amount = obis.converted(unit, number(value[1]))
        name = "volume" if unit == "m³" else "energy"
        description = Description(device.rpartition("_")[2] + " meter", 0.0, {name: channel(unit, "counter")})
        return ParsedReading(device, {name: amount}, description, _time(groups[0]))
    except ValueError:
        return None


def _time(text: str) -> float | None:
    """Return yymmddhhmmss with S for summer and W for winter time, in Central Europe, as seconds since 1970 UTC.

    Without the letter (DSMR 2.2) it is not known which it is, and the time is that of arrival.
    """
    match = _TIME.fullmatch(text)
    if not match or not match[2]:
        return None
    zone = timezone(timedelta(hours=2 if match[2] == "S" else 1))
    try:
        at = datetime.strptime(match[1], "%y%m%d%H%M%S").replace(tzinfo=zone).astimezone(UTC).timestamp()
    except ValueError:
        return None
    return at if named_values.EARLIEST <= at <= named_values.LATEST else None
