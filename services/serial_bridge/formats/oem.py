"""OpenEnergyMonitor's serial format 2: lines of an emonTx V4, V5 or emonPi 2 on a serial port.

`{"power1":100,"power2":200.5}`, `power1:100,power2:200`, or the packets of other nodes that
it hears, `OK 19 205 0 0 0 36 2 31 0 (-75)` (emonHub, EmonHubOEMInterfacer).
"""

import re

from heliograph import names
from heliograph.messages import Value, finite
from services.serial_bridge import named_values
from services.serial_bridge.channels import NO_SENSOR_C
from services.serial_bridge.formats.emontx_esp import CHANNELS
from services.serial_bridge.formats.json_lines import members
from services.serial_bridge.formats.key_value import pairs
from services.serial_bridge.formats.rfm2pi import packets, remark
from services.serial_bridge.readings import About, Format, NotAReading, Reading, Remark
from services.serial_bridge.source import Context, Source

BAUD = 115_200
_PAIRS = re.compile(r"[\w-]+:[^\s,=:]*(?:,[\w-]+:[^\s,=:]*)*,?", re.ASCII)


def parser(source: Source, context: Context) -> Format:
    """Return what reads the lines of a device, and of the nodes that it hears."""
    source.refuse("columns", "pattern")
    about = context.about(source, "OpenEnergyMonitor device", CHANNELS)
    decode = packets(source, context)

    def read(line: str) -> Reading | Remark:
        line = line.strip()
        if line.startswith("{"):
            return _object(line, source.called, about, context.rule)
        if _PAIRS.fullmatch(line):
            return pairs(line.rstrip(","), source.called, about, context.rule)
        return decode(line) or remark(line)

    return read


def _object(line: str, device: str, about: About, rule: names.Rule) -> Reading:
    """Return the numbers of an object; anything else in it is refused."""
    values: dict[str, Value] = {}
    texts: dict[str, str] = {}
    refused = []
    no_sensor = 0
    for key, item in members(line).items():
        try:
            if isinstance(item, bool) or not isinstance(item, int | float):
                raise ValueError("not a number")
            name, value = rule.channel(key), finite(item)
            if name in values:
                raise ValueError(f"{name} is there already")
        except ValueError as error:
            refused.append(f"{key[:80]!r}: {error}")
            continue
        if value in NO_SENSOR_C and named_values.is_celsius(about, name):
            no_sensor += 1
        else:
            values[name], texts[name] = value, key
    if refused and not values and not no_sensor:
        raise NotAReading(refused[0])
    return Reading(device, values, about, None, no_sensor, tuple(refused), texts)
