"""Payloads as values: numbers, on and off, JSON."""

import json
import re
from collections.abc import Iterator
from itertools import islice

from heliograph import messages, tolerant_json
from heliograph.messages import LARGEST_INTEGER, Availability, Value
from services.mqtt_importer.parsing.parsed import NotUnderstood

MAX_DEPTH = 8
MAX_VALUES = 256  # of one message; more are noise that looks like names
ON = frozenset({"on", "true", "open", "yes"})
OFF = frozenset({"off", "false", "closed", "no"})
ABSENT = frozenset({"", "null", "none", "unknown", "unavailable"})
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:e[+-]?[0-9]{1,4})?", re.IGNORECASE)


def text(payload: bytes) -> str:
    """Return a payload as text, stripped; raise NotUnderstood if it is not UTF-8."""
    try:
        return payload.decode().strip()
    except UnicodeDecodeError:
        raise NotUnderstood("not text") from None


def json_document(payload: bytes) -> object:
    """Return a decoded JSON payload, with None for what is no value (tolerant_json); raise NotUnderstood if it is not JSON."""
    try:
        return tolerant_json.decode(payload)
    except ValueError:
        raise NotUnderstood("not JSON") from None


def json_object(payload: bytes) -> dict[str, object]:
    """Return a decoded JSON object; raise NotUnderstood if the payload is not one."""
    document = json_document(payload)
    if not isinstance(document, dict):
        raise NotUnderstood("not a JSON object")
    return document


def flattened(document: object, max_depth: int = MAX_DEPTH) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield every leaf of a JSON value with its path; items of lists are numbered from 1."""
    if isinstance(document, dict | list) and max_depth:
        items = document.items() if isinstance(document, dict) else enumerate(document, 1)
        for key, item in items:
            for path, leaf in flattened(item, max_depth - 1):
                yield (str(key), *path), leaf
    else:
        yield (), document


def leaves(document: object) -> list[tuple[tuple[str, ...], object]]:
    """Return every leaf of a JSON value with its path; raise NotUnderstood if there are too many."""
    first_leaves = list(islice(flattened(document), MAX_VALUES + 1))
    if len(first_leaves) > MAX_VALUES:
        raise NotUnderstood("more values than a device has")
    return first_leaves


def number(written: str) -> float | None:
    """Return a number from its text, None for a missing value; raise NotUnderstood if the text is not a number."""
    if is_absent(written):
        return None
    if not _NUMBER.fullmatch(written):
        raise NotUnderstood("not a number")
    return finite(int(written) if written.lstrip("+-").isdigit() else float(written))


def is_absent(written: str) -> bool:
    """Whether a text says that there is no value."""
    return written.lower() in ABSENT or tolerant_json.is_not_finite(written)


def finite(value: float) -> float:
    """Return a number, as a float if it is too large an integer; raise NotUnderstood if it is not finite."""
    try:
        return messages.finite(value)
    except ValueError as error:
        raise NotUnderstood(str(error)) from None


def limits(low: object, high: object) -> tuple[float, float] | None:
    """Return the lowest and the highest number, None unless both are numbers in this order."""
    bounds = [
        float(one)
        for one in (low, high)
        if isinstance(one, int | float) and not isinstance(one, bool) and abs(one) <= LARGEST_INTEGER
    ]
    return (bounds[0], bounds[1]) if len(bounds) == 2 and bounds[0] < bounds[1] else None


def on_or_off(written: str) -> bool:
    """Return true for on and false for off, in any spelling; raise NotUnderstood for any other text."""
    lower = written.lower()
    if lower in ON or lower == "1":
        return True
    if lower in OFF or lower == "0":
        return False
    raise NotUnderstood("neither on nor off")


def availability(reported: object, online: str = "online", offline: str = "offline") -> Availability:
    """Return what a device or its broker reports in these words; raise NotUnderstood for anything else."""
    if reported == online:
        return "online"
    if reported == offline:
        return "offline"
    raise NotUnderstood(f"neither {online} nor {offline}")


def value(leaf: object) -> Value | None:
    """Return a JSON leaf or a plain text as a value: `"ON"` is true, `null` is None; raise NotUnderstood if it cannot be one."""
    if leaf is None or isinstance(leaf, bool):
        return leaf
    if isinstance(leaf, int | float):
        return finite(leaf)
    if not isinstance(leaf, str):
        raise NotUnderstood("not a number, text, true or false")
    lower = leaf.strip().lower()
    if is_absent(lower):
        return None
    if lower in ON or lower in OFF:
        return lower in ON
    return short_text(leaf)


def short_text(leaf: str) -> str | None:
    """Return a text that a channel can have, None for an empty one; raise NotUnderstood if a channel cannot have it."""
    try:
        return messages.one_line(leaf) or None
    except ValueError as error:
        raise NotUnderstood(str(error)) from None


def value_or_number(leaf: object) -> Value | None:
    """Return a JSON leaf or a payload as `value` does, and a number also from its text; raise NotUnderstood if it cannot be one."""
    if isinstance(leaf, str) and _NUMBER.fullmatch(leaf):
        return number(leaf)
    return value(leaf)


def printable(text: str, max_characters: int) -> str:
    """Return the beginning of a text, with escapes for what UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode()[:max_characters]


def compact_json(value: object) -> str:
    """Return a value as JSON without blanks."""
    return json.dumps(value, separators=(",", ":"))
