"""Lines of RFM2Pi, RFM12Pi and JeeLink receivers: `OK 19 205 0 0 0 36 2 31 0 (-75)`.

A node, its bytes in decimal, and the signal strength in dBm; `OK` and the strength may be
missing, as in older firmware. The other lines are those of RF12demo and of emonHub's
EmonHubJeeInterfacer: packets with a bad checksum begin with `?`, acknowledgements have a
`>`, and the settings have ` i`, ` g`, ` @ ` and ` MHz`.
"""

import re
from collections.abc import Callable

from services.serial_bridge.parsing.readings import (
    Detection,
    LineParser,
    NotAReading,
    ParsedReading,
    StatusLine,
    UnknownNode,
)
from services.serial_bridge.radio.commands import is_settings_line
from services.serial_bridge.source import ParserContext, SourceOptions

DETECTION = Detection(specificity=2)
_PACKET = re.compile(r"(?:OK\s+)?([0-9]{1,4})((?:\s+[0-9]{1,3}){1,255})(?:\s+\((-?[0-9]{1,3})\))?")
BAD_CHECKSUM = StatusLine("bad_checksums")
ACKNOWLEDGEMENT = StatusLine("acknowledgements")
FIRMWARE = StatusLine("firmware_lines")


def parser(source: SourceOptions, context: ParserContext) -> LineParser:
    """Return the parser of the lines of a receiver of these nodes."""
    for option in ("device", "model", "units", "kinds", "interval", "columns", "pattern"):
        if source.format == "rfm2pi" and getattr(source, option):
            raise ValueError(f"{option}: not with rfm2pi; set it for its nodes")
    decode = packets(source, context)

    def parse(line: str) -> ParsedReading | StatusLine:
        line = line.strip()
        return decode(line) or status_line(line)

    return parse


def packets(source: SourceOptions, context: ParserContext) -> Callable[[str], ParsedReading | None]:
    """Return the decoder of the packets of these nodes, which returns None for a line that is not a packet."""

    def decode(line: str) -> ParsedReading | None:
        packet = _PACKET.fullmatch(line)
        if not packet:
            return None
        try:
            payload = bytes(map(int, packet[2].split()))
        except ValueError:
            raise NotAReading("a byte is larger than 255") from None
        number = context.node(int(packet[1]), source)
        if number not in context.node_decoders:
            raise UnknownNode(number, len(payload))
        rssi = None if packet[3] is None else int(packet[3])
        return context.node_decoders[number].decode(payload, rssi)

    return decode


def status_line(line: str) -> StatusLine:
    """Return the kind of a line in which a receiver reports on itself; raise NotAReading if it is not one."""
    if line.startswith("?"):
        return BAD_CHECKSUM
    if is_settings_line(line):
        return StatusLine("settings_lines", line[:200])
    if ">" in line:
        return ACKNOWLEDGEMENT
    if line.startswith(("\x01", "[RF", "Available commands")):
        return FIRMWARE
    raise NotAReading("not a line of a radio receiver")
