r"""Lines that match a pattern: its named groups are the channels, `device` and `time` are what they say.

`pattern = "T=(?P<temperature>[-0-9.]+) H=(?P<humidity>\\d+)%"`, in the syntax of Python's `re`.
"""

import re
from collections.abc import Mapping

from services.serial_bridge import names, sources
from services.serial_bridge.formats.csv import row_reading
from services.serial_bridge.nodes import Node
from services.serial_bridge.options import Source
from services.serial_bridge.readings import Format, NotAReading, Reading

BAUD = 9600


def parser(source: Source, _nodes: Mapping[str, Node]) -> Format:
    """Return what reads the lines of a port with this pattern."""
    sources.only_lines_have(source, "columns", "node_offset")
    try:
        pattern = re.compile(source.pattern)
    except re.error as error:
        raise ValueError(f"pattern: {error}") from None
    if not set(pattern.groupindex) - {"device", "time"}:
        raise ValueError("pattern: it has no group with a name, (?P<name>…)")
    for name in pattern.groupindex:
        names.channel(name)
    about = sources.about(source)

    def read(line: str) -> Reading:
        found = pattern.search(line)
        if not found:
            raise NotAReading("the pattern does not match")
        return row_reading({name: text for name, text in found.groupdict().items() if text is not None}, source, about)

    return read
