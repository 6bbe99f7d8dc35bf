"""The timestamps of devices, and which of them can be used."""

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

FUTURE_SECONDS = 60.0
EARLIEST = 1_577_836_800.0  # 2020: clocks begin in 1970 or 2000 until they are set
MILLISECONDS = 1e11  # larger numbers are milliseconds


def credible(timestamp: object, zone: ZoneInfo | None, now: float, max_age: float) -> float | None:
    """Return a device's timestamp in seconds since 1970 UTC if it is at most `max_age` seconds old, else None.

    It may be a number of seconds or milliseconds since 1970 UTC, or ISO 8601; one without
    an offset is local time in `zone`, and None without a zone. Of the two
    moments that a local time has when a summer ends, it is the one nearer to now.
    """
    candidates = _moments(timestamp, zone)
    nearest = min(candidates, key=lambda at: abs(now - at), default=None)
    if nearest is None or not (nearest >= EARLIEST and now - max_age <= nearest <= now + FUTURE_SECONDS):
        return None
    return nearest


def _moments(timestamp: object, zone: ZoneInfo | None) -> list[float]:
    if isinstance(timestamp, bool):
        return []
    if isinstance(timestamp, int | float):
        if not (-1e15 < timestamp < 1e15) or math.isnan(timestamp):
            return []
        return [timestamp / 1000 if timestamp > MILLISECONDS else float(timestamp)]
    if not isinstance(timestamp, str) or len(timestamp) > 64:
        return []
    try:
        read = datetime.fromisoformat(timestamp)
        if read.tzinfo is not None:
            return [read.timestamp()]
        if zone is None:
            return []
        return [read.replace(tzinfo=zone, fold=fold).astimezone(UTC).timestamp() for fold in (0, 1)]
    except (ValueError, OverflowError):
        return []
