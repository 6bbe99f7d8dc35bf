"""Patterns for series: `node/*/pv_power` is the PV power of every device of a node. The same syntax everywhere.

A pattern has as many parts as the name it is matched with, and `*` stands for any text within one part. There is no
short form: `meter/power` would be node and device in one place, and device and channel in another.
"""

import re
from collections.abc import Iterable

SERIES = ("node", "device", "channel")
SYNTAX = "each part is made of a-z 0-9 _ - and *, which stands for any text"
_PARTS = {
    "node": re.compile(r"[a-z0-9_*-]{1,80}"),
    "device": re.compile(r"[a-z0-9_*-]{1,80}"),
    "channel": re.compile(r"[a-z0-9_*]{1,80}"),
}


def check(pattern: str, parts: tuple[str, ...] = SERIES) -> str:
    """Return a pattern that has these parts; raise ValueError, with the syntax, for anything else."""
    texts = pattern.split("/")
    if len(texts) != len(parts) or not all(
        _PARTS[part].fullmatch(text) for part, text in zip(parts, texts, strict=True)
    ):
        raise ValueError(f"{pattern[:80]!r} is not {'/'.join(parts)}: {SYNTAX}")
    return pattern


def matches(pattern: str, name: str) -> bool:
    """Whether a name with as many parts as the pattern matches it, in a time that no pattern makes long."""
    expected, parts = pattern.split("/"), name.split("/")
    return len(expected) == len(parts) and all(map(_part_matches, expected, parts))


def _part_matches(pattern: str, text: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    if not text.startswith(first):
        return False
    *middle, last = rest
    position = len(first)
    for piece in middle:  # the leftmost match of each piece leaves most for the others: no backtracking
        start = text.find(piece, position)
        if start < 0:
            return False
        position = start + len(piece)
    return len(text) - position >= len(last) and text.endswith(last)


def select(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the names that any pattern matches, sorted; raise KeyError with a pattern that has no `*` and no match."""
    known = set(names)
    chosen: set[str] = set()
    for pattern in patterns:
        if "*" in pattern:
            chosen.update(name for name in known if matches(pattern, name))
        elif pattern in known:
            chosen.add(pattern)
        else:
            raise KeyError(pattern)
    return sorted(chosen)
