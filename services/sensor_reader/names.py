"""Names that stay the same: after what a sensor is and where it is connected, never after the order in which it was found."""

from heliograph import names


def device(product: str, place: str) -> str:
    """Return the automatic name of a sensor: `bme280` at `1-0076` is `bme280_1-0076`, `dht11@4` is `dht11_4`."""
    what, where = _plain(product), _plain(place)
    if not where or what == where:
        return what or "sensor"
    if not what or where.startswith((f"{what}_", f"{what}-")):
        return where
    return names.device(f"{what}_{where}")


def _plain(text: str) -> str:
    try:
        return names.device(text)
    except ValueError:  # nothing is left of it
        return ""
