"""Lines of RFM2Pi, RFM12Pi and JeeLink receivers: `OK 19 205 0 0 0 36 2 31 0 (-75)`.

A node, its bytes in decimal, and the signal strength in dBm; `OK` and the strength may be
missing, as in older firmware. The other lines are those of RF12demo and of emonHub's
EmonHubJeeInterfacer: packets with a bad checksum begin with `?`, acknowledgements have a
`>`, and the settings have ` i`, ` g`, ` @ ` and ` MHz`.
"""

import re
from collections.abc import Callable

from services.serial_bridge.nodes import LARGEST_NODE
from services.serial_bridge.radio import tells_settings
from services.serial_bridge.readings import Format, NotAReading, Reading, Recognition, Remark, UnknownNode
from services.serial_bridge.source import Context, Source

RECOGNITION = Recognition(specificity=2)
_PACKET = re.compile(r"(?:OK\s+)?([0-9]{1,4})((?:\s+[0-9]{1,3}){1,255})(?:\s+\((-?[0-9]{1,3})\))?")
BAD_CHECKSUM = Remark("bad_checksums")
ACKNOWLEDGEMENT = Remark("acknowledgements")
FIRMWARE = Remark("firmware_lines")


def parser(source: Source, context: Context) -> Format:
    """Return what reads the lines of a receiver of these nodes."""
    for option in ("device", "model", "units", "kinds", "interval", "columns", "pattern"):
        if source.format == "rfm2pi" and getattr(source, option):
            raise ValueError(f"{option}: with rfm2pi, the nodes have it")
    decode = packets(source, context)

    def read(line: str) -> Reading | Remark:
        line = line.strip()
        return decode(line) or remark(line)

    return read


def packets(source: Source, context: Context) -> Callable[[str], Reading | None]:
    """Return what decodes the packets of these nodes, and returns None for a line that is no packet."""

    def decode(line: str) -> Reading | None:
        packet = _PACKET.fullmatch(line)
        if not packet:
            return None
        try:
            payload = bytes(map(int, packet[2].split()))
        except ValueError:
            raise NotAReading("a byte is larger than 255") from None
        number = int(packet[1]) + source.node_offset
        if number > LARGEST_NODE:
            raise NotAReading(f"no radio node has the number {number}")
        if number not in context.layouts:
            raise UnknownNode(number, len(payload))
        rssi = None if packet[3] is None else int(packet[3])
        return context.layouts[number].decode(payload, rssi)

    return decode


def remark(line: str) -> Remark:
    """Return what a receiver says of itself in a line; raise NotAReading if it is no line of a receiver."""
    if line.startswith("?"):
        return BAD_CHECKSUM
    if tells_settings(line):
        return Remark("settings_lines", line[:200])
    if ">" in line:
        return ACKNOWLEDGEMENT
    if line.startswith(("\x01", "[RF", "Available commands")):
        return FIRMWARE
    raise NotAReading("not a line of a radio receiver")
