"""What devices call things, as names that the topic tree takes."""

import re

from heliograph import topics

_OTHERS = re.compile(r"[^a-z0-9]+")
_OTHERS_IN_DEVICES = re.compile(r"[^a-z0-9_-]+")


def channel(text: str) -> str:
    """Return `Power 1` as `power_1`; raise ValueError if nothing is left of it, or too much."""
    name = _OTHERS.sub("_", text.lower()).strip("_")
    if not topics.is_channel(name):
        raise ValueError(f"{text[:80]!r} is not the name of a channel")
    return name


def device(text: str) -> str:
    """Return `Boiler 1` as `boiler_1`; raise ValueError if nothing is left of it, or too much."""
    name = _OTHERS_IN_DEVICES.sub("_", text.lower()).strip("_-")
    if not topics.is_name(name):
        raise ValueError(f"{text[:80]!r} is not the name of a device")
    return name
