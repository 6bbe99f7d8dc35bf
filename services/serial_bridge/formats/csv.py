r"""Lines of values in the order of the port's `columns`: `61.5;4.2;on`.

A column without a name is skipped; `device` and `time` (seconds since 1970 UTC) are what
they say. `separator` is between the values, `\t` for a tab; decimal commas are only
understood where it is another character.
"""

import re
from collections.abc import Mapping

from services.serial_bridge import names, sources
from services.serial_bridge.nodes import Node
from services.serial_bridge.options import Source
from services.serial_bridge.readings import About, Format, NotAReading, Reading

BAUD = 9600
_DECIMAL_COMMA = re.compile(r"([+-]?[0-9]+),([0-9]+)")


def parser(source: Source, _nodes: Mapping[str, Node]) -> Format:
    """Return what reads the lines of a port with these columns."""
    sources.only_lines_have(source, "pattern", "node_offset")
    columns = source.columns
    if not any(columns):
        raise ValueError("columns: csv needs the names of the values")
    made = [names.channel(column) for column in columns if column]
    if len(set(made)) < len(made):
        raise ValueError("columns: two have the same name")
    about = sources.about(source)

    def read(line: str) -> Reading:
        cells = [cell.strip().strip('"') for cell in line.strip(" ").split(source.separator)]
        if len(cells) != len(columns):
            raise NotAReading(f"{len(cells)} values for {len(columns)} columns", "wrong_lengths")
        row = {column: cell for column, cell in zip(columns, cells, strict=True) if column}
        if list(row) == list(row.values()):
            raise NotAReading("the header")
        if source.separator != ",":
            row = {column: _DECIMAL_COMMA.sub(r"\1.\2", cell) for column, cell in row.items()}
        return row_reading(row, source, about)

    return read


def row_reading(row: dict[str, str], source: Source, about: About) -> Reading:
    """Return what named texts say, `device` and `time` among them; raise NotAReading if they make no reading."""
    device = sources.device(row.pop("device", None) or None, source)
    at = sources.written_moment(row.pop("time")) if "time" in row else None
    reading = sources.named(row.items(), device, about, at)
    if not (reading.values or reading.no_sensor):
        raise NotAReading("none of the values is a number")
    return reading
