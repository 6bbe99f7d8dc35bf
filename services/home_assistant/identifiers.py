"""Identifiers of devices and channels in Home Assistant, unique, from the alphabet that it takes: A-Z a-z 0-9 _ and -.

They are parts of discovery topics (components/mqtt/discovery.py, TOPIC_MATCHER).
"""

import re

from heliograph import topics
from heliograph.renames import Renames

# Names of ours have no capitals, so _U can only stand for the _ within a name.
_SEPARATOR = re.compile(r"_(?!U)")


def join(*names: str) -> str:
    """Return one identifier for several names, from which `split` gets them back."""
    return "_".join(name.replace("_", "_U") for name in names)


def unique(renames: Renames, *names: str) -> str:
    """Return the identifier by which Home Assistant knows a device or an entity: that of its first name, whatever it is called now.

    What has taken a name that something else had before gets a number: _N2. Names of ours have no capitals.
    """
    first, others = renames.origin("/".join(names))
    return join(*first.split("/")) + (f"_N{others + 1}" if others else "")


def split(identifier: str) -> tuple[str, ...]:
    """Return the names that were joined; raise ValueError if `join` does not make this identifier."""
    names = tuple(part.replace("_U", "_") for part in _SEPARATOR.split(identifier))
    if join(*names) != identifier or not all(map(topics.is_name, names)):
        raise ValueError(f"{identifier[:120]!r} is not one of our identifiers")
    return names
