"""The body of POST /readings, validated by item and field. Pure."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from heliograph import mistakes, tolerant_json, units
from heliograph.messages import Channel, Kind, Value
from services.api import queries
from services.api.errors import RequestRefused
from services.api.ingest.reports import MOST_CHANNELS, Report

MOST_READINGS = 10_000  # in one request
Positive = Annotated[float, Meta(ge=0, le=1e15)]
Label = Annotated[str, Meta(max_length=100)]


class ChannelDescription(Struct, forbid_unknown_fields=True):
    """What a channel is; `rollover` is the value at which the register of a counter restarts at 0, 0 when unknown."""

    unit: Label = ""
    kind: Kind = "gauge"
    label: Label = ""
    rollover: Positive = 0.0


class DeviceDescription(Struct, forbid_unknown_fields=True):
    """What a device is; `interval` is how many seconds are expected between readings. Remembered by the node."""

    model: Label = ""
    interval: Positive = 0.0
    channels: dict[str, ChannelDescription] = {}


class PostedReading(Struct, forbid_unknown_fields=True):
    """One reading of a device of this node; `time` is UTC seconds or ISO 8601, now unless given; null is no value."""

    device: str
    values: dict[str, Value | None]
    time: float | str | None = None
    info: DeviceDescription | None = None


def parse(body: bytes) -> list[Report]:
    """Return the readings of a body, one or a list; raise RequestRefused naming the item and the field."""
    try:
        content = tolerant_json.decode(body, unique=True)
    except ValueError as error:
        raise RequestRefused(f"the body is not JSON: {error}", 422) from None
    if not isinstance(content, list):
        return [_report(content, "")]
    if not 0 < len(content) <= MOST_READINGS:
        raise RequestRefused(f"there are {len(content)} readings in the list; it has 1 to {MOST_READINGS}")
    return [_report(item, f"[{number}]") for number, item in enumerate(content)]


def _report(item: Any, where: str) -> Report:
    _check_size(item, where)
    try:
        given = msgspec.convert(item, PostedReading)
    except msgspec.ValidationError as error:
        mistake = mistakes.explained(PostedReading, item, str(error)).strip().removeprefix(": ")
        is_of_field = mistake.partition(":")[0].partition(".")[0] in PostedReading.__struct_fields__
        raise RequestRefused(f"{where}{'.' if is_of_field else ': '}{mistake}" if where else mistake) from None
    dot = f"{where}." if where else ""
    info = given.info or DeviceDescription()
    channels = {name: _channel(about, f"{dot}info.channels.{name}") for name, about in info.channels.items()}
    values = {name: value for name, value in given.values.items() if value is not None}
    missing = len(given.values) - len(values)
    time = _time(given.time, f"{dot}time")
    return Report(given.device, values, time, channels, info.model, info.interval, missing)


def _check_size(item: Any, where: str) -> None:
    """Raise RequestRefused for a table that is so long that it would take long to find what is wrong in it."""
    info = item.get("info") if isinstance(item, dict) else None
    for name, table in (
        ("values", item.get("values") if isinstance(item, dict) else None),
        ("info.channels", info.get("channels") if isinstance(info, dict) else None),
    ):
        if isinstance(table, dict) and len(table) > MOST_CHANNELS:
            raise RequestRefused(f"{where}.{name}: a device has at most {MOST_CHANNELS} channels".removeprefix("."))


def _time(given: float | str | None, where: str) -> float | None:
    return queries.time(where, given) if isinstance(given, str) else given


def _channel(given: ChannelDescription, where: str) -> Channel:
    try:
        channel = Channel(units.spelled(given.unit), given.kind, given.label)
    except ValueError as error:
        raise RequestRefused(f"{where}.unit: {error}") from None
    return msgspec.structs.replace(channel, rollover=given.rollover) if given.rollover else channel
