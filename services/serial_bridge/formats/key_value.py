"""Lines of names and numbers: `boiler temperature=61.5 flow=4.2`, `MSG:1,Vrms:241.16,P1:523`.

The first word is the device, unless it is a name and a number already; then the device is
the one of the port. `=` or `:` separates name and number, spaces or commas between
the pairs. A line with anything else in it is noise as a whole: there is no checksum.
"""

import re

from heliograph import names, tolerant_json
from services.serial_bridge.parsing import named_values
from services.serial_bridge.parsing.channels import NO_SENSOR_C
from services.serial_bridge.parsing.readings import Description, Detection, LineParser, NotAReading, ParsedReading
from services.serial_bridge.parsing.values import number
from services.serial_bridge.source import ParserContext, SourceOptions

DETECTION = Detection(specificity=1)
_LINE = re.compile(
    r"(?:([A-Za-z][\w.-]*)\s+)?([\w.-]+[=:][^\s,=:]*(?:[\s,]+[\w.-]+[=:][^\s,=:]*)*),?",
    re.ASCII,
)
_BETWEEN = re.compile(r"[\s,]+", re.ASCII)
_WITHIN = re.compile("[=:]")


def parser(source: SourceOptions, context: ParserContext) -> LineParser:
    """Return the parser of the lines of a port."""
    source.refuse("columns", "pattern", "node_offset")
    description = context.describe(source)

    def parse(line: str) -> ParsedReading:
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise NotAReading("not names and numbers")
        reading = pairs(match[2], context.device(match[1], source), description, context.rule)
        return reading._replace(device_text=match[1] or "")

    return parse


def pairs(text: str, device: str, description: Description, rule: names.NamingRule) -> ParsedReading:
    """Return what pairs of names and numbers say; raise NotAReading if one of them is not one."""
    named = named_values.NamedValues()
    refused = []
    no_sensor = 0
    for pair in _BETWEEN.split(text):
        key, written = _WITHIN.split(pair)
        if not written or tolerant_json.is_not_finite(written):
            refused.append(f"{key}: {written!r} is not a finite number")
            continue
        try:
            name, value = rule.channel(key), number(written)
        except ValueError as error:
            raise NotAReading(str(error)) from None
        if value in NO_SENSOR_C and named_values.is_celsius(description, name):
            no_sensor += 1
            continue
        try:
            named.add(name, key, value)
        except ValueError as error:
            refused.append(f"{key}: {error}")
    return named.complete(ParsedReading(device, {}, description, None, no_sensor, tuple(refused)))
