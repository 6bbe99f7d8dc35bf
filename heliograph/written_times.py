"""Times as senders write them: the same over HTTP and on serial ports and sockets."""

import re
from datetime import UTC, datetime

AHEAD_SECONDS = 600.0  # the clocks of senders may be this far ahead of this node's
DATE = re.compile(r"(19|20)[0-9]{2}([0-9]{4})?")  # ISO 8601: a year, or a basic date; as seconds it would be in 1970


def seconds(text: str) -> float:
    """Return UTC seconds from seconds, or from ISO 8601 (UTC when it names no offset); raise ValueError.

    The range is not checked: the result may be before 1970, not finite, or in milliseconds.
    """
    try:
        return float("" if "_" in text or DATE.fullmatch(text) else text)  # Python's 1_000 is a number nowhere else
    except ValueError:
        return _iso(text)


def _iso(text: str) -> float:
    # An unescaped + of an offset arrives as a space.
    written = re.sub(r" (\d\d:?\d\d)$", r"+\1", text.strip())
    if DATE.fullmatch(written) and len(written) == 4:
        written += "-01-01"
    try:
        moment = datetime.fromisoformat(written)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:40]!r} is not a time; use UTC seconds such as 1763633000 or ISO 8601 such as 2025-11-20T10:00:00Z"
        ) from None
