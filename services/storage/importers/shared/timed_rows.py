"""Rows of a file with local times, on their way into parts: those of an hour that comes twice wait until they are distinguished."""

from typing import Any, Literal, NamedTuple

from services.storage.importers.shared.parts import PartBuilder
from services.storage.importers.shared.repeated_hour import Moment, RepeatedHours

Hour = Literal["", "first", "second"]
UNRESOLVED = (
    "in the hour that comes twice, and the order of the rows does not show which of the two: "
    "--repeated-hour first (or second) decides for all such readings"
)

Reading = tuple[str, str, tuple[str, ...], list[Any]]  # node, device, channels, and a value (or None) for each channel


class TimedRow(NamedTuple):
    """A row: its time, where it is in the file, and the readings that it has."""

    moment: Moment
    line: int
    text: str
    readings: list[Reading]

    @property
    def series(self) -> set[tuple[str, str, str]]:
        """The names of the series that the row has values of."""
        return {
            (node, device, channel)
            for node, device, channels, values in self.readings
            for channel, value in zip(channels, values, strict=True)
            if value is not None
        }


class TimedRows:
    """Adds rows to the parts of a file; `hour` is the one of those that cannot be distinguished, "" sets them aside."""

    def __init__(self, parts: PartBuilder, hour: Hour) -> None:
        self._parts = parts
        self._hour = hour
        self._hours: RepeatedHours[TimedRow] = RepeatedHours(self._emit, lambda row: row.series)

    def take(self, row: TimedRow) -> None:
        """Take the next row of the file."""
        self._hours.take(row.moment, row)

    def finish(self) -> None:
        """Add every row that still waits."""
        self._hours.finish()

    def _emit(self, row: TimedRow, time: float | None) -> None:
        if time is None and self._hour:
            time = row.moment.first if self._hour == "first" else row.moment.second
        if time is None:
            self._parts.set_aside(row.line, UNRESOLVED, row.text)
            return
        for node, device, channels, values in row.readings:
            self._parts.add(node, device, channels, [time, *values], row.line)
