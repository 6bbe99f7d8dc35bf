"""Lines of RFM2Pi, RFM12Pi and JeeLink receivers: `OK 19 205 0 0 0 36 2 31 0 (-75)`.

A node, its bytes in decimal, and the signal strength in dBm; `OK` and the strength may be
missing, as in older firmware. The other lines are those of RF12demo and of emonHub's
EmonHubJeeInterfacer: packets with a bad checksum begin with `?`, acknowledgements have a
`>`, and the settings have ` i`, ` g`, ` @ ` and ` MHz`.
"""

import re
from collections.abc import Mapping

from services.serial_bridge.nodes import Node, layouts
from services.serial_bridge.options import Port
from services.serial_bridge.readings import Format, NotAReading, Reading, Remark

_PACKET = re.compile(r"(?:OK\s+)?([0-9]{1,4})((?:\s+[0-9]{1,3}){1,255})(?:\s+\((-?[0-9]{1,3})\))?")
_SETTINGS = (" i", " g", " @ ", " MHz")
BAD_CHECKSUM = Remark("bad_checksums")
ACKNOWLEDGEMENT = Remark("acknowledgements")
FIRMWARE = Remark("firmware_lines")


def parser(port: Port, nodes: Mapping[str, Node]) -> Format:
    """Return what reads the lines of a receiver of these nodes."""
    for option in ("device", "model", "units", "kinds", "interval"):
        if getattr(port, option):
            raise ValueError(f"{option}: with rfm2pi, the nodes have it")
    decoders = layouts(nodes)

    def read(line: str) -> Reading | Remark:
        line = line.strip()
        packet = _PACKET.fullmatch(line)
        if not packet:
            return _remark(line)
        number = int(packet[1])
        if number not in decoders:
            raise NotAReading(f"no node {number} in [serial_bridge.nodes]", "unknown_nodes")
        try:
            payload = bytes(map(int, packet[2].split()))
        except ValueError:
            raise NotAReading("a byte is larger than 255") from None
        rssi = None if packet[3] is None else int(packet[3])
        return decoders[number].decode(payload, rssi)

    return read


def _remark(line: str) -> Remark:
    if line.startswith("?"):
        return BAD_CHECKSUM
    if all(mark in line for mark in _SETTINGS):
        return Remark("settings_lines", line[:200])
    if ">" in line:
        return ACKNOWLEDGEMENT
    if line.startswith(("\x01", "[RF", "Available commands")):
        return FIRMWARE
    raise NotAReading("not a line of a radio receiver")
