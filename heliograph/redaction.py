"""Texts that can be shown: without secrets, in whatever spelling these come back."""

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote

REDACTED = "…"
SHORTEST = 3  # shorter ones occur in ordinary words, and are not secrets
SHORTEST_PIECE = 8  # the same for base64 that begins or ends within a secret
_SPECIAL = re.compile(r"(%[0-9A-F]{2}|\s+)")


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return a function that replaces secrets in a text by "…", and makes the text one line.

    It finds them as they are, percent-encoded (RFC 3986, and as HTML forms are), in base64 (RFC 4648, also within
    something longer, as after the user name of HTTP's basic authentication), quoted as in JSON, Python, SQL and HTML.
    """
    texts = {text for secret in secrets for text in (secret, secret.strip()) if len(secret.strip()) >= SHORTEST}
    spellings = {spelling for text in texts for spelling in _spellings(text)}
    patterns = [re.compile(_pattern(spelling)) for spelling in sorted(spellings)]

    def redact(text: str) -> str:
        spans = sorted(match.span(1) for pattern in patterns for match in pattern.finditer(text))
        return " ".join(_without(text, spans).split())

    return redact


def url_redactor(url: str) -> Callable[[str], str]:
    """Return a redactor of the passwords that the URL of a database holds, and of the URL itself."""
    written = re.findall(r"(?<=:)(?!//)[^:/@]*(?=@)|(?<=password=)[^&#]*", url)
    return redactor({url, *written, *map(unquote, written)})


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
    yield from (secret.replace("'", "''"), secret.replace("\\", "\\\\"))
    yield from (html.escape(secret), html.escape(secret, quote=False))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret.encode()).decode().rstrip("=")
        pieces = (_piece(secret.encode(), before, encode) for before in range(3))
        yield from (piece for piece in pieces if len(piece) >= SHORTEST_PIECE)


def _piece(secret: bytes, before: int, encode: Callable[[bytes], bytes]) -> str:
    """Return those characters of base64, of 6 bits each, that a secret after so many bytes determines alone."""
    length = before + len(secret)
    return encode(bytes(before) + secret)[-(-before * 8 // 6) : length * 8 // 6].decode()


def _pattern(spelling: str) -> str:
    """Return a pattern that finds overlapping ones, percent codes in lower case, and any white space for white space."""
    return f"(?=({''.join(map(_part, _SPECIAL.split(spelling)))}))"


def _part(text: str) -> str:
    if text.isspace():
        return r"\s+"
    return f"(?i:{text})" if _SPECIAL.fullmatch(text) else re.escape(text)


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """Return a text without what sorted spans cover; spans that overlap are replaced together."""
    pieces: list[str] = []
    end = 0
    for start, stop in spans:
        if start > end or not pieces:
            pieces.append(text[end:start])
        end = max(end, stop)
    return REDACTED.join([*pieces, text[end:]])
