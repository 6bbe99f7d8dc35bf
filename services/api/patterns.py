"""Series names with `*`: `node/*/pv_power` means the PV power of every device of a node."""

import re
from collections.abc import Iterable

from services.api.errors import Refused

SERIES_LIMIT = 200  # names or patterns in one question
_PATTERN = re.compile(r"[a-z0-9_*-]{1,80}/[a-z0-9_*-]{1,80}/[a-z0-9_*]{1,80}")


def parse(names: Iterable[str]) -> list[str]:
    """Return the names and patterns of a comma-separated list, each once; raise Refused for anything else."""
    patterns = list(dict.fromkeys(part.strip() for text in names for part in text.split(",") if part.strip()))
    if not patterns:
        raise Refused("series is missing: name one or more as node/device/channel; * matches within one part")
    if len(patterns) > SERIES_LIMIT:
        raise Refused(f"{len(patterns)} series at once; at most {SERIES_LIMIT}, and * matches many")
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise Refused(f"{pattern[:80]!r} is not a series: it is node/device/channel of a-z 0-9 _ - and *")
    return patterns


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern means this series; `*` stands for any text within one part."""
    return all(map(_part_matches, pattern.split("/"), name.split("/")))


def _part_matches(pattern: str, text: str) -> bool:
    """Match without backtracking, so that no pattern is slow."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    if not text.startswith(first):
        return False
    *middle, last = rest
    at = len(first)
    for piece in middle:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(text) - at >= len(last) and text.endswith(last)


def select(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the names that are meant, sorted; raise Refused (404) for a full name that does not exist."""
    known = set(names)
    chosen: set[str] = set()
    for pattern in patterns:
        if "*" in pattern:
            chosen.update(name for name in known if matches(pattern, name))
        elif pattern in known:
            chosen.add(pattern)
        else:
            raise Refused(f"no series {pattern}; /api/v1/devices lists what there is", status=404)
    return sorted(chosen)
