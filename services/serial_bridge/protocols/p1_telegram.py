"""The lines of a P1 telegram: values of the meter, values with a time of their own, and meters behind it.

Facts: "DSMR P1 Companion Standard" 5.0.2, chapter 6.12 (COSEM objects), and "e-MUCS-P1" 1.7.1, chapter 5 (Belgium).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from heliograph.messages import Value
from heliograph.store.readings import LATEST
from services.serial_bridge.parsing.channels import channel
from services.serial_bridge.parsing.readings import Description, ParsedReading
from services.serial_bridge.parsing.values import number
from services.serial_bridge.protocols import obis
from services.serial_bridge.protocols.meter_names import UNKNOWN_MEDIUM, MeterNames

MAX_METERS = 9
EARLIEST = 1_577_836_800.0  # 2020: a meter that shows less was not read
_LINE = re.compile(r"(\d{1,3})-(\d{1,3}):(\d{1,3}\.\d{1,3}\.\d{1,3})(?:[*&](\d{1,3}))?((?:\([^()]*\))+)")
_GROUP = re.compile(r"\(([^()]*)\)")
_VALUE = re.compile(r"([+-]?[0-9.]+)(?:\*(\w+))?")
_TIMES = (  # with S for summer and W for winter time; a time without it may be either
    (re.compile(r"[0-9]{12}[SW]?"), ("%y%m%d%H%M%S",)),
    (re.compile(r"[0-9]{10}"), ("%y%m%d%H%M",)),
    (re.compile(r"[0-9]{2}(?:-[0-9]{2}){2} [0-9]{2}(?::[0-9]{2}){2}"), ("%y-%m-%d %H:%M:%S", "%d-%m-%y %H:%M:%S")),
)
ZONES = {"S": 7200, "W": 3600}  # seconds of Central European time before UTC
METER_TYPE, METER_VALUES = "24.1.0", ("24.2.1", "24.2.3", "24.3.0")
GAS_CODE = (7, "23.1.0")  # ACE4000: the gas meter has no channel of its own
METER_CODES = (*METER_VALUES, GAS_CODE[1])
_MEDIA = {"3": "gas", "4": "heat", "6": "heat", "7": "water", "12": "cooling", "2": "electricity"}
_AMOUNTS = {"m³": "volume", "kWh": "energy", "Wh": "energy", "MWh": "energy", "MJ": "energy"}
# IEC 62056-6-1, value group C: 0 general purpose, 93 to 99 service, error and list entries; of the abstract ones 1 is the clock, 42 the name
_NO_QUANTITIES = {"0", *map(str, range(93, 100))}
_ABOUT_THE_METER = {"1.0.0", "42.0.0", "24.4.0"}


class _TimedValue(NamedTuple):
    """A value, and the time at which it was read: None if that is not known, and it is as good as now."""

    text: str
    unit: str
    at: float | None


class _NoReading(ValueError):
    """The time is one at which nothing can have been read: so a meter says that it has never been read."""


class Telegram:
    """Collects the values of one telegram."""

    def __init__(self, device: str, channels: obis.MeterChannels, names: MeterNames) -> None:
        self._device = device
        self._channels = channels
        self._names = names
        self._values: dict[obis.Code, tuple[str, _TimedValue]] = {}
        self._refused: list[str] = []
        self._unread: list[str] = []
        self._without_reading = 0
        self._media: dict[int, str] = {}
        self._meters: dict[
            int, tuple[int, str, _TimedValue]
        ] = {}  # by channel; of several codes, the first of METER_CODES

    def add(self, line: str) -> None:
        """Add the value of a line, if it has one; note a line that is not understood."""
        match = _LINE.fullmatch(line)
        if not match:
            self._unread += [line] if line and line[0] not in "/!" else []
            return
        period = obis.PRESENT if match[4] is None else int(match[4])
        code, groups = obis.Code(int(match[1]), int(match[2]), match[3], period), _GROUP.findall(match[5])
        if code.line and code.quantity == METER_TYPE:
            meter_type = str(int(groups[-1])) if groups[-1].isdecimal() else ""
            self._media[code.line] = _MEDIA.get(meter_type, UNKNOWN_MEDIUM)
        elif code.line and code.quantity in METER_VALUES:
            self._add_meter(code.line, code.quantity, line, groups)
        elif (code.medium, code.quantity) == GAS_CODE and code.line == 0 and period == obis.PRESENT:
            self._media.setdefault(0, "gas")
            self._add_meter(0, code.quantity, line, groups)
        else:
            self._add_value(line, code, groups)

    def readings(self) -> list[ParsedReading]:
        """Return the readings of the meter itself, and of the meters behind it."""
        by_time: dict[float | None, dict[str, Value]] = {None: {}}
        for code, (line, value) in sorted(
            self._values.items(), key=lambda item: item[0].quantity == obis.SECOND_CHOICE
        ):
            try:
                name = self._channels.name(code)
                amount = self._channels.convert(name, code, value.unit, number(value.text))
                by_time.setdefault(value.at, {})[name] = amount
            except ValueError as error:
                self._refused.append(f"{line[:80]}: {error}")
        meters = list(self._meter_readings())
        description = self._channels.description()
        own = ParsedReading(
            self._device,
            by_time.pop(None),
            description,
            no_sensor=self._without_reading,
            refused=tuple(self._refused),
            unread=tuple(self._unread),
        )
        timed = [ParsedReading(self._device, values, description, at, once=True) for at, values in by_time.items()]
        is_empty = not (own.values or own.no_sensor or own.refused or (own.unread and (timed or meters)))
        return [*([] if is_empty else [own]), *timed, *meters]

    def _add_value(self, line: str, code: obis.Code, groups: list[str]) -> None:
        try:
            value = _timed_value(groups)
        except _NoReading:
            self._without_reading += 1
            return
        if value is None or (not value.unit and code.name == code.number):
            if any(groups) and not _is_no_quantity(code):
                self._unread.append(line)
        elif code in self._values and self._values[code][1] != value:
            self._refused.append(f"{line[:80]}: a second value of the same code")
        else:
            self._values[code] = line, value

    def _add_meter(self, line_number: int, code: str, line: str, groups: list[str]) -> None:
        try:
            value = _capture(groups) if code == METER_VALUES[-1] else _timed_value(groups)
        except _NoReading:
            self._without_reading += 1
            return
        if value is None:
            self._unread += [line] if any(groups) else []
        elif line_number in self._meters or len(self._meters) < MAX_METERS:
            ranked = METER_CODES.index(code), line, value
            first, second = sorted((self._meters.get(line_number, ranked), ranked), key=lambda meter: meter[0])
            self._meters[line_number] = first
            if second is not first and second[2] != first[2]:
                self._refused.append(f"{second[1][:80]}: a second value of the same meter")

    def _meter_readings(self) -> Iterator[ParsedReading]:
        for line_number, (_, line, value) in sorted(self._meters.items()):
            try:
                unit, amount = obis.converted(value.unit, number(value.text))
                if unit not in _AMOUNTS:
                    raise ValueError(f"expected m3, GJ or kWh, found {value.unit or 'no unit'}")
            except ValueError as error:
                self._refused.append(f"{line[:80]}: {error}")
                continue
            medium = self._media.get(line_number, UNKNOWN_MEDIUM)
            device, medium = self._names.name(self._device, line_number, medium)
            model = medium if medium == UNKNOWN_MEDIUM else f"{medium} meter"
            description = Description(model, 0.0, {_AMOUNTS[unit]: channel(unit, "counter")})
            yield ParsedReading(device, {_AMOUNTS[unit]: amount}, description, value.at, once=value.at is not None)


def _is_no_quantity(code: obis.Code) -> bool:
    """Whether a code is a version, an identification number, a message, a list of events, or the clock."""
    return code.quantity.partition(".")[0] in _NO_QUANTITIES or (
        code.medium == obis.ABSTRACT and code.quantity in _ABOUT_THE_METER
    )


def joined(telegram: str) -> Iterator[str]:
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


def _timed_value(groups: list[str]) -> _TimedValue | None:
    """Return the value of a line, alone or with a time before or behind it; None if it is something else. Raises _NoReading."""
    if len(groups) > 2:
        return None
    for text, time in ((groups[-1], groups[:-1]), (groups[0], groups[1:])):
        value = _VALUE.fullmatch(text)
        if value and (not time or _is_time(time[0])):
            return _TimedValue(value[1], value[2] or "", _time(time[0]) if time else None)
    return None


def _capture(groups: list[str]) -> _TimedValue | None:
    """Return the value of a line of DSMR 2.2: `24.3.0(time)(00)(60)(1)(0-1:24.2.1)(m3)(value)`. Raises _NoReading."""
    value = _VALUE.fullmatch(groups[-1])
    if len(groups) < 3 or not value or not _is_time(groups[0]):
        return _timed_value(groups)
    units = [group for group in groups if group in ("m3", "GJ", "kWh")]
    return _TimedValue(value[1], value[2] or (units[0] if units else ""), _time(groups[0]))


def _is_time(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern, _ in _TIMES)


def _time(text: str) -> float | None:
    """Return yymmddhhmmss with S for summer and W for winter time, in Central Europe, as seconds since 1970 UTC.

    Without the letter (DSMR 2.2) it is not known which it is, and the time is that of arrival: None. Raises _NoReading for
    a time that is not in the calendar, or with its letter before 2020, as 632525252525S and 700101010000W of meters that
    were never read.
    """
    seconds = _calendar_seconds(text.rstrip("SW"))
    if text[-1] not in ZONES:
        return None
    seconds -= ZONES[text[-1]]
    if not EARLIEST <= seconds <= LATEST:
        raise _NoReading(text)
    return seconds


def _calendar_seconds(text: str) -> float:
    """Return the seconds since 1970 on a clock without zones."""
    for pattern, forms in _TIMES:
        if pattern.fullmatch(text):
            for form in forms:
                with suppress(ValueError):
                    return datetime.strptime(f"{text}Z", f"{form}%z").timestamp()
    raise _NoReading(text)
