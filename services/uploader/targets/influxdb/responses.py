"""What InfluxDB's answers to a write mean; wordings of versions 1.6 to 1.11, 2.0 to 2.7 and 3 Core."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from services.uploader.target import Refused, TryLater
from services.uploader.targets.shared.http_client import HttpResponse

RIGHTS_SECONDS = 300.0
MISSING_SECONDS = 60.0
_CONFLICT = re.compile(
    r'field type conflict: input field "(?P<field>.*?)" on measurement "(?P<measurement>.*?)" is type'
)
_TAKEN = ("hinted handoff queue not empty", "points beyond retention policy")  # it will not change its mind


def conflict(reply: HttpResponse) -> tuple[str, str] | None:
    """Return measurement and field of the type conflict that an answer names, None if it names none."""
    if reply.ok:
        return None
    found = _CONFLICT.search(_words(reply))
    return (found["measurement"], found["field"]) if found else None


def named(reply: HttpResponse, lines: Sequence[int]) -> dict[int, dict[int, str]]:
    """Return why which lines of which rows were refused, as version 3 lists them; `lines` says how many each row has."""
    if reply.status != 400:
        return {}
    data = _json(reply).get("data")
    entries = data if isinstance(data, list) else []
    rows = [(index, at) for index, count in enumerate(lines) for at in range(count)]
    found: dict[int, dict[int, str]] = {}
    for entry in entries:
        number = entry.get("line_number") if isinstance(entry, dict) else None
        if not isinstance(number, int) or not 0 < number <= len(rows):
            return {}
        index, at = rows[number - 1]
        found.setdefault(index, {})[at] = str(entry.get("error_message", "refused"))
    return found


def check(reply: HttpResponse, version: int) -> None:
    """Raise TryLater or Refused unless everything was written."""
    if reply.ok:
        return
    said, words = reply.said(), _words(reply)
    if any(taken in words for taken in _TAKEN):
        return
    if reply.status == 413:
        raise TryLater(said, smaller=True)
    if reply.status in (401, 403):
        what = "token" if version > 1 else "user and password"
        raise TryLater(f"{said}; check {what}, and their rights to write here", after=RIGHTS_SECONDS)
    if reply.status == 404:
        what = "bucket and org" if version == 2 else "the database"
        raise TryLater(f"{said}; create {what}, or correct the name or the url", after=MISSING_SECONDS)
    if reply.status in (400, 406, 422) or "partial write" in words:
        raise Refused(said)
    raise TryLater(said, after=reply.after)


def decoded(reply: HttpResponse) -> Any:
    """Return what the JSON of an answer holds, None if it is none."""
    try:
        return msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _json(reply: HttpResponse) -> dict[str, Any]:
    found = decoded(reply)
    return found if isinstance(found, dict) else {}


def _words(reply: HttpResponse) -> str:
    """Return the error in an answer: its own words without JSON's escapes, or all of it."""
    answer = _json(reply)
    for key in ("error", "message"):
        if isinstance(answer.get(key), str):
            return str(answer[key])
    return reply.body.decode("utf-8", "replace")
