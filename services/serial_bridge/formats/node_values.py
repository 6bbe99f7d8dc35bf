"""Lines of a node and its values: `15 69 1664`, OemGateway's generic frame and emonHub's serial one.

The first number is the node, the others are the values as they are: nothing is packed.
A node in [serial_bridge.nodes] gives them names, scales, units and kinds; its datacodes do
not matter here. Any other node is the device `node15`, with channels 1, 2, 3 …
"""

import re

from services.serial_bridge.nodes import LARGEST_NODE
from services.serial_bridge.readings import Format, NotAReading, Reading, Recognition
from services.serial_bridge.source import Context, Source
from services.serial_bridge.values import number

BAUD = 9600
RECOGNITION = Recognition()
MOST_VALUES = 255
_LINE = re.compile(r"[0-9]{1,4}(?:\.0+)?(?:\s+\S+)+")


def parser(source: Source, context: Context) -> Format:
    """Return what reads the lines of a port; `15` and OemGateway's `15.0` are the same node."""
    source.refuse("columns", "pattern", "device")
    about = context.about(source)

    def read(line: str) -> Reading:
        line = line.strip()
        if not _LINE.fullmatch(line):
            raise NotAReading("not a node and its values")
        first, *texts = line.split()
        node = int(float(first)) + source.node_offset
        if node > LARGEST_NODE or len(texts) > MOST_VALUES:
            raise NotAReading("not a node and its values")
        try:
            values = [number(text) for text in texts]
        except ValueError as error:
            raise NotAReading(str(error)) from None
        if node in context.layouts:
            return context.layouts[node].named(values)
        return Reading(f"node{node}", {str(place): value for place, value in enumerate(values, 1)}, about)

    return read
