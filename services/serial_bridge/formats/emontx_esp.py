"""Lines of an emonTx V3, V4 or V5 on USB or behind its ESP: `MSG:1,Vrms:241.16,P1:523,E1:1234,T1:21.50,pulse:0`.

Only lines that begin with `MSG:` are readings (emonHub, EmonHubTx3eInterfacer); the rest is
the start-up text of the firmware. The channels are those of emonLibCM's firmware.
"""

import re

from heliograph.messages import Channel
from services.serial_bridge.formats.key_value import pairs
from services.serial_bridge.parsing.readings import Detection, LineParser, NotAReading, ParsedReading, StatusLine
from services.serial_bridge.source import ParserContext, SourceOptions

BAUD = 115_200
DETECTION = Detection(specificity=2)
_LINE = re.compile(r"MSG:[0-9]+(?:,[\w-]+:[^\s,=:]*)*,?", re.ASCII)
_TEXT = re.compile(r"[\x20-\x7e\t]+")
TEXT = StatusLine("text_lines")
CHANNELS = {
    "vrms": Channel("V"),
    **{f"v{i}": Channel("V") for i in range(1, 4)},
    **{f"vrms{i}": Channel("V") for i in range(1, 4)},
    **{f"{name}{i}": Channel("W") for name in ("p", "ct") for i in range(1, 13)},
    **{f"e{i}": Channel("Wh", "counter") for i in range(1, 13)},
    **{f"{name}{i}": Channel("°C") for name in ("t", "temp") for i in range(1, 7)},
    **{name: Channel(kind="counter") for name in ("pulse", "pulse1", "pulse2", "pulse3")},
}


def parser(source: SourceOptions, context: ParserContext) -> LineParser:
    """Return the parser of the lines of an emonTx."""
    source.refuse("columns", "pattern", "node_offset")
    description = context.describe(source, "emonTx", CHANNELS)

    def parse(line: str) -> ParsedReading | StatusLine:
        line = line.strip()
        if _LINE.fullmatch(line):
            return pairs(line.rstrip(","), source.device_name, description, context.rule)
        if _TEXT.fullmatch(line) and not line.startswith("MSG:"):
            return TEXT
        raise NotAReading("not a line of an emonTx")

    return parse
