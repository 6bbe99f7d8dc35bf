r"""Lines of values in the order of the port's `columns`: `61.5;4.2;on`.

A column without a name is skipped; `device` and `time` (seconds since 1970 UTC) are what
they say. `separator` is between the values, `\t` for a tab; decimal commas are only
understood where it is another character.
"""

import re

from services.serial_bridge.parsing import named_values
from services.serial_bridge.parsing.channels import named
from services.serial_bridge.parsing.readings import Description, LineParser, NotAReading, ParsedReading
from services.serial_bridge.source import ParserContext, SourceOptions

BAUD = 9600
_DECIMAL_COMMA = re.compile(r"([+-]?[0-9]+),([0-9]+)")


def parser(source: SourceOptions, context: ParserContext) -> LineParser:
    """Return the parser of lines with the columns of the port."""
    source.refuse("pattern", "node_offset")
    columns = source.columns
    if not any(columns):
        raise ValueError("columns: csv needs the names of the values")
    named("columns", filter(None, columns), context.rule)
    description = context.describe(source)

    def parse(line: str) -> ParsedReading:
        cells = [cell.strip().strip('"') for cell in line.strip(" ").split(source.separator)]
        if len(cells) != len(columns):
            raise NotAReading(f"{len(cells)} values for {len(columns)} columns", "wrong_lengths")
        row = {column: cell for column, cell in zip(columns, cells, strict=True) if column}
        if list(row) == list(row.values()):
            raise NotAReading("the header")
        if source.separator != ",":
            row = {column: _DECIMAL_COMMA.sub(r"\1.\2", cell) for column, cell in row.items()}
        return row_reading(row, source, context, description)

    return parse


def row_reading(
    row: dict[str, str], source: SourceOptions, context: ParserContext, description: Description
) -> ParsedReading:
    """Return the reading of named texts, `device` and `time` among them; raise NotAReading if none is a number."""
    device_text = row.pop("device", "")
    time = row.pop("time", "").strip()
    at = named_values.written_timestamp(time) if time else None
    reading = named_values.reading(row.items(), context.device(device_text or None, source), description, context.rule)
    if not (reading.values or reading.no_sensor):
        raise NotAReading("none of the values is a number")
    return reading._replace(at=at, device_text=device_text)
