"""SunSpec models: the addresses of their points, and the values in their registers. Pure.

SunSpec Alliance, "Device Information Model Specification" V1.1: 4 (types, values that are not implemented), 5
(models). The definitions of the models are the files of the pysunspec2 package.
"""

import importlib.resources
import math
import re
import struct
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
import sunspec2

from heliograph import messages, units
from heliograph.messages import finite

BASES = (40000, 0, 50000)  # possible addresses of the map (4.1)
MARKER = [0x5375, 0x6E53]  # "SunS"
COMMON, END = 1, 0xFFFF
MAX_EXPONENT = 10
MAX_LENGTH = 2000  # registers of a model: more than 90 trackers are noise
CACHED_MODELS = 16  # combinations of model and length, as many as the devices of a house have

# Models with measurements, and the prefix of their channels; the others are settings, curves and descriptions of interfaces.
PREFIXES = {
    **dict.fromkeys((101, 102, 103, 111, 112, 113), "inverter"),
    **dict.fromkeys((201, 202, 203, 204, 211, 212, 213, 214), "meter"),
    **dict.fromkeys((302, 303, 305, 306, 307, 308), "weather"),
    **dict.fromkeys((401, 402, 403, 404), "combiner"),
    **dict.fromkeys((501, 502), "panel"),
    124: "storage",
    160: "mppt",
    701: "ac",
    713: "storage",
    714: "dc",
    802: "battery",
}

# Points that other devices have, too, get the channel names of those.
_NAMES = {
    "A": "current",
    "PhV": "voltage",
    "PPV": "voltage_line",
    "PPVphAB": "voltage_l1_l2",
    "PPVphBC": "voltage_l2_l3",
    "PPVphCA": "voltage_l3_l1",
    "PhVphAB": "voltage_l1_l2",
    "PhVphBC": "voltage_l2_l3",
    "PhVphCA": "voltage_l3_l1",
    "W": "power",
    "Hz": "frequency",
    "VA": "apparent_power",
    "VAr": "reactive_power",
    "VAR": "reactive_power",
    "PF": "power_factor",
    "WH": "energy_total",
    "DCA": "dc_current",
    "DCV": "dc_voltage",
    "DCW": "dc_power",
    "DCWH": "dc_energy_total",
    "TmpCab": "cabinet_temperature",
    "TmpSnk": "heatsink_temperature",
    "TmpTrns": "transformer_temperature",
    "TmpOt": "other_temperature",
    "Tmp": "temperature",
    "St": "status",
    "StVnd": "vendor_status",
    "DCSt": "dc_status",
    "TotWhExp": "energy_export",
    "TotWhImp": "energy_import",
    "SoC": "battery_soc",
    "SoH": "battery_soh",
}
_PHASE = re.compile(r"(.+?)[pP]h([ABC])")
_UNITS = {"Pct": "%", "Secs": "s", "WH": "Wh", "Wh": "Wh", "varh": "kvarh", "Deg": "°", "mm": "mm", "C": "°C"}
_SCALES = {"varh": Decimal("0.001")}
_KINDS: dict[str, messages.Kind] = {"acc": "counter", "enum": "text", "string": "text"}
_SKIPPED = ("pad", "sunssf", "count", "eui48", "ipaddr", "ipv6addr")


class SunSpecPoint(msgspec.Struct, frozen=True):
    """One value of a model: `offset` from the ID register of the model, in registers; `factor` is the exponent, or the point that holds it."""

    name: str
    channel: str
    offset: int
    count: int
    type: str
    factor: str | int = 0
    unit: str = ""
    label: str = ""
    texts: dict[int, str] = msgspec.field(default_factory=dict)

    @property
    def description(self) -> messages.Channel:
        """The description that is published; without rollover, because the factor of a counter may change."""
        kind = _KINDS.get(self.type.rstrip("0123456789"), "gauge")
        return messages.Channel(_UNITS.get(self.unit, self.unit) if _known(self.unit) else "", kind, self.label)


@lru_cache(maxsize=CACHED_MODELS)
def points(model: int, length: int) -> list[SunSpecPoint]:
    """Return the points of a model of this length, scale factors included; repeating groups fill the length.

    Returns nothing for a model that is not in PREFIXES or longer than MAX_LENGTH.
    """
    if model not in PREFIXES or length > MAX_LENGTH:
        return []
    file = importlib.resources.files(sunspec2) / "models" / "json" / f"model_{model}.json"
    group = msgspec.json.decode(file.read_bytes())["group"]
    result, at = _points_of_group(group["points"], 0, "", "")
    for inner in group.get("groups", []):
        size = sum(point["size"] for point in inner["points"])
        repeats = (length + 2 - at) // size if inner.get("count", 1) != 1 else 1
        for number in range(1, repeats + 1):
            prefix = f"{'mppt' if model == 160 else inner['name'].lower()}{number}_"
            more, at = _points_of_group(inner["points"], at, prefix, f"{number}: ")
            result += more
    return [point for point in result if point.offset + point.count <= length + 2]


def value(point: SunSpecPoint, raw: list[int], exponent: int | None) -> messages.Value | None:
    """Return the value in the registers of a point; None if the device does not implement it, or its scale factor.

    Raises ValueError for a float that is infinite.
    """
    data = struct.pack(f">{len(raw)}H", *raw)
    kind = point.type.rstrip("0123456789")
    if kind == "string":
        return text(raw)[: messages.TEXT_LIMIT] or None
    if kind == "float":
        number = struct.unpack(">f" if len(data) == 4 else ">d", data)[0]
        if math.isnan(number):
            return None
        return float(Decimal(f"{finite(number):.7g}") * _SCALES.get(point.unit, 1))
    signed = kind in ("int", "sunssf")
    integer = int.from_bytes(data, "big", signed=signed)
    if exponent is None or not _implemented(kind, integer, 8 * len(data)):
        return None
    if kind == "enum":
        return point.texts.get(integer, f"code {integer}")
    exact = Decimal(integer).scaleb(exponent) * _SCALES.get(point.unit, 1)
    return int(exact) if exact == exact.to_integral_value() and exponent >= 0 else float(exact)


def _implemented(kind: str, integer: int, bits: int) -> bool:
    """Return whether an integer is a value of its type (4.2). An accumulator with all bits set is not."""
    ones = (1 << bits) - 1
    if kind in ("int", "sunssf"):
        return integer != -(1 << bits - 1)
    if kind == "acc":
        return integer not in (0, ones)
    if kind == "bitfield":
        return integer < 1 << bits - 1  # when the highest bit is set, the others mean nothing
    return integer != ones


def text(raw: list[int]) -> str:
    """Return the text in registers, up to its first zero byte; "" if all bits are set."""
    if set(raw) == {0xFFFF}:
        return ""
    return struct.pack(f">{len(raw)}H", *raw).split(b"\0")[0].decode("ascii", "replace").strip()


def exponent(point: SunSpecPoint, raw: dict[str, list[int]]) -> int | None:
    """Return the exponent of a point, from the scale factors of its model; None if the device does not implement it."""
    if isinstance(point.factor, int):
        return point.factor
    words = raw.get(point.factor)
    if words is None:
        return None
    number = int.from_bytes(words[0].to_bytes(2, "big"), "big", signed=True)
    return number if abs(number) <= MAX_EXPONENT else None


def _points_of_group(
    definitions: list[dict[str, Any]], at: int, prefix: str, label: str
) -> tuple[list[SunSpecPoint], int]:
    """Return the points of a group that begins at an offset, and the offset of its end."""
    result = []
    for one in definitions:
        name = str(one["name"])
        skipped = one["type"] in _SKIPPED and one["type"] != "sunssf"
        if not skipped and not (at < 2 or (prefix and name == "ID")):
            texts = {int(symbol["value"]): str(symbol["name"]).lower() for symbol in one.get("symbols", [])}
            result.append(
                SunSpecPoint(
                    prefix + name if one["type"] != "sunssf" else name,
                    prefix + _channel(name),
                    at,
                    one["size"],
                    one["type"],
                    one.get("sf", 0),
                    one.get("units", ""),
                    label + str(one.get("label", name)),
                    texts if str(one["type"]).startswith("enum") else {},
                )
            )
        at += one["size"]
    return result, at


def _channel(name: str) -> str:
    """Return the channel of a point: a common name with its phase, else the name of the point in lower case."""
    if name in _NAMES:
        return _NAMES[name]
    match = _PHASE.fullmatch(name)
    if match:
        return f"{_NAMES.get(match[1], match[1].lower())}_l{'ABC'.index(match[2]) + 1}"
    return re.sub(r"[^a-z0-9_]", "_", name.lower())


def _known(unit: str) -> bool:
    try:
        units.spelled(_UNITS.get(unit, unit))
    except ValueError:
        return False
    return True
