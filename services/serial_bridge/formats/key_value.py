"""Lines of names and numbers: `boiler temperature=61.5 flow=4.2`, `MSG:1,Vrms:241.16,P1:523`.

The first word is the device, unless it is a name and a number already; then the device is
the one of the port. `=` or `:` stands between name and number, spaces or commas between
the pairs. A line with anything else in it is noise as a whole: there is no checksum.
"""

import re
from collections.abc import Mapping

from heliograph.messages import Value
from services.serial_bridge import names, sources
from services.serial_bridge.nodes import NO_SENSOR_C, Node
from services.serial_bridge.options import Port
from services.serial_bridge.readings import Format, NotAReading, Reading
from services.serial_bridge.values import number

_LINE = re.compile(
    r"(?:([A-Za-z][\w.-]*)\s+)?([\w.-]+[=:][^\s,=:]*(?:[\s,]+[\w.-]+[=:][^\s,=:]*)*),?",
    re.ASCII,
)
_NOT_FINITE = {"nan", "inf", "+inf", "-inf", "infinity", "-infinity", "ovf", ""}


def parser(port: Port, _nodes: Mapping[str, Node]) -> Format:
    """Return what reads the lines of a port."""
    about = sources.about(port)

    def read(line: str) -> Reading:
        found = _LINE.fullmatch(line.strip())
        if not found:
            raise NotAReading("not names and numbers")
        device = sources.device(found[1], port)
        values: dict[str, Value] = {}
        refused = []
        no_sensor = 0
        for pair in re.split(r"[\s,]+", found[2]):
            key, text = re.split("[=:]", pair)
            if text.lower() in _NOT_FINITE:
                refused.append(f"{key}: {text!r} is not a finite number")
                continue
            try:
                name, value = names.channel(key), number(text)
            except ValueError as error:
                raise NotAReading(str(error)) from None
            if name in values:
                refused.append(f"{key}: {name} is there already")
            elif value in NO_SENSOR_C and sources.is_celsius(about, name):
                no_sensor += 1
            else:
                values[name] = value
        return Reading(device, values, about, no_sensor=no_sensor, refused=tuple(refused))

    return read
