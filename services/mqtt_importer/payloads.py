"""Payloads as values: numbers, on and off, JSON, without trusting any of it."""

import json
import re
from collections.abc import Iterator
from itertools import islice

from heliograph import messages
from heliograph.messages import LARGEST_INTEGER, Availability, Value
from services.mqtt_importer.heard import NotUnderstood

DEEPEST = 8
MOST_MEMBERS = 256  # of one message; more are noise that looks like names
ON = frozenset({"on", "true", "open", "yes"})
OFF = frozenset({"off", "false", "closed", "no"})
ABSENT = frozenset({"", "nan", "null", "none", "unknown", "unavailable"})
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:e[+-]?[0-9]{1,4})?", re.IGNORECASE)


def text(payload: bytes) -> str:
    """Return a payload as text without the blanks around it; raise NotUnderstood if it is none."""
    try:
        return payload.decode().strip()
    except UnicodeDecodeError:
        raise NotUnderstood("not text") from None


def document(payload: bytes) -> object:
    """Return what a JSON payload holds, NaN and infinities as None; raise NotUnderstood if it is none."""
    try:
        return json.loads(payload, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise NotUnderstood("not JSON") from None


def members(payload: bytes) -> dict[str, object]:
    """Return the members of a JSON object; raise NotUnderstood if the payload is none."""
    found = document(payload)
    if not isinstance(found, dict):
        raise NotUnderstood("not a JSON object")
    return found


def flat(found: object, deepest: int = DEEPEST) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield every leaf of a JSON value with its path; items of lists are numbered from 1."""
    if isinstance(found, dict | list) and deepest:
        items = found.items() if isinstance(found, dict) else enumerate(found, 1)
        for key, item in items:
            for path, leaf in flat(item, deepest - 1):
                yield (str(key), *path), leaf
    else:
        yield (), found


def leaves(found: object) -> list[tuple[tuple[str, ...], object]]:
    """Return every leaf of a JSON value with its path; raise NotUnderstood if there are too many."""
    found_leaves = list(islice(flat(found), MOST_MEMBERS + 1))
    if len(found_leaves) > MOST_MEMBERS:
        raise NotUnderstood("more values than a device has")
    return found_leaves


def number(written: str) -> float | None:
    """Return a number that is written as text, None if there is none; raise NotUnderstood if it is no number."""
    if written.lower() in ABSENT:
        return None
    if not _NUMBER.fullmatch(written):
        raise NotUnderstood("not a number")
    return finite(int(written) if written.lstrip("+-").isdigit() else float(written))


def finite(value: float) -> float:
    """Return a number, as a float if it is too large an integer; raise NotUnderstood if it is not finite."""
    try:
        return messages.finite(value)
    except ValueError as error:
        raise NotUnderstood(str(error)) from None


def limits(low: object, high: object) -> tuple[float, float] | None:
    """Return the lowest and the highest number, None if these are none."""
    bounds = [
        float(one)
        for one in (low, high)
        if isinstance(one, int | float) and not isinstance(one, bool) and abs(one) <= LARGEST_INTEGER
    ]
    return (bounds[0], bounds[1]) if len(bounds) == 2 and bounds[0] < bounds[1] else None


def switched(written: str) -> bool:
    """Return whether a text says on; raise NotUnderstood if it says neither on nor off."""
    lower = written.lower()
    if lower in ON or lower == "1":
        return True
    if lower in OFF or lower == "0":
        return False
    raise NotUnderstood("neither on nor off")


def availability(said: object, online: str = "online", offline: str = "offline") -> Availability:
    """Return what a device, or its broker, says of it in these words; raise NotUnderstood if it says something else."""
    if said == online:
        return "online"
    if said == offline:
        return "offline"
    raise NotUnderstood(f"neither {online} nor {offline}")


def value(found: object) -> Value | None:
    """Return a JSON leaf or a plain text as a value: `"ON"` is true, `null` is None; raise NotUnderstood if it cannot be one."""
    if found is None or isinstance(found, bool):
        return found
    if isinstance(found, int | float):
        return finite(found)
    if not isinstance(found, str):
        raise NotUnderstood("neither a number nor a text nor true nor false")
    lower = found.strip().lower()
    if lower in ABSENT:
        return None
    if lower in ON or lower in OFF:
        return lower in ON
    return short(found)


def short(found: str) -> str | None:
    """Return a text that a channel can have, None for an empty one; raise NotUnderstood if it is none."""
    try:
        return messages.one_line(found) or None
    except ValueError as error:
        raise NotUnderstood(str(error)) from None


def plain(found: object) -> Value | None:
    """Return a JSON leaf or a payload as a value, also a number that is written as text; raise NotUnderstood if it cannot be one."""
    if isinstance(found, str) and _NUMBER.fullmatch(found):
        return number(found)
    return value(found)


def printable(text: str, most: int) -> str:
    """Return at most so many characters of a text in a form that can be shown, whatever is in it."""
    return text.encode("utf-8", "backslashreplace").decode()[:most]


def written(found: object) -> str:
    """Return a value as compact JSON."""
    return json.dumps(found, separators=(",", ":"))
