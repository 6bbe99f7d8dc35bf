"""Times as other systems write them, parsed."""

import re
from datetime import UTC, datetime, tzinfo

from services.storage.importers.shared.repeated_hour import Moment

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]*)?")
# Of the times that a store takes (2000 to 2100), each unit has its own range of numbers.
LARGEST = (("s", 1e10), ("ms", 1e13), ("us", 1e16), ("ns", float("inf")))
SPREADSHEET_DAYS = (20_000, 90_000)  # 1954 to 2146, in days since 1899-12-30


class TimeParser:
    """Parses times.

    `form` is "auto" (ISO 8601, or seconds, milli-, micro- or nanoseconds since 1970 by their size), "iso", "s", "ms",
    "us", "ns", or a format of `datetime.strptime`. Times without an offset are local times of `zone`.
    """

    def __init__(self, form: str, zone: tzinfo = UTC) -> None:
        self._form = form
        self._zone = zone

    def moment(self, text: str) -> Moment:
        """Return seconds since 1970 UTC, two times for a local one that comes twice.

        Raises ValueError for anything else; the message says why, and is the same for all texts of that kind.
        """
        text = text.strip()
        if self._form in PER_SECOND:
            return _number(text, self._form)
        if self._form == "auto" and NUMBER.fullmatch(text):
            number = float(text)
            if SPREADSHEET_DAYS[0] <= number <= SPREADSHEET_DAYS[1]:
                raise ValueError(
                    "a day as spreadsheets count them, not a time: format the cells as dates (2025-01-31 12:00) before export"
                )
            return _number(text, next(unit for unit, most in LARGEST if number < most))
        try:
            if self._form in ("auto", "iso"):
                return self._utc(datetime.fromisoformat(text))
            if "%z" in self._form:
                return self._utc(datetime.strptime(text, self._form).astimezone(UTC))
            moment = datetime.strptime(text, self._form).replace(tzinfo=self._zone)
            return self._local(moment)
        except OverflowError:
            raise ValueError("a time out of range") from None
        except ValueError:
            raise ValueError("not a time") from None

    def only(self, text: str) -> float:
        """Return seconds since 1970 UTC of a time that stands alone; raise ValueError for one that comes twice, and others."""
        moment = self.moment(text)
        if moment.first == moment.second:
            return moment.first
        offsets = [
            datetime.fromtimestamp(time, self._zone).isoformat(" ", "minutes") for time in (moment.first, moment.second)
        ]
        raise ValueError(f"a local time that comes twice: say which, {' or '.join(offsets)}")

    def _utc(self, moment: datetime) -> Moment:
        if moment.tzinfo:
            seconds = moment.timestamp()
            return Moment(seconds, seconds)
        return self._local(moment.replace(tzinfo=self._zone))

    def _local(self, moment: datetime) -> Moment:
        first, second = moment.timestamp(), moment.replace(fold=1).timestamp()
        # second < first is an hour that the clocks skipped in spring: a clock that was not set
        return Moment(first, max(first, second))


def _number(text: str, unit: str) -> Moment:
    if not NUMBER.fullmatch(text.removeprefix("-")):
        raise ValueError(f"not a number of {unit}")
    per_second = PER_SECOND[unit]
    seconds = int(text) / per_second if "." not in text else float(text) / per_second
    return Moment(seconds, seconds)
