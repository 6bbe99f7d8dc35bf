"""Lines that are JSON objects: `{"device": "boiler", "time": 1763633000, "temperature": 61.5}`.

`device` and `time` (UTC seconds or ISO 8601) are optional. The members of an object in the
object become channels of their own: `{"battery": {"voltage": 13.1}}` is `battery_voltage`.
"""

from collections.abc import Iterator

from heliograph import tolerant_json
from heliograph.messages import Value, finite, one_line
from services.serial_bridge.parsing import named_values
from services.serial_bridge.parsing.readings import Detection, LineParser, NotAReading, ParsedReading
from services.serial_bridge.source import ParserContext, SourceOptions

DETECTION = Detection(specificity=2)
DEEPEST = 8


def parser(source: SourceOptions, context: ParserContext) -> LineParser:
    """Return the parser of the lines of a port."""
    source.refuse("columns", "pattern", "node_offset")
    description = context.describe(source)

    def parse(line: str) -> ParsedReading:
        item = members(line)
        name = item.pop("device", None)
        if not isinstance(name, str | None):
            raise NotAReading("the device is not a text")
        given = item.pop("time", None)
        at = None if given is None else named_values.timestamp(given)
        named = named_values.NamedValues()
        refused = []
        no_sensor = 0
        for key, value in _flat(item, DEEPEST):
            if value is None:
                no_sensor += 1
                continue
            try:
                named.add(context.rule.channel(key), key, _value(value))
            except ValueError as error:
                refused.append(f"{key[:80]!r}: {error}")
        device = context.device(name, source)
        reading = ParsedReading(device, {}, description, at, no_sensor, tuple(refused), device_text=name or "")
        return named.complete(reading)

    return parse


def members(line: str) -> dict[str, object]:
    """Return the members of the JSON object in a line, None for those without a value; raise NotAReading if it is not one."""
    try:
        document = tolerant_json.decode(line)
    except ValueError:
        raise NotAReading("not JSON") from None
    if not isinstance(document, dict):
        raise NotAReading("not a JSON object")
    return document


def _flat(document: dict[str, object], deepest: int) -> Iterator[tuple[str, object]]:
    for key, item in document.items():
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
    raise ValueError("not a number, text, true or false")
