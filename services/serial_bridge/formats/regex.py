r"""Lines that match a pattern: the named groups of `pattern` are the channels.

`pattern = "T=(?P<temperature>[-0-9.]+) H=(?P<humidity>\\d+)%"`, in the syntax of Python's `re`.
"""

import re

from services.serial_bridge.formats.csv import row_reading
from services.serial_bridge.parsing.channels import named
from services.serial_bridge.parsing.readings import LineParser, NotAReading, ParsedReading
from services.serial_bridge.source import ParserContext, SourceOptions

BAUD = 9600


def parser(source: SourceOptions, context: ParserContext) -> LineParser:
    """Return the parser of lines that match the pattern of the port."""
    source.refuse("columns", "node_offset")
    try:
        pattern = re.compile(source.pattern)
    except re.error as error:
        raise ValueError(f"pattern: {error}") from None
    if not set(pattern.groupindex) - {"device", "time"}:
        raise ValueError("pattern: it has no group with a name, (?P<name>…)")
    named("pattern", pattern.groupindex, context.rule)
    description = context.describe(source)

    def parse(line: str) -> ParsedReading:
        match = pattern.search(line)
        if not match:
            raise NotAReading("the pattern does not match")
        row = {name: text for name, text in match.groupdict().items() if text is not None}
        return row_reading(row, source, context, description)

    return parse
