"""Lines of a node and its values: `15 69 1664`, OemGateway's generic frame and emonHub's serial one.

The first number is the node, the others are the values as they are: nothing is packed.
A node in [serial_bridge.nodes] gives them names, scales, units and kinds; its datacodes do
not matter here. Any other node is the device `node15`, with channels 1, 2, 3 …
"""

import re

from services.serial_bridge.parsing.readings import Detection, LineParser, NotAReading, ParsedReading
from services.serial_bridge.parsing.values import number
from services.serial_bridge.source import ParserContext, SourceOptions

BAUD = 9600
DETECTION = Detection()
MAX_VALUES = 255
_LINE = re.compile(r"[0-9]{1,4}(?:\.0+)?(?:\s+\S+)+")


def parser(source: SourceOptions, context: ParserContext) -> LineParser:
    """Return the parser of the lines of a port; `15` and OemGateway's `15.0` are the same node."""
    source.refuse("columns", "pattern", "device")
    description = context.describe(source)

    def parse(line: str) -> ParsedReading:
        line = line.strip()
        if not _LINE.fullmatch(line):
            raise NotAReading("not a node and its values")
        first, *texts = line.split()
        if len(texts) > MAX_VALUES:
            raise NotAReading("not a node and its values")
        node = context.node(int(float(first)), source)
        try:
            values = [number(text) for text in texts]
        except ValueError as error:
            raise NotAReading(str(error)) from None
        if node in context.node_decoders:
            return context.node_decoders[node].named(values)
        return ParsedReading(
            f"node{node}", {str(position): value for position, value in enumerate(values, 1)}, description
        )

    return parse
