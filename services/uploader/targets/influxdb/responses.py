"""What InfluxDB's answers to a write mean; wordings of versions 1.6 to 1.11, 2.0 to 2.7 and 3 Core."""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from services.uploader.target import Refused, TryLater
from services.uploader.targets.shared.http_client import HttpResponse

RIGHTS_SECONDS = 300.0
MISSING_SECONDS = 60.0
T = TypeVar("T")
_CONFLICT = re.compile(
    r'field type conflict: input field "(?P<field>.*?)" on measurement "(?P<measurement>.*?)" is type'
)
_TAKEN = ("hinted handoff queue not empty", "points beyond retention policy")  # the answer would be the same next time


class _Bucket(msgspec.Struct):
    name: str = ""


class _Buckets(msgspec.Struct):
    buckets: tuple[_Bucket, ...] = ()


def conflict(response: HttpResponse) -> tuple[str, str] | None:
    """Return measurement and field of the type conflict that an answer names, None if it names none."""
    if response.ok:
        return None
    match = _CONFLICT.search(_words(response))
    return (match["measurement"], match["field"]) if match else None


def named(response: HttpResponse, lines: Sequence[int]) -> dict[int, dict[int, str]]:
    """Return the reasons why lines were refused, by row and line, as version 3 lists them; `lines` has the number of each row's lines."""
    if response.status != 400:
        return {}
    data = _json(response).get("data")
    entries = data if isinstance(data, list) else []
    rows = [(index, at) for index, count in enumerate(lines) for at in range(count)]
    reasons: dict[int, dict[int, str]] = {}
    for entry in entries:
        number = entry.get("line_number") if isinstance(entry, dict) else None
        if not isinstance(number, int) or not 0 < number <= len(rows):
            return {}
        index, at = rows[number - 1]
        reasons.setdefault(index, {})[at] = str(entry.get("error_message", "refused"))
    return reasons


def check(response: HttpResponse, version: int) -> None:
    """Raise TryLater or Refused unless everything was written."""
    if response.ok:
        if response.status != 204 and response.body.strip():  # the page of a network that wants a login, for one
            raise TryLater(f"not the answer of an InfluxDB: {response.summary()}", after=response.after)
        return
    summary, words = response.summary(), _words(response)
    if any(taken in words for taken in _TAKEN):
        return
    if response.status == 413:
        raise TryLater(summary, smaller=True)
    if response.status in (401, 403):
        what = "token" if version > 1 else "user and password"
        raise TryLater(f"{summary}; check {what}, and their rights to write here", after=RIGHTS_SECONDS)
    if response.status == 404:
        what = "bucket and org" if version == 2 else "the database"
        raise TryLater(f"{summary}; create {what}, or correct the name or the url", after=MISSING_SECONDS)
    if response.status in (400, 406, 422) or "partial write" in words:
        raise Refused(summary)
    raise TryLater(summary, after=response.after)


def has_bucket(body: bytes, name: str) -> bool:
    """Return whether a list of buckets holds one of this name (v2 API reference, `GET /api/v2/buckets`)."""
    answer = decoded(body, _Buckets)
    return answer is not None and any(bucket.name == name for bucket in answer.buckets)


def decoded(body: bytes, kind: type[T]) -> T | None:
    """Return what the JSON of an answer holds, None if it is not JSON of this kind."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _json(response: HttpResponse) -> dict[str, Any]:
    return decoded(response.body, dict[str, Any]) or {}


def _words(response: HttpResponse) -> str:
    """Return the error in an answer: its own words without JSON's escapes, or all of it."""
    answer = _json(response)
    for key in ("error", "message"):
        if isinstance(answer.get(key), str):
            return str(answer[key])
    return response.body.decode("utf-8", "replace")
