"""Which answers a client may keep, and how it asks whether the one it has is still right (RFC 9110, 9111)."""

import hashlib
import re

from starlette.responses import Response

import heliograph
from heliograph.store.interface import Reader, Series

CLOSED_SECONDS = 86_400.0  # what is older than this changes only by late readings
KEEP_SECONDS = 300  # how long a client may keep an answer about what is closed without asking
REACH_SECONDS = 900.0  # of an integral, to the points around a bucket
_TAG = re.compile(r'(?:W/)?("[^"]*")')


def tag(reader: Reader, chosen: list[Series], start: float, end: float, *question: object, whole_past: bool) -> str:
    """Return the entity tag of the answer to a question about [start, end).

    It is another one as soon as the answer may be. `whole_past` says that the answer also depends
    on the last value before `start`, however old. The tag is weak: it is the same for
    every encoding of the answer.
    """
    version = reader.version(0.0 if whole_past else max(0.0, start - REACH_SECONDS), end + REACH_SECONDS)
    depends = (heliograph.__version__, version, chosen, start, end, question)
    return f'W/"{hashlib.blake2b(repr(depends).encode(), digest_size=12).hexdigest()}"'


def has(if_none_match: str, current: str) -> bool:
    """Whether the client says that it has the answer with this tag."""
    return if_none_match.strip() == "*" or current.removeprefix("W/") in _TAG.findall(if_none_match)


def headers(current: str, end: float, now: float) -> dict[str, str]:
    """Return what goes with an answer about the time before `end`."""
    keep = f"max-age={KEEP_SECONDS}" if end <= now - CLOSED_SECONDS else "no-cache"
    return {"etag": current, "cache-control": f"private, {keep}"}


def not_modified(headers: dict[str, str]) -> Response:
    """Return what tells a client that the answer it has is still right."""
    # the others get theirs where they are compressed
    return Response(status_code=304, headers={**headers, "vary": "Accept-Encoding"})
