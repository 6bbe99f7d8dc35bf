"""What pimonitor's sensors post: a report of one location, in local time and degrees Fahrenheit. Pure.

Facts: pimonitor's post.py and views.py. The first sensor of a report is the device named after
the location, every further one is `location_2`, `location_3` by its position.
"""

from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from heliograph import tolerant_json, topics
from heliograph.messages import Channel, Value, is_value
from heliograph.names import NamingRule
from heliograph.pending import shown
from services.api.errors import RequestRefused
from services.api.ingest.naming import PostedNames
from services.api.ingest.reports import Report

FORMAT = "%m/%d/%Y %H:%M:%S"
SUCCESS = "[{}] Successfully received and inserted into database."
NO_JSON = "An unexpected error occured.  Try again."  # as the original writes it
MOST_SENSORS = 100
_KNOWN = {"temperature": Channel("°C"), "humidity": Channel("%")}


class PimonitorReport(NamedTuple):
    """A report: its time as it was written, its readings, and what is wrong with the other sensors."""

    timestamp: str
    reports: list[Report]
    refused: list[str]


def decode(body: bytes) -> dict[str, Any]:
    """Decode a body, which is a JSON object; raise RequestRefused."""
    try:
        content = tolerant_json.decode(body, unique=True)
    except ValueError as error:
        raise RequestRefused(f"the body is not JSON: {error}", 400) from None
    if not isinstance(content, dict):
        raise RequestRefused("the report is not an object")
    return content


def digest(content: dict[str, Any]) -> str:
    """Return the hash of the key that came with a report; raise RequestRefused if there is none."""
    key_hash = content.get("api_hash")
    if not isinstance(key_hash, str) or not key_hash:
        raise RequestRefused("api_hash is missing: it is the SHA-256 of a key of this node", 401)
    return key_hash.lower()


def parse(content: dict[str, Any], zone: tzinfo, now: float, names: PostedNames) -> PimonitorReport:
    """Parse a report; raise RequestRefused if none of it is valid."""
    location = content.get("location")
    device = _device(location, names.rule)
    seconds, written = moment(content.get("timestamp"), zone, now)
    sensors = content.get("sensors")
    if not isinstance(sensors, list) or not 0 < len(sensors) <= MOST_SENSORS:
        raise RequestRefused(f"sensors: expected a list of 1 to {MOST_SENSORS}")
    reports, refused = [], []
    for number, sensor in enumerate(sensors, 1):
        try:
            suffix, text = ("", f"{location}") if number == 1 else (f"_{number}", f"sensor {number} of {location}")
            name = names.claim_device(names.rule.device(f"{device}{suffix}"), text)
            reports.append(_sensor(sensor, name, seconds))
        except RequestRefused as error:
            refused.append(f"sensor {number}: {error.detail}")
    return PimonitorReport(written, reports, refused)


def moment(text: object, zone: tzinfo, now: float) -> tuple[float, str]:
    """Return a local time in UTC seconds, and as pimonitor writes it; raise RequestRefused.

    A local time that occurs twice is the one nearer to now.
    """
    try:
        local = datetime.strptime(text if isinstance(text, str) else "", FORMAT).replace(tzinfo=zone)
        if not 2000 <= local.year < 2100:
            raise ValueError
        choices = [local.replace(fold=fold).timestamp() for fold in (0, 1)]
    except (ValueError, OverflowError):
        raise RequestRefused(f"timestamp: {shown(text)[:40]} is not a time such as 11/20/2026 05:37:23") from None
    written = local.strftime(FORMAT)
    real = [seconds for seconds in choices if _shows(seconds, zone) == written]
    if not real:
        raise RequestRefused(f"timestamp: {written} does not exist in this time zone: the clock was put forward")
    return min(real, key=lambda seconds: abs(seconds - now)), written


def _shows(seconds: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone).strftime(FORMAT)


def _device(location: object, rule: NamingRule) -> str:
    try:
        return rule.device(location if isinstance(location, str) else "")
    except ValueError:
        raise RequestRefused(f"location: {shown(location)[:80]} is not the name of a location") from None


def _sensor(sensor: object, device: str, seconds: float) -> Report:
    if not isinstance(sensor, dict):
        raise RequestRefused("not an object")
    kind = sensor.get("sensorType", "")
    values: dict[str, Value] = {}
    missing = 0
    for name, value in sensor.items():
        if name == "sensorType":
            continue
        if value is None:
            missing += 1
            continue
        if not topics.is_channel(name) or isinstance(value, bool | str) or not is_value(value):
            raise RequestRefused(f"{shown(name)[:82]}: {shown(value)[:40]} is not a number")
        values[name] = round((value - 32) * 5 / 9, 4) if name == "temperature" else value
    if not (values or missing):
        raise RequestRefused("no values")
    model = f"pimonitor {kind}".strip() if isinstance(kind, str) and kind.isprintable() else "pimonitor"
    channels = {name: _KNOWN[name] for name in values if name in _KNOWN}
    return Report(device, values, seconds, channels, model[:100], missing=missing)
