"""The body of POST /readings: what it may say, and what is wrong with it, by item and field. Pure."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from heliograph import mistakes, units
from heliograph.messages import Channel, Kind, Value
from services.api import queries
from services.api.errors import Refused
from services.api.ingest.intake import MOST_CHANNELS, Report

MOST_READINGS = 10_000  # in one request
Positive = Annotated[float, Meta(ge=0, le=1e15)]
Label = Annotated[str, Meta(max_length=100)]


class ChannelGiven(Struct, forbid_unknown_fields=True):
    """What a channel means; `rollover` is where the register of a counter begins again, 0 when unknown."""

    unit: Label = ""
    kind: Kind = "gauge"
    label: Label = ""
    rollover: Positive = 0.0


class InfoGiven(Struct, forbid_unknown_fields=True):
    """What a device is; `interval` is how many seconds are expected between readings. Remembered by the node."""

    model: Label = ""
    interval: Positive = 0.0
    channels: dict[str, ChannelGiven] = {}


class ReadingGiven(Struct, forbid_unknown_fields=True):
    """One reading of a device of this node; `time` is UTC seconds or ISO 8601, now unless given."""

    device: str
    values: dict[str, Value]
    time: float | str | None = None
    info: InfoGiven | None = None


def parse(body: bytes) -> list[Report]:
    """Return the readings of a body, one or a list; raise Refused naming the item and the field."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refused(f"the body is not JSON: {error}", 422) from None
    if not isinstance(content, list):
        return [_report(content, "")]
    if not 0 < len(content) <= MOST_READINGS:
        raise Refused(f"there are {len(content)} readings in the list; it has 1 to {MOST_READINGS}")
    return [_report(item, f"[{number}]") for number, item in enumerate(content)]


def _report(item: Any, place: str) -> Report:
    _measure(item, place)
    try:
        given = msgspec.convert(item, ReadingGiven)
    except msgspec.ValidationError as error:
        raise Refused(place + mistakes.explained(ReadingGiven, item, str(error)).strip().removeprefix(": ")) from None
    dot = f"{place}." if place else ""
    info = given.info or InfoGiven()
    channels = {name: _channel(about, f"{dot}info.channels.{name}") for name, about in info.channels.items()}
    return Report(given.device, given.values, _time(given.time, f"{dot}time"), channels, info.model, info.interval)


def _measure(item: Any, place: str) -> None:
    """Raise Refused for a table that is so long that it would take long to say what is wrong in it."""
    info = item.get("info") if isinstance(item, dict) else None
    for name, table in (
        ("values", item.get("values") if isinstance(item, dict) else None),
        ("info.channels", info.get("channels") if isinstance(info, dict) else None),
    ):
        if isinstance(table, dict) and len(table) > MOST_CHANNELS:
            raise Refused(f"{place}.{name}: a device has at most {MOST_CHANNELS} channels".removeprefix("."))


def _time(given: float | str | None, place: str) -> float | None:
    return queries.time(place, given) if isinstance(given, str) else given


def _channel(given: ChannelGiven, place: str) -> Channel:
    try:
        found = Channel(units.spelled(given.unit), given.kind, given.label)
    except ValueError as error:
        raise Refused(f"{place}.unit: {error}") from None
    return msgspec.structs.replace(found, rollover=given.rollover) if given.rollover else found
