"""OpenEnergyMonitor's serial format 2: lines of an emonTx V4, V5 or emonPi 2 on a serial port.

`{"power1":100,"power2":200.5}`, `power1:100,power2:200`, or the packets of other nodes that
it hears, `OK 19 205 0 0 0 36 2 31 0 (-75)` (emonHub, EmonHubOEMInterfacer).
"""

import re
from collections.abc import Mapping

from heliograph.messages import Value, finite
from services.serial_bridge import names, sources
from services.serial_bridge.channels import NO_SENSOR_C
from services.serial_bridge.formats.emontx_esp import CHANNELS
from services.serial_bridge.formats.json_lines import members
from services.serial_bridge.formats.key_value import pairs
from services.serial_bridge.formats.rfm2pi import packets, remark
from services.serial_bridge.nodes import Node
from services.serial_bridge.options import Source
from services.serial_bridge.readings import About, Format, NotAReading, Reading, Remark

BAUD = 115_200
_PAIRS = re.compile(r"[\w-]+:[^\s,=:]*(?:,[\w-]+:[^\s,=:]*)*,?", re.ASCII)


def parser(source: Source, nodes: Mapping[str, Node]) -> Format:
    """Return what reads the lines of a device, and of the nodes that it hears."""
    sources.only_lines_have(source, "columns", "pattern")
    about = sources.about(source, "OpenEnergyMonitor device", CHANNELS)
    device = sources.device(None, source)
    decode = packets(source, nodes)

    def read(line: str) -> Reading | Remark:
        line = line.strip()
        if line.startswith("{"):
            return _object(line, device, about)
        if _PAIRS.fullmatch(line):
            return pairs(line.rstrip(","), device, about)
        return decode(line) or remark(line)

    return read


def _object(line: str, device: str, about: About) -> Reading:
    """Return the numbers of an object; anything else in it is refused."""
    values: dict[str, Value] = {}
    refused = []
    no_sensor = 0
    for key, item in members(line).items():
        try:
            if isinstance(item, bool) or not isinstance(item, int | float):
                raise ValueError("not a number")
            name, value = names.channel(key), finite(item)
            if name in values:
                raise ValueError(f"{name} is there already")
        except ValueError as error:
            refused.append(f"{key[:80]!r}: {error}")
            continue
        if value in NO_SENSOR_C and sources.is_celsius(about, name):
            no_sensor += 1
        else:
            values[name] = value
    if refused and not values and not no_sensor:
        raise NotAReading(refused[0])
    return Reading(device, values, about, no_sensor=no_sensor, refused=tuple(refused))
