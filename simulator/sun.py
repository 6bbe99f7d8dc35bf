"""How much sun reaches a place: elevation, clear sky, clouds."""

import math
from datetime import UTC, datetime

from astral import Observer
from astral.sun import elevation as astral_elevation

from simulator import noise

HOUR = 3600.0


def elevation(latitude: float, longitude: float, time: float) -> float:
    """Return the sun's height over the horizon in degrees at a Unix time."""
    moment = datetime.fromtimestamp(time, UTC)
    return astral_elevation(Observer(latitude, longitude), moment)


def clear_sky(degrees: float) -> float:
    """Return the irradiance of a clear sky on level ground in W/m² for an elevation.

    B. Haurwitz, Journal of Meteorology 2 (1945) 154, as given by Reno, Hansen and Stein,
    SAND2012-2389 (2012): 1098 cos z exp(-0.057 / cos z).
    """
    height = math.sin(math.radians(degrees))
    return 1098.0 * height * math.exp(-0.057 / height) if height > 0 else 0.0


def twilight(degrees: float) -> float:
    """Return the little light in W/m² that lifts a panel's voltage while the sun is down."""
    return math.exp(min(degrees, 0.0))


def transmission(seed: int, time: float) -> float:
    """Return the share of the clear sky's light, 0.12..1, that the clouds let through.

    The weather of the days decides how much of the sky clouds cover; clouds of an hour
    and of minutes pass below it.
    """
    cover = noise.at(seed, time, 30 * HOUR)
    clouds = (
        0.6 * noise.at(seed + 1, time, HOUR)
        + 0.3 * noise.at(seed + 2, time, HOUR / 6)
        + 0.1 * noise.at(seed + 3, time, HOUR / 40)
    )
    thickness = min(1.0, max(0.0, (clouds + 1.1 * cover - 0.75) / 0.6))
    return 1.0 - 0.88 * thickness


def irradiance(seed: int, latitude: float, longitude: float, time: float) -> float:
    """Return what a level panel receives in W/m², clouds included."""
    return clear_sky(elevation(latitude, longitude, time)) * transmission(seed, time)
