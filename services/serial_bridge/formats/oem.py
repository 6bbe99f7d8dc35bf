"""OpenEnergyMonitor's serial format 2, of an emonTx V4, V5 or emonPi 2: `power1:100,power2:200`, `{"power1":100}`.

`{"power1":100,"power2":200.5}`, `power1:100,power2:200`, or the packets of other nodes that
it receives, `OK 19 205 0 0 0 36 2 31 0 (-75)` (emonHub, EmonHubOEMInterfacer).
"""

import re

from heliograph import names
from heliograph.messages import finite
from services.serial_bridge.formats.emontx_esp import CHANNELS
from services.serial_bridge.formats.json_lines import members
from services.serial_bridge.formats.key_value import pairs
from services.serial_bridge.formats.rfm2pi import packets, status_line
from services.serial_bridge.parsing import named_values
from services.serial_bridge.parsing.channels import NO_SENSOR_C
from services.serial_bridge.parsing.readings import Description, LineParser, NotAReading, ParsedReading, StatusLine
from services.serial_bridge.source import ParserContext, SourceOptions

BAUD = 115_200
_PAIRS = re.compile(r"[\w-]+:[^\s,=:]*(?:,[\w-]+:[^\s,=:]*)*,?", re.ASCII)


def parser(source: SourceOptions, context: ParserContext) -> LineParser:
    """Return the parser of the lines of a device, and of the nodes that it receives."""
    source.refuse("columns", "pattern")
    description = context.describe(source, "OpenEnergyMonitor device", CHANNELS)
    decode = packets(source, context)

    def parse(line: str) -> ParsedReading | StatusLine:
        line = line.strip()
        if line.startswith("{"):
            return _object(line, source.device_name, description, context.rule)
        if _PAIRS.fullmatch(line):
            return pairs(line.rstrip(","), source.device_name, description, context.rule)
        return decode(line) or status_line(line)

    return parse


def _object(line: str, device: str, description: Description, rule: names.NamingRule) -> ParsedReading:
    """Return the numbers of an object; null and NaN are no sensor, anything else is refused."""
    named = named_values.NamedValues()
    refused = []
    no_sensor = 0
    for key, item in members(line).items():
        if item is None:
            no_sensor += 1
            continue
        try:
            if isinstance(item, bool) or not isinstance(item, int | float):
                raise ValueError("not a number")
            name, value = rule.channel(key), finite(item)
            if value in NO_SENSOR_C and named_values.is_celsius(description, name):
                no_sensor += 1
            else:
                named.add(name, key, value)
        except ValueError as error:
            refused.append(f"{key[:80]!r}: {error}")
    if refused and not named.values and not no_sensor:
        raise NotAReading(refused[0])
    return named.complete(ParsedReading(device, {}, description, None, no_sensor, tuple(refused)))
