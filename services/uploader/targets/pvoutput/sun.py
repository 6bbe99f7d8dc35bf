"""Where the sun is, to a tenth of a degree: The Astronomical Almanac, low precision formulas for the sun."""

from math import asin, atan2, cos, degrees, radians, sin

J2000 = 946_728_000.0  # s UTC
DAY = 86_400.0


def elevation(time: float, latitude: float, longitude: float) -> float:
    """Return how many degrees the sun is above the horizon at a time (s UTC) and place (degrees, north and east)."""
    days = (time - J2000) / DAY
    anomaly = radians(357.529 + 0.98560028 * days)
    ecliptic = radians(280.459 + 0.98564736 * days + 1.915 * sin(anomaly) + 0.020 * sin(2 * anomaly))
    tilt = radians(23.439 - 0.00000036 * days)
    ascension = atan2(cos(tilt) * sin(ecliptic), cos(ecliptic))
    declination = asin(sin(tilt) * sin(ecliptic))
    sidereal = radians(15 * (18.697374558 + 24.06570982441908 * days) + longitude)
    north = radians(latitude)
    height = sin(north) * sin(declination) + cos(north) * cos(declination) * cos(sidereal - ascension)
    return degrees(asin(max(-1.0, min(1.0, height))))
