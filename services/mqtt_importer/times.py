"""Times that devices give, and whether they can be believed."""

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

FUTURE_SECONDS = 60.0
EARLIEST = 1_577_836_800.0  # 2020: devices begin in 1970 or 2000 until they know better
MILLISECONDS = 1e11  # larger numbers are not seconds, but milliseconds


def believed(given: object, zone: ZoneInfo | None, now: float, past: float) -> float | None:
    """Return a device's time in seconds since 1970 UTC if it is at most `past` seconds old, else None.

    It may be a number of seconds or milliseconds since 1970 UTC, or ISO 8601; one without
    an offset is local time in `zone`, and means nothing if that is None. Of the two
    moments that a local time has when a summer ends, it is the one nearer to now.
    """
    candidates = _moments(given, zone)
    near = min(candidates, key=lambda at: abs(now - at), default=None)
    if near is None or not (near >= EARLIEST and now - past <= near <= now + FUTURE_SECONDS):
        return None
    return near


def _moments(given: object, zone: ZoneInfo | None) -> list[float]:
    if isinstance(given, bool):
        return []
    if isinstance(given, int | float):
        if not (-1e15 < given < 1e15) or math.isnan(given):
            return []
        return [given / 1000 if given > MILLISECONDS else float(given)]
    if not isinstance(given, str) or len(given) > 64:
        return []
    try:
        read = datetime.fromisoformat(given)
        if read.tzinfo is not None:
            return [read.timestamp()]
        if zone is None:
            return []
        return [read.replace(tzinfo=zone, fold=fold).astimezone(UTC).timestamp() for fold in (0, 1)]
    except (ValueError, OverflowError):
        return []
