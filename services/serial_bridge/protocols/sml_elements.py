"""The elements of SML messages: octets, booleans, integers, and lists of elements.

An element begins with a byte of type and length (SML 1.03, chapter 6.3): the upper bits are
the type, the lower four the length; bit 7 says that another byte with four more bits of
length follows. The length of a list counts its elements, any other also its own bytes.
"""

from collections.abc import Iterator
from typing import Any

from services.serial_bridge.parsing.readings import NotAReading


class ShortInteger(int):
    """A signed integer of one or two bytes."""

    unsigned: int

    def __new__(cls, content: bytes) -> "ShortInteger":
        """Return the integer of these bytes; `unsigned` is what they would be without a sign."""
        number = super().__new__(cls, int.from_bytes(content, "big", signed=True))
        number.unsigned = int.from_bytes(content, "big")
        return number


Element = int | bytes | list[Any] | None
DEEPEST = 16
OCTETS, BOOLEAN, INTEGER, UNSIGNED, LIST = 0, 4, 5, 6, 7


def elements(data: bytes) -> Iterator[Element]:
    """Yield the elements of the highest level; an end-of-message byte is None. Raise NotAReading if they are malformed."""
    at = 0
    while at < len(data):
        element, at = _element(data, at, DEEPEST)
        yield element


def _element(data: bytes, at: int, deepest: int) -> tuple[Element, int]:
    kind, length, size = _head(data, at)
    if kind == LIST:
        if not deepest:
            raise NotAReading("lists nested too deeply")
        if length > len(data) - at:  # every element has a byte at least
            raise NotAReading("a list is longer than the message")
        at += size
        items: list[Element] = []
        for _ in range(length):
            item, at = _element(data, at, deepest - 1)
            items.append(item)
        return items, at
    if length == 0:  # 00, the end of a message
        return None, at + 1
    end = at + length
    if length < size or end > len(data):
        raise NotAReading("an element is longer than the message")
    content = data[at + size : end]
    if kind == OCTETS:
        return content or None, end  # 01: a value that is left out
    if kind == BOOLEAN:
        return bool(content.strip(b"\0")), end
    if kind == INTEGER and len(content) <= 2:
        return ShortInteger(content), end
    if kind in (INTEGER, UNSIGNED) and len(content) <= 8:
        return int.from_bytes(content, "big", signed=kind == INTEGER), end
    raise NotAReading(f"no such type of element: {kind}")


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Return type, length, and the number of bytes of the head."""
    kind, length, size = 0, 0, 0
    while at + size < len(data) and size < 4:
        byte = data[at + size]
        if size == 0:
            kind = byte >> 4 & 0x07
        length = length << 4 | byte & 0x0F
        size += 1
        if not byte & 0x80:
            return kind, length, size
    raise NotAReading("the message ends in the middle")
