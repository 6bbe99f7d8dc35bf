r"""Telegrams of smart meters with a P1 port: DSMR 2.2 to 5, eMUCS (Belgium), and their relatives.

From `/` to `!`, then four digits of CRC-16/ARC over both and what is between; DSMR 2.2 and 3
have none. A line is `1-0:1.8.1(001234.567*kWh)`. Gas, water and heat meters behind it are
devices of their own; their values have the time at which they were read, and are said once.
Facts: "DSMR P1 Companion Standard" 5.0.2, chapters 5.2 and 6.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

from heliograph.messages import Value
from services.serial_bridge import checksums, named_values, obis
from services.serial_bridge.channels import channel
from services.serial_bridge.readings import About, BlockFormat, Cutter, NotAReading, Piece, Reading, Recognition
from services.serial_bridge.source import Context, Source
from services.serial_bridge.values import number

BAUD = 115_200
RECOGNITION = Recognition(readings=1, specificity=3)
LONGEST_BYTES = 8192
MOST_METERS = 9
_END = re.compile(rb"!([0-9A-Fa-f]{4})?[ \t]*\r?\n")
_LINE = re.compile(r"(\d+)-(\d+):(\d+\.\d+\.\d+)(?:\*\d+)?((?:\([^()]*\))+)")
_GROUP = re.compile(r"\(([^()]*)\)")
_VALUE = re.compile(r"([+-]?[0-9.]+)(?:\*(\w+))?")
_TIME = re.compile(r"([0-9]{12})([SW]?)")
_METERS = {"3": "gas", "4": "heat", "6": "heat", "7": "water", "12": "cooling", "2": "electricity"}


def cutter(joined_late: bool) -> Cutter:
    """Return what cuts telegrams."""
    return Telegrams(joined_late=joined_late)


class Telegrams:
    """Cuts from `/` to the end of the line with `!`; one whose checksum is wrong is faulty."""

    def __init__(self, *, joined_late: bool = False) -> None:
        self._rest = b""
        self._late = joined_late

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the telegrams that end in this piece."""
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


def parser(source: Source, context: Context) -> BlockFormat:
    """Return what reads the telegrams of a meter."""
    source.refuse("columns", "pattern", "node_offset")
    device = source.called
    shown = obis.Shown(context.about(source, "smart meter (P1)"))
    told: dict[str, float] = {}

    def read(block: bytes) -> list[Reading]:
        values: dict[str, Value] = {}
        refused: list[str] = []
        types: dict[str, str] = {}
        meters: dict[str, Reading] = {}
        for line in _joined(block.decode("latin-1")):
            found = _LINE.fullmatch(line)
            if not found:
                continue
            medium, number_of_line, code, rest = found[1], found[2], found[3], _GROUP.findall(found[4])
            if code == "24.1.0":
                types[number_of_line] = _METERS.get(str(int(rest[-1])) if rest[-1].isdecimal() else "", "meter")
            elif number_of_line != "0" and code in ("24.2.1", "24.2.3", "24.3.0"):
                meter = _meter(rest, f"{device}_{types.get(number_of_line, 'meter')}")
                if meter and len(meters) < MOST_METERS:
                    meters[f"{meter.device}_{number_of_line}" if meter.device in meters else meter.device] = meter
            elif len(rest) == 1 and (value := _VALUE.fullmatch(rest[0])):
                name = obis.channel(int(medium), int(number_of_line), code)
                if not value[2] and name.startswith("obis_"):
                    continue  # identification numbers, versions
                try:
                    values[name] = shown.take(name, value[2] or "", number(value[1]))
                except ValueError as error:
                    refused.append(f"{line[:80]}: {error}")
        readings = [Reading(device, values, shown.about(), refused=tuple(refused))] if values or refused else []
        for name, meter in meters.items():
            if meter.at is None or meter.at > told.get(name, 0.0):
                if meter.at is not None and (name in told or len(told) < obis.MOST_CHANNELS):
                    told[name] = meter.at
                readings.append(meter._replace(device=name))
        if not values and not readings:
            raise NotAReading("a telegram without values")
        return readings

    return read


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


def _meter(groups: list[str], device: str) -> Reading | None:
    """Return the reading of a meter behind the meter, or None if there is none."""
    units = [group for group in groups if group in ("m3", "GJ", "kWh")]
    value = _VALUE.fullmatch(groups[-1])
    if len(groups) < 2 or not value:
        return None
    unit = value[2] or (units[0] if units else "")
    try:
        unit, amount = obis.converted(unit, number(value[1]))
        name = "volume" if unit == "m³" else "energy"
        about = About(device.rpartition("_")[2] + " meter", 0.0, {name: channel(unit, "counter")})
        return Reading(device, {name: amount}, about, _time(groups[0]))
    except ValueError:
        return None


def _time(text: str) -> float | None:
    """Return yymmddhhmmss with S for summer and W for winter time, in Central Europe, as seconds since 1970 UTC.

    Without the letter (DSMR 2.2) it is not known which it is, and the time is that of arrival.
    """
    found = _TIME.fullmatch(text)
    if not found or not found[2]:
        return None
    zone = timezone(timedelta(hours=2 if found[2] == "S" else 1))
    try:
        at = datetime.strptime(found[1], "%y%m%d%H%M%S").replace(tzinfo=zone).astimezone(UTC).timestamp()
    except ValueError:
        return None
    return at if named_values.EARLIEST <= at <= named_values.LATEST else None
