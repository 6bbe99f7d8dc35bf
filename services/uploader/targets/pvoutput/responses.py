"""The responses of PVOutput: getsystem, getstatus, addbatchstatus, rate headers. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

LOCATION_ITEMS = slice(13, 15)  # of the first section of getsystem: latitude and longitude
INTERVAL_ITEM = 15
DONOR_SECTION = 2
OLDER = re.compile(r"Date is older than (\d+) days?", re.IGNORECASE)


class System(NamedTuple):
    """A system: its interval in seconds, whether its owner donates, and its location."""

    interval: float
    donor: bool
    location: tuple[float, float] | None = None  # degrees north and east


def system(text: str) -> System:
    """Return what getsystem with donations=1 reports; raise ValueError if it is something else."""
    sections = [section.split(",") for section in text.strip().split(";")]
    try:
        minutes = int(sections[0][INTERVAL_ITEM])
        donor = int(sections[DONOR_SECTION][0] or 0) != 0
    except (IndexError, ValueError):
        raise ValueError(f"not a description of a system: {text[:100]!r}") from None
    if not 1 <= minutes <= 60:
        raise ValueError(f"an interval of {minutes} minutes")
    try:
        latitude, longitude = map(float, sections[0][LOCATION_ITEMS])
    except ValueError:
        latitude = longitude = 0.0
    is_known = (latitude, longitude) != (0, 0) and abs(latitude) <= 90 and abs(longitude) <= 180
    return System(60.0 * minutes, donor, (latitude, longitude) if is_known else None)


def status_time(text: str, zone: ZoneInfo) -> float:
    """Return the time (s UTC) of the status that getstatus reports; raise ValueError if it is something else.

    An hour that comes twice in autumn is taken for the first: some rows are sent again, none is left out.
    """
    date, time, *_ = [*text.split(","), "", ""]
    return datetime.strptime(f"{date} {time}", "%Y%m%d %H:%M").replace(tzinfo=zone).timestamp()


def flags(text: str) -> dict[str, bool]:
    """Return by "date,time" whether each row was added or updated, as addbatchstatus reports."""
    added: dict[str, bool] = {}
    for entry in text.strip().split(";"):
        date, time, flag = [*entry.split(","), "", "", ""][:3]
        if flag.strip():
            added[f"{date.strip()},{time.strip()}"] = flag.strip() != "0"
    return added


class Rate(NamedTuple):
    """What is left of the requests of this hour, and when (s UTC) the next one begins."""

    remaining: int
    reset: float


def rate(headers: Mapping[str, str]) -> Rate | None:
    """Return what the X-Rate-Limit headers report, None without them."""
    try:
        return Rate(int(headers["x-rate-limit-remaining"]), float(headers["x-rate-limit-reset"]))
    except (KeyError, ValueError):
        return None
