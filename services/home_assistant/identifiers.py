"""What devices and channels are called in Home Assistant: letters, digits, _ and -, and never two the same.

Home Assistant takes only these in a discovery topic (components/mqtt/discovery.py, TOPIC_MATCHER).
"""

import re

from heliograph import topics

# Names of ours have no capitals, so _U stands for nothing else than the _ within a name.
_JOINT = re.compile(r"_(?!U)")


def joined(*names: str) -> str:
    """Return several names as one, from which they can be told again."""
    return "_".join(name.replace("_", "_U") for name in names)


def taken_apart(identifier: str) -> tuple[str, ...]:
    """Return the names that were joined; raise ValueError if it was not ours who joined them."""
    names = tuple(part.replace("_U", "_") for part in _JOINT.split(identifier))
    if joined(*names) != identifier or not all(map(topics.is_name, names)):
        raise ValueError(f"{identifier[:120]!r} is none of ours")
    return names
