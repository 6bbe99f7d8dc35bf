"""Stable names: from the product and where it is connected, never from the order in which sensors are found."""

from heliograph import names


def device(product: str, location: str) -> str:
    """Return the automatic name of a sensor: `bme280` at `1-0076` is `bme280_1-0076`, `dht11@4` is `dht11_4`."""
    name, suffix = _plain(product), _plain(location)
    if not suffix or name == suffix:
        return name or "sensor"
    if not name or suffix.startswith((f"{name}_", f"{name}-")):
        return suffix
    return names.device(f"{name}_{suffix}")


def _plain(text: str) -> str:
    try:
        return names.device(text)
    except ValueError:  # no character of it can be in a name
        return ""
