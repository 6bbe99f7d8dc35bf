"""Requests that older projects' servers understand, as recipes; the facts are their source code's.

A preset takes its variables from `variables` of the target and may add some of its own.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from services.uploader.targets.http.requests import Recipe


class Preset(NamedTuple):
    """A recipe, what follows the target's url, what the server answers, and the variables that must and may be given."""

    recipe: Recipe
    path: str = ""
    success_pattern: str = ""
    reject_pattern: str = ""
    needed: tuple[str, ...] = ()
    optional: Mapping[str, str] = {}
    longest: Mapping[str, int] = {}


PRESETS: dict[str, Preset] = {
    # api.php of a Solar Protocol server: tells a peer that this one is there; only the newest row counts
    "solar_protocol": Preset(
        Recipe(
            url="",
            form={
                "api_key": "$key",
                "stamp": "${time}",
                "ip": "$ip",
                "mac": "$mac",
                "name": "$title",
                "tz": "$tz",
                "log": "$log",
            },
            send="batch",
        ),
        success_pattern=r"\A(?!Wrong API Key)",
        needed=("key", "mac", "ip", "title"),
        optional={"log": ""},
    ),
    # pimonitor stores one sensor of a report, and its answer is a success whatever becomes of it
    "pimonitor": Preset(
        Recipe(
            url="",
            json={
                "api_hash": "$api_hash",
                "location": "$location",
                "timestamp": "${local}",
                "sensors": [
                    {
                        "sensorType": "$sensor",
                        "temperature": "${value_temperature}",
                        "humidity": "${value_humidity}",
                    }
                ],
            },
            headers={"Content-Type": "application/json", "Accept": "text/plain"},
            send="device",
            local="%m/%d/%Y %H:%M:%S",
            needs=("temperature", "humidity"),
            fahrenheit=True,
        ),
        success_pattern=r"Successfully received",
        reject_pattern=r"An unexpected error occured",
        needed=("key", "location"),
        optional={"sensor": "DHT22"},
        longest={"location": 30},
    ),
    # input/post of an Emoncms, as OemGateway asks for it
    "oemgateway": Preset(
        Recipe(
            url="",
            method="GET",
            query={"apikey": "$key", "time": "${time}", "node": "${device}", "json": "${pairs}"},
            send="device",
            safe="{}:,",
        ),
        path="/input/post.json",
        success_pattern=r"\Aok\Z",
        needed=("key",),
    ),
}


def variables(preset: str, given: Mapping[str, str], timezone: str) -> dict[str, str]:
    """Return all variables of a preset; raise ValueError for one that is missing, too long or not known."""
    chosen = PRESETS[preset]
    for name in chosen.needed:
        if not given.get(name):
            raise ValueError(f"variables: {preset} needs {name}")
    for name in given:
        if name not in chosen.needed and name not in chosen.optional:
            raise ValueError(f"variables: {preset} has no {name}")
    for name, longest in chosen.longest.items():
        if len(given[name]) > longest:
            raise ValueError(f"variables: {preset} takes {longest} characters of {name}")
    complete = {**chosen.optional, **given, "tz": timezone}
    if "key" in complete:
        complete["api_hash"] = hashlib.sha256(complete["key"].encode()).hexdigest()
    return complete
