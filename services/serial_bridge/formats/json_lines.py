"""Lines that are JSON objects: `{"device": "boiler", "time": 1763633000, "temperature": 61.5}`.

`device` and `time` (seconds since 1970 UTC) are optional. The members of an object in the
object become channels of their own: `{"battery": {"voltage": 13.1}}` is `battery_voltage`.
"""

import json
from collections.abc import Iterator, Mapping

from heliograph.messages import Value, finite, one_line
from services.serial_bridge import names, sources
from services.serial_bridge.nodes import Node
from services.serial_bridge.options import Source
from services.serial_bridge.readings import Format, NotAReading, Reading

DEEPEST = 8


def parser(source: Source, _nodes: Mapping[str, Node]) -> Format:
    """Return what reads the lines of a port."""
    sources.only_lines_have(source, "columns", "pattern", "node_offset")
    about = sources.about(source)

    def read(line: str) -> Reading:
        found = members(line)
        name = found.pop("device", None)
        if not isinstance(name, str | None):
            raise NotAReading("the device is not a text")
        given = found.pop("time", None)
        at = None if given is None else sources.moment(given)
        values: dict[str, Value] = {}
        refused = []
        no_sensor = 0
        for key, item in _flat(found, DEEPEST):
            if item is None:
                no_sensor += 1
                continue
            try:
                channel = names.channel(key)
                if channel in values:
                    raise ValueError(f"{channel} is there already")
                values[channel] = _value(item)
            except ValueError as error:
                refused.append(f"{key[:80]!r}: {error}")
        device = sources.device(name, source)
        return Reading(device, values, about, at, no_sensor, tuple(refused))

    return read


def members(line: str) -> dict[str, object]:
    """Return the members of the object that a line is; raise NotAReading if it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise NotAReading("not JSON") from None
    if not isinstance(found, dict):
        raise NotAReading("not a JSON object")
    return found


def _flat(found: dict[str, object], deepest: int) -> Iterator[tuple[str, object]]:
    for key, item in found.items():
        if isinstance(item, dict) and deepest:
            for inner, value in _flat(item, deepest - 1):
                yield f"{key}_{inner}", value
        else:
            yield key, item


def _value(item: object) -> Value:
    if isinstance(item, bool):
        return item
    if isinstance(item, int | float):
        return finite(item)
    if isinstance(item, str):
        return one_line(item)
    raise ValueError("neither a number nor a text nor true nor false")
