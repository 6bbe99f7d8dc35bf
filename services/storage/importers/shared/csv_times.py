"""The column of a CSV file with its times, or the two with dates and times of day."""

from collections.abc import Sequence

from services.storage.importers.shared.repeated_hour import Moment
from services.storage.importers.shared.times import TimeParser

TIME_NAMES = (
    *("time", "timestamp", "datetime", "date", "date_time", "date time", "date/time", "utc", "last_changed"),
    *("zeit", "datum", "zeitstempel", "uhrzeit", "datum/zeit", "datum/uhrzeit", "datum zeit", "datum uhrzeit"),
)
DATES = ("date", "datum")
TIMES_OF_DAY = ("time", "zeit", "uhrzeit")


class TimeColumns:
    """Finds the times in the rows below a header; `given` names the column, or the one of dates and that of times of day.

    Raises KeyError for a given name that the header does not have, LookupError if there is none with a usual name.
    """

    def __init__(self, header: Sequence[str], given: Sequence[str], times: TimeParser) -> None:
        self._times = times
        names = [cell.strip() for cell in header]
        if given:
            for name in given:
                if name not in names:
                    raise KeyError(name)
            self._choices = [tuple(names.index(name) for name in given)]
        else:
            self._choices = _usual([name.lower() for name in names])

    @property
    def indexes(self) -> frozenset[int]:
        """The columns that are of no channel."""
        return frozenset(index for choice in self._choices for index in choice)

    def moment(self, cells: Sequence[str]) -> Moment:
        """Return the time of a row; raise ValueError, with a message that is the same for all such rows."""
        if len(self._choices) == 1 and len(self._choices[0]) == 1:
            return self._times.moment(cells[self._choices[0][0]])
        for choice in self._choices:
            try:
                moment = self._times.moment(" ".join(cells[index].strip() for index in choice))
            except ValueError as error:
                why = error
            else:
                self._choices = [choice]
                return moment
        raise why


def _usual(names: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the columns with usual names, those first that are tried first."""
    date = next((names.index(name) for name in DATES if name in names), None)
    time_of_day = next((names.index(name) for name in TIMES_OF_DAY if name in names), None)
    if date is not None and time_of_day is not None:
        # a date alone is a time, too: so it comes last
        return [(time_of_day,), (date, time_of_day), (date,)]
    for name in TIME_NAMES:
        if name in names:
            return [(names.index(name),)]
    raise LookupError
