"""Entity tags and cache headers: which responses a client may reuse, and how it validates them (RFC 9110, 9111)."""

import hashlib
import re

from starlette.responses import Response

import heliograph
from heliograph.store.interface import Reader, Series

CLOSED_SECONDS = 86_400.0  # older readings change only when others arrive late
KEEP_SECONDS = 300  # for which a client may reuse a response about closed time without validating it
REACH_SECONDS = 900.0  # of an integral, to the points around a bucket
_TAG = re.compile(r'(?:W/)?("[^"]*")')


def tag(reader: Reader, selected: list[Series], start: float, end: float, *question: object, whole_past: bool) -> str:
    """Return the entity tag of the response to a question about [start, end).

    It changes whenever the response may have changed. With `whole_past` the response also depends on the last value
    before `start`, however old. The tag is weak: it is the same for every encoding of the response.
    """
    version = reader.version(0.0 if whole_past else max(0.0, start - REACH_SECONDS), end + REACH_SECONDS)
    depends = (heliograph.__version__, version, selected, start, end, question)
    return f'W/"{hashlib.blake2b(repr(depends).encode(), digest_size=12).hexdigest()}"'


def has(if_none_match: str, current: str) -> bool:
    """Whether the client has the response with this tag."""
    return if_none_match.strip() == "*" or current.removeprefix("W/") in _TAG.findall(if_none_match)


def headers(current: str, end: float, now: float) -> dict[str, str]:
    """Return the headers of a response about the time before `end`."""
    keep = f"max-age={KEEP_SECONDS}" if end <= now - CLOSED_SECONDS else "no-cache"
    return {"etag": current, "cache-control": f"private, {keep}"}


def not_modified(headers: dict[str, str]) -> Response:
    """Return the response that tells a client that the one it has is still valid."""
    # for other responses, the compression adds it
    return Response(status_code=304, headers={**headers, "vary": "Accept-Encoding"})
