"""Lines that are JSON objects: `{"device": "boiler", "time": 1763633000, "temperature": 61.5}`.

`device` and `time` (seconds since 1970 UTC) are optional. The members of an object in the
object become channels of their own: `{"battery": {"voltage": 13.1}}` is `battery_voltage`.
"""

import json
from collections.abc import Iterator

from heliograph.messages import Value, finite, one_line
from services.serial_bridge import named_values
from services.serial_bridge.readings import Format, NotAReading, Reading, Recognition
from services.serial_bridge.source import Context, Source

RECOGNITION = Recognition(specificity=2)
DEEPEST = 8


def parser(source: Source, context: Context) -> Format:
    """Return what reads the lines of a port."""
    source.refuse("columns", "pattern", "node_offset")
    about = context.about(source)

    def read(line: str) -> Reading:
        found = members(line)
        name = found.pop("device", None)
        if not isinstance(name, str | None):
            raise NotAReading("the device is not a text")
        given = found.pop("time", None)
        at = None if given is None else named_values.moment(given)
        values: dict[str, Value] = {}
        texts: dict[str, str] = {}
        refused = []
        no_sensor = 0
        for key, item in _flat(found, DEEPEST):
            if item is None:
                no_sensor += 1
                continue
            try:
                channel = context.rule.channel(key)
                if channel in values:
                    raise ValueError(f"{channel} is there already")
                values[channel], texts[channel] = _value(item), key
            except ValueError as error:
                refused.append(f"{key[:80]!r}: {error}")
        device = context.device(name, source)
        return Reading(device, values, about, at, no_sensor, tuple(refused), texts, name or "")

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
                yield f"{key}.{inner}", value
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
