"""JSON as devices write it: `nan` and `inf` of C's printf, and values that cannot be, are no value; the rest is strict.

RFC 8259 has neither NaN nor infinities, and half a surrogate pair is no character (8.2); sketches and firmware write
them when a sensor does not answer, with any sign and in any case: `nan`, `-NAN`, `nan(ind)`, `Infinity`, Arduino's `ovf`.
"""

import math
import re
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
_LONGEST_INTEGER = 4_300  # digits that Python and msgspec take


def decode(document: bytes | str) -> Any:
    """Return the value of a JSON document, None for each value in it that cannot be; raise ValueError if it is not JSON.

    None stands for null, NaN and the infinities in C's spellings, a number that no float can hold, and a text with half
    a character. Half a character in a key is U+FFFD.
    """
    try:
        return msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeError):
        pass
    except RecursionError:
        raise ValueError("nested too deeply") from None
    try:
        payload = document.encode() if isinstance(document, str) else document.removeprefix(_BYTE_ORDER_MARK)
        return msgspec.json.decode(_TOKEN.sub(_repaired, payload))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ValueError(str(error)) from None


def is_not_finite(text: str) -> bool:
    """Whether a text is what C, Arduino or JavaScript write for NaN or an infinity."""
    return _NO_NUMBER.fullmatch(text) is not None


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
