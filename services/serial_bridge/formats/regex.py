r"""Lines that match a pattern: its named groups are the channels, `device` and `time` are what they say.

`pattern = "T=(?P<temperature>[-0-9.]+) H=(?P<humidity>\\d+)%"`, in the syntax of Python's `re`.
"""

import re

from services.serial_bridge.channels import named
from services.serial_bridge.formats.csv import row_reading
from services.serial_bridge.readings import Format, NotAReading, Reading
from services.serial_bridge.source import Context, Source

BAUD = 9600


def parser(source: Source, context: Context) -> Format:
    """Return what reads the lines of a port with this pattern."""
    source.refuse("columns", "node_offset")
    try:
        pattern = re.compile(source.pattern)
    except re.error as error:
        raise ValueError(f"pattern: {error}") from None
    if not set(pattern.groupindex) - {"device", "time"}:
        raise ValueError("pattern: it has no group with a name, (?P<name>…)")
    named("pattern", pattern.groupindex, context.rule)
    about = context.about(source)

    def read(line: str) -> Reading:
        found = pattern.search(line)
        if not found:
            raise NotAReading("the pattern does not match")
        row = {name: text for name, text in found.groupdict().items() if text is not None}
        return row_reading(row, source, context, about)

    return read
