"""Paths into JSON: `inverter.ac[0].power`; a key with a dot in it is written `["a.b"]`."""

import re
from typing import Any

_STEP = re.compile(r'\.?([^.\[\]"]+)|\[([0-9]{1,9})\]|\["([^"]+)"\]')

Path = tuple[str | int, ...]


def parse(text: str) -> Path:
    """Return the steps of a path, () for an empty text; raise ValueError if the text is not a path."""
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (position == 0 and text[0] == "."):
            raise ValueError(f"{text!r} is not a path such as a.b[0].c")
        key, index, quoted = match.groups()
        steps.append(int(index) if index is not None else key or quoted)
        position = match.end()
    return tuple(steps)


def follow(path: Path, document: object) -> object:
    """Return the value at a path; raise LookupError if the document does not have the path."""
    value: Any = document
    for step in path:
        if isinstance(step, str):
            if not isinstance(value, dict):
                raise LookupError(step)
            value = value[step]
        else:
            if not isinstance(value, list):
                raise LookupError(step)
            value = value[step]
    return value
