"""Times as other systems write them, parsed."""

import re
from datetime import UTC, datetime, tzinfo

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
NUMBER = re.compile(r"\d{1,20}(?:\.\d*)?")
# Of the times that a store takes (2000 to 2100), each unit has its own range of numbers.
LARGEST = (("s", 1e10), ("ms", 1e13), ("us", 1e16), ("ns", float("inf")))


class TimeParser:
    """Parses the times of one file, in their order, which distinguishes the two hours of an autumn night with one name.

    `form` is "auto" (ISO 8601, or seconds, milli-, micro- or nanoseconds since 1970 by their size), "iso", "s", "ms",
    "us", "ns", or a format of `datetime.strptime`. Times without an offset are local times of `zone`.
    """

    def __init__(self, form: str, zone: tzinfo = UTC) -> None:
        self._form = form
        self._zone = zone
        self._last = 0.0

    def seconds(self, text: str) -> float:
        """Return seconds since 1970 UTC; raise ValueError for anything else."""
        text = text.strip()
        if self._form in PER_SECOND:
            return _number(text, self._form)
        if self._form == "auto" and NUMBER.fullmatch(text):
            return _number(text, next(unit for unit, most in LARGEST if float(text) < most))
        try:
            if self._form in ("auto", "iso"):
                moment = datetime.fromisoformat(text)
                return moment.timestamp() if moment.tzinfo else self._utc(moment.replace(tzinfo=self._zone))
            if "%z" in self._form:
                return datetime.strptime(text, self._form).astimezone(UTC).timestamp()
            return self._utc(datetime.strptime(text, self._form).replace(tzinfo=self._zone))
        except OverflowError:
            raise ValueError(f"{text[:40]!r} is out of range") from None

    def _utc(self, moment: datetime) -> float:
        first, second = moment.timestamp(), moment.replace(fold=1).timestamp()
        # second < first is an hour that the clocks skipped in spring: a clock that was not set
        seconds = second if first < self._last <= second else first
        self._last = seconds
        return seconds


def _number(text: str, unit: str) -> float:
    if not NUMBER.fullmatch(text.removeprefix("-")):
        raise ValueError(f"{text[:40]!r} is not a number of {unit}")
    per_second = PER_SECOND[unit]
    return int(text) / per_second if "." not in text else float(text) / per_second
