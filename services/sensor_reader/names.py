"""Names that stay the same: after what a sensor is and where it is connected, never after the order it was found in."""

import re

_OTHERS = re.compile(r"[^a-z0-9_-]+")
_OTHERS_IN_CHANNELS = re.compile(r"[^a-z0-9]+")
LONGEST = 63
LONGEST_CHANNEL = 64


def device(product: str, place: str) -> str:
    """Return the automatic name of a sensor: `bme280` at `1-0076` is `bme280_1-0076`, `dht11@4` is `dht11_4`."""
    what, where = _plain(product), _plain(place)
    if not where or what == where:
        return what or "sensor"
    if not what or where.startswith((f"{what}_", f"{what}-")):
        return where
    return f"{what}_{where}"[:LONGEST]


def channel(text: str) -> str:
    """Return a text as the name of a channel: `pm2.5` is `pm2_5`."""
    return _OTHERS_IN_CHANNELS.sub("_", text.lower()).strip("_")[:LONGEST_CHANNEL]


def _plain(text: str) -> str:
    return _OTHERS.sub("_", text.lower()).strip("_-")[:LONGEST]
