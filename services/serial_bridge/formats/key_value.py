"""Lines of names and numbers: `boiler temperature=61.5 flow=4.2`, `MSG:1,Vrms:241.16,P1:523`.

The first word is the device, unless it is a name and a number already; then the device is
the one of the port. `=` or `:` stands between name and number, spaces or commas between
the pairs. A line with anything else in it is noise as a whole: there is no checksum.
"""

import re

from heliograph import names
from heliograph.messages import Value
from services.serial_bridge import named_values
from services.serial_bridge.channels import NO_SENSOR_C
from services.serial_bridge.readings import About, Format, NotAReading, Reading, Recognition
from services.serial_bridge.source import Context, Source
from services.serial_bridge.values import number

RECOGNITION = Recognition(specificity=1)
_LINE = re.compile(
    r"(?:([A-Za-z][\w.-]*)\s+)?([\w.-]+[=:][^\s,=:]*(?:[\s,]+[\w.-]+[=:][^\s,=:]*)*),?",
    re.ASCII,
)
_BETWEEN = re.compile(r"[\s,]+", re.ASCII)
_WITHIN = re.compile("[=:]")
_NOT_FINITE = {*named_values.NOT_FINITE, ""}


def parser(source: Source, context: Context) -> Format:
    """Return what reads the lines of a port."""
    source.refuse("columns", "pattern", "node_offset")
    about = context.about(source)

    def read(line: str) -> Reading:
        found = _LINE.fullmatch(line.strip())
        if not found:
            raise NotAReading("not names and numbers")
        reading = pairs(found[2], context.device(found[1], source), about, context.rule)
        return reading._replace(device_text=found[1] or "")

    return read


def pairs(text: str, device: str, about: About, rule: names.Rule) -> Reading:
    """Return what pairs of names and numbers say; raise NotAReading if one of them is none."""
    values: dict[str, Value] = {}
    texts: dict[str, str] = {}
    refused = []
    no_sensor = 0
    for pair in _BETWEEN.split(text):
        key, written = _WITHIN.split(pair)
        if written.lower() in _NOT_FINITE:
            refused.append(f"{key}: {written!r} is not a finite number")
            continue
        try:
            name, value = rule.channel(key), number(written)
        except ValueError as error:
            raise NotAReading(str(error)) from None
        if name in values:
            refused.append(f"{key}: {name} is there already")
        elif value in NO_SENSOR_C and named_values.is_celsius(about, name):
            no_sensor += 1
        else:
            values[name], texts[name] = value, key
    return Reading(device, values, about, None, no_sensor, tuple(refused), texts)
