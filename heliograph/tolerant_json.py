"""JSON as devices write it: `nan` and `inf` of C's printf, and values that cannot be, are no value; the rest is strict.

A key that comes twice in an object with two values has none: which of them is meant, RFC 8259 (4) leaves to the reader.

RFC 8259 has neither NaN nor infinities, and half a surrogate pair is no character (8.2); sketches and firmware write
them when a sensor does not answer, with any sign and in any case: `nan`, `-NAN`, `nan(ind)`, `Infinity`, Arduino's `ovf`.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A text, whether it is a key, and anything else that stands between commas, brackets and blanks. No two ways match the
# same bytes, also not where a text does not end: a hostile payload takes time in proportion to its length.
_TOKEN = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z))(\s*:)?|[^\s,:\[\]{}"]+', re.DOTALL)
_NO_NUMBER = re.compile(r"[+-]?(?:nan(?:\([0-9a-z_]*\))?|inf(?:inity)?|ovf)", re.IGNORECASE)
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_KEY = re.compile(rb'"\s*:')  # the end of a key; in a text, it only costs time
_LONGEST_INTEGER = 4_300  # digits that Python and msgspec take


def decode(document: bytes | str, *, unique: bool = False) -> Any:
    """Return the value of a JSON document, None for each value in it that cannot be; raise ValueError if it is not JSON.

    None stands for null, NaN and the infinities in C's spellings, a number that no float can hold, a text with half
    a character, and the values of a key that comes twice. Half a character in a key is U+FFFD. With `unique`, a key that
    comes twice is a ValueError, whatever its values: for senders that read the response.
    """
    try:
        value, payload = _decoded(document)
        return value if _keys(value) == written_keys(payload) else _with_unique_keys(payload, refuse=unique)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ValueError(str(error)) from None


def refuse_repeated_keys(document: bytes | str) -> None:
    """Raise ValueError if a key comes twice in an object of a JSON document, or if it is not JSON."""
    decode(document, unique=True)


def written_keys(document: bytes | str) -> int:
    """Return how many keys a JSON document has, at least; a text in it may look like one."""
    return len(_KEY.findall(document.encode() if isinstance(document, str) else document))


def is_not_finite(text: str) -> bool:
    """Whether a text is what C, Arduino or JavaScript write for NaN or an infinity."""
    return _NO_NUMBER.fullmatch(text) is not None


def _decoded(document: bytes | str) -> tuple[Any, bytes | str]:
    """Return the value of a document, and the document as it is once what is no value is null in it."""
    try:
        return msgspec.json.decode(document), document
    except (msgspec.DecodeError, UnicodeError):
        payload = document.encode() if isinstance(document, str) else document.removeprefix(_BYTE_ORDER_MARK)
        repaired = _TOKEN.sub(_repaired, payload)
        return msgspec.json.decode(repaired), repaired


def _keys(value: Any) -> int:
    """Return how many keys the objects in a value have."""
    count, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        inner: Iterable[Any] = one
        if isinstance(one, dict):
            count += len(one)
            inner = one.values()
        elif not isinstance(one, list):
            continue
        waiting += [item for item in inner if item.__class__ is dict or item.__class__ is list]
    return count


def _with_unique_keys(document: bytes | str, *, refuse: bool) -> Any:
    """Return the value of a document with one value for each key; raise ValueError for two, if they are to be refused."""
    number: Callable[[str], Any] = msgspec.json.decode
    reader = json.JSONDecoder(
        object_pairs_hook=lambda pairs: _object(pairs, refuse=refuse),
        parse_int=number,
        parse_float=number,
        strict=False,
    )
    return reader.decode(document if isinstance(document, str) else document.decode())


def _object(pairs: list[tuple[str, Any]], *, refuse: bool) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            if refuse:
                raise ValueError(f"the key {key[:80]!r} comes twice")
            value = _together(members[key], value)
        members[key] = value
    return members


def _together(one: Any, other: Any) -> Any:
    """Return what two values of one key are together: the members of both, if they are objects; None unless they are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        return _object([*one.items(), *other.items()], refuse=False)
    return one if one.__class__ is other.__class__ and one == other else None


def _repaired(token: re.Match[bytes]) -> bytes:
    text, colon = token[1], token[2]
    if text is None:
        return b"null" if _is_no_value(token[0]) else token[0]
    whole = _ESCAPE.sub(_whole_character, text)
    if colon is not None:
        return whole + colon
    return text if whole == text else b"null"


def _is_no_value(word: bytes) -> bool:
    if not _NUMBER.fullmatch(word):
        return is_not_finite(word.decode("latin-1"))
    if word.removeprefix(b"-").isdigit():
        return len(word) > _LONGEST_INTEGER
    try:
        return not math.isfinite(float(word))
    except ValueError:
        return False


def _whole_character(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]
