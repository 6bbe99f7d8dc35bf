"""What Home Assistant is told of a device: one discovery message with all its entities.

Topics and keys: home-assistant.io/integrations/mqtt ("Device discovery payload"); what Core
refuses: components/mqtt/schemas.py, sensor.py, number.py of 2026.11.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from heliograph import __version__, topics
from heliograph.messages import Channel, Info
from services.home_assistant import values
from services.home_assistant.identifiers import joined
from services.home_assistant.meanings import Meaning, meaning

ORIGIN = "Heliograph"
EXPIRY_INTERVALS = 3  # a sensor without news for as many intervals is unavailable
SHORTEST_EXPIRY = 60
FINEST_DIGITS = 3  # Home Assistant has no smaller steps than 0.001
MOST_CHANNELS = 256

_CAPITALS = {
    word: word.upper()
    for word in ("ac", "co2", "cpu", "dc", "lqi", "pf", "ph", "pv", "rssi", "snr", "soc", "soh", "tvoc", "voc")
}
_MAKERS = (
    "ABB", "Carlo Gavazzi", "Chint", "Deye", "EPEVER", "Eastron", "Fronius", "GoodWe", "Growatt", "Huawei", "Janitza",
    "ORNO", "Renogy", "SMA", "Schneider", "Shelly", "SolarEdge", "Solis", "Sunsynk", "Tasmota", "Victron",
)  # fmt: skip


def is_shown(channel: str) -> bool:
    """Whether a channel can be an entity: its name goes into templates."""
    return topics.is_channel(channel)


def payload(node: str, device: str, info: Info, *, mirror: str = "", announced: bool = True) -> dict[str, Any]:
    """Return the discovery message of a device, as JSON has it.

    `mirror` is the topic where its states are repeated and retained, if they are. `announced` says that the
    device has an availability: who never says that it is online would be unavailable for ever.
    """
    components: dict[str, Any] = {}
    for name, channel in list(info.channels.items())[:MOST_CHANNELS]:
        if is_shown(name):
            platform, about = _component(node, device, name, channel, info, mirrored=bool(mirror))
            components[f"{platform}_{name}"] = {"p": platform, **about}
    maker = next((maker for maker in _MAKERS if info.model.lower().startswith(maker.lower())), "")
    return {
        "dev": {
            "ids": [joined(node, device)],
            "name": _words(device),
            **({"mdl": info.model} if info.model else {}),
            **({"mf": maker} if maker else {}),
        },
        "o": {"name": ORIGIN, "sw": __version__},
        **_availability(node, device, info, announced),
        "stat_t": mirror or topics.device(node, device, "state"),
        "cmps": components,
    }


def refusals(info: Info) -> int:
    """Return how many channels of a device go without the class that Home Assistant would refuse."""
    return sum(
        bool(meaning(name, channel).refused)
        for name, channel in info.channels.items()
        if channel.kind in ("gauge", "counter")
    )


def _availability(node: str, device: str, info: Info, announced: bool) -> dict[str, Any]:
    needed = []
    if announced:
        needed.append({"t": topics.device(node, device, "availability"), "val_tpl": values.AVAILABLE})
    if topics.is_name(info.service):
        needed.append({"t": topics.service(node, info.service, "status"), "val_tpl": values.SERVICE_AVAILABLE})
    return {"avty": needed, "avty_mode": "all"} if needed else {}


def _component(
    node: str, device: str, name: str, channel: Channel, info: Info, *, mirrored: bool
) -> tuple[str, dict[str, Any]]:
    """Return the platform of an entity, and what there is to say about it."""
    about: dict[str, Any] = {"uniq_id": joined(node, device, name), "name": _words(name)}
    command = {"cmd_t": topics.device(node, device, "set"), "qos": 1}
    limits = _limits(channel)
    if channel.kind == "state":
        about["val_tpl"] = values.state(name)
        if limits == (0, 1):
            on, off = values.switching(name, True), values.switching(name, False)
            return "switch", {
                **about,
                **command,
                "pl_on": on,
                "pl_off": off,
                "stat_on": values.ON,
                "stat_off": values.OFF,
            }
        return "binary_sensor", {**about, **_expiry(info, mirrored)}
    if channel.kind == "text":
        return "sensor", {**about, "val_tpl": values.text(name), **_expiry(info, mirrored)}
    what = meaning(name, channel)
    if limits:
        low, high = limits
        numbers = {"min": low, "max": high, "step": _step(low, high), "mode": "box", "cmd_tpl": values.command(name)}
        about |= {"val_tpl": values.limited(name, low, high), **numbers, **command, **_named(what)}
        return "number", about
    about |= {"val_tpl": values.number(name), **_named(what), **_expiry(info, mirrored)}
    if what.state_class:
        about["stat_cla"] = what.state_class
    if what.precision is not None:
        about["sug_dsp_prc"] = what.precision
    if what.diagnostic:
        about["ent_cat"] = "diagnostic"
    return "sensor", about


def _named(what: Meaning) -> dict[str, str]:
    """Return unit and device class, those that there are."""
    named = {"unit_of_meas": what.unit, "dev_cla": what.device_class}
    return {key: value for key, value in named.items() if value}


def _expiry(info: Info, mirrored: bool) -> dict[str, int]:
    """Return when a value is too old to be shown. One that is retained would be young again with each connection."""
    if mirrored or not 0 < info.interval < 1e6:
        return {}
    return {"exp_aft": max(SHORTEST_EXPIRY, math.ceil(EXPIRY_INTERVALS * info.interval))}


def _limits(channel: Channel) -> tuple[float, float] | None:
    """Return what `set` takes, None if that is nothing that Home Assistant could offer."""
    if channel.writable is None or not all(map(math.isfinite, channel.writable)):
        return None
    low, high = channel.writable
    return (low, high) if low < high else None


def _step(low: float, high: float) -> float:
    """Return the steps in which a number is set: as fine as its limits are written, and a hundredth of their distance."""
    digits = max(_digits(low), _digits(high))
    while digits < FINEST_DIGITS and high - low < 100 / 10**digits:
        digits += 1
    return float(1 / 10**digits)


def _digits(limit: float) -> int:
    """Return how many digits a limit has behind its point, at most those of the finest step."""
    exponent = Decimal(repr(limit)).normalize().as_tuple().exponent
    return min(max(-exponent if isinstance(exponent, int) else 0, 0), FINEST_DIGITS)


def _words(name: str) -> str:
    words = [_CAPITALS.get(word, word) for word in name.replace("_", " ").split()]
    text = " ".join(words) or name
    return text[0].upper() + text[1:]


def gone(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return what to add to a message so that entities go which it no longer has.

    Home Assistant removes a component that is nothing but its platform; one that is only left out stays.
    """
    there = before.get("cmps")
    if not isinstance(there, dict):
        return {}
    return {
        key: {"p": component["p"]}
        for key, component in there.items()
        if key not in wanted["cmps"] and isinstance(component, dict) and len(component) > 1 and _is_platform(component)
    }


def _is_platform(component: Mapping[str, Any]) -> bool:
    return component.get("p") in ("sensor", "binary_sensor", "switch", "number")


def is_ours(message: Mapping[str, Any]) -> bool:
    """Whether a discovery message is of this program."""
    origin = message.get("o", message.get("origin"))
    return isinstance(origin, dict) and origin.get("name") == ORIGIN
