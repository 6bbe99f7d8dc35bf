"""The discovery message of a device, with all its entities.

Topics and keys: home-assistant.io/integrations/mqtt ("Device discovery payload"); what Core
refuses: components/mqtt/schemas.py, sensor.py, number.py of 2026.11.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from heliograph import __version__, topics
from heliograph.messages import Channel, Info
from heliograph.renames import Renames
from services.home_assistant import templates
from services.home_assistant.entity_description import EntityDescription, describe
from services.home_assistant.identifiers import unique

ORIGIN = "Heliograph"
EXPIRY_INTERVALS = 3  # a sensor without a new value for as many intervals is unavailable
MIN_EXPIRY = 60  # seconds
MAX_STEP_DIGITS = 3  # Home Assistant has no smaller steps than 0.001
MAX_CHANNELS = 256
NO_RENAMES = Renames()

_ACRONYMS = {
    word: word.upper()
    for word in ("ac", "co2", "cpu", "dc", "lqi", "pf", "ph", "pv", "rssi", "snr", "soc", "soh", "tvoc", "voc")
}
_MANUFACTURERS = (
    "ABB", "Carlo Gavazzi", "Chint", "Deye", "EPEVER", "Eastron", "Fronius", "GoodWe", "Growatt", "Huawei", "Janitza",
    "ORNO", "Renogy", "SMA", "Schneider", "Shelly", "SolarEdge", "Solis", "Sunsynk", "Tasmota", "Victron",
)  # fmt: skip


def is_shown(channel: str) -> bool:
    """Whether a channel can be an entity: its name goes into templates."""
    return topics.is_channel(channel)


def message(
    node: str,
    device: str,
    info: Info,
    *,
    mirror: str = "",
    has_availability: bool = True,
    renames: Renames = NO_RENAMES,
) -> dict[str, Any]:
    """Return the discovery message of a device, as JSON has it.

    Device and entities are identified by their first names, so that a rename keeps their history, name and area. `mirror` is the topic of its retained states, if there is one. `has_availability` is whether the
    device publishes its availability: one that never reports "online" would always be unavailable.
    """
    components: dict[str, Any] = {}
    for name, channel in list(info.channels.items())[:MAX_CHANNELS]:
        if is_shown(name):
            platform, config = _component(node, device, name, channel, info, mirrored=bool(mirror))
            config["uniq_id"] = unique(renames, node, device, name)
            components[f"{platform}_{name}"] = {"p": platform, **config}
    manufacturer = next((name for name in _MANUFACTURERS if info.model.lower().startswith(name.lower())), "")
    return {
        "dev": {
            "ids": [unique(renames, node, device)],
            "name": _title(device),
            **({"mdl": info.model} if info.model else {}),
            **({"mf": manufacturer} if manufacturer else {}),
        },
        "o": {"name": ORIGIN, "sw": __version__},
        **_availability(node, device, info, has_availability),
        "stat_t": mirror or topics.device(node, device, "state"),
        "cmps": components,
    }


def rejected_classes(info: Info) -> int:
    """Return how many channels of a device have no class because Home Assistant would refuse it."""
    return sum(
        bool(describe(name, channel).rejected_class)
        for name, channel in info.channels.items()
        if channel.kind in ("gauge", "counter")
    )


def _availability(node: str, device: str, info: Info, has_availability: bool) -> dict[str, Any]:
    sources = []
    if has_availability:
        sources.append({"t": topics.device(node, device, "availability"), "val_tpl": templates.AVAILABLE})
    if topics.is_name(info.service):
        sources.append({"t": topics.service(node, info.service, "status"), "val_tpl": templates.SERVICE_AVAILABLE})
    return {"avty": sources, "avty_mode": "all"} if sources else {}


def _component(
    node: str, device: str, name: str, channel: Channel, info: Info, *, mirrored: bool
) -> tuple[str, dict[str, Any]]:
    """Return the platform of an entity, and its configuration."""
    config: dict[str, Any] = {"name": _title(name)}
    command = {"cmd_t": topics.device(node, device, "set"), "qos": 1}
    limits = _limits(channel)
    if channel.kind == "state":
        config["val_tpl"] = templates.state(name)
        if limits == (0, 1):
            on, off = templates.switch_payload(name, True), templates.switch_payload(name, False)
            return "switch", {
                **config,
                **command,
                "pl_on": on,
                "pl_off": off,
                "stat_on": templates.ON,
                "stat_off": templates.OFF,
            }
        return "binary_sensor", {**config, **_expiry(info, mirrored)}
    if channel.kind == "text":
        return "sensor", {**config, "val_tpl": templates.text(name), **_expiry(info, mirrored)}
    description = describe(name, channel)
    if limits:
        low, high = limits
        numbers = {"min": low, "max": high, "step": _step(low, high), "mode": "box", "cmd_tpl": templates.command(name)}
        config |= {"val_tpl": templates.limited(name, low, high), **numbers, **command, **_unit_and_class(description)}
        return "number", config
    config |= {"val_tpl": templates.number(name), **_unit_and_class(description), **_expiry(info, mirrored)}
    if description.state_class:
        config["stat_cla"] = description.state_class
    if description.precision is not None:
        config["sug_dsp_prc"] = description.precision
    if description.diagnostic:
        config["ent_cat"] = "diagnostic"
    return "sensor", config


def _unit_and_class(description: EntityDescription) -> dict[str, str]:
    """Return unit and device class, without empty ones."""
    config = {"unit_of_meas": description.unit, "dev_cla": description.device_class}
    return {key: value for key, value in config.items() if value}


def _expiry(info: Info, mirrored: bool) -> dict[str, int]:
    """Return after how many seconds a value expires; never if it is mirrored, as each connection would renew a retained value."""
    if mirrored or not 0 < info.interval < 1e6:
        return {}
    return {"exp_aft": max(MIN_EXPIRY, math.ceil(EXPIRY_INTERVALS * info.interval))}


def _limits(channel: Channel) -> tuple[float, float] | None:
    """Return the limits of `set`, None unless Home Assistant can offer them."""
    if channel.writable is None or not all(map(math.isfinite, channel.writable)):
        return None
    low, high = channel.writable
    return (low, high) if low < high else None


def _step(low: float, high: float) -> float:
    """Return the step of a number: as fine as its limits are written, and at most a hundredth of their distance."""
    digits = max(_digits(low), _digits(high))
    while digits < MAX_STEP_DIGITS and high - low < 100 / 10**digits:
        digits += 1
    return float(1 / 10**digits)


def _digits(limit: float) -> int:
    """Return how many decimal digits a limit has, at most those of the finest step."""
    exponent = Decimal(repr(limit)).normalize().as_tuple().exponent
    return min(max(-exponent if isinstance(exponent, int) else 0, 0), MAX_STEP_DIGITS)


def _title(name: str) -> str:
    words = [_ACRONYMS.get(word, word) for word in name.replace("_", " ").split()]
    text = " ".join(words) or name
    return text[0].upper() + text[1:]


def removals(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the components to add to a message so that Home Assistant removes the entities that it no longer has.

    Home Assistant removes a component with only its platform; one that is left out stays.
    """
    components = before.get("cmps")
    if not isinstance(components, dict):
        return {}
    return {
        key: {"p": component["p"]}
        for key, component in components.items()
        if key not in after["cmps"] and isinstance(component, dict) and len(component) > 1 and _is_platform(component)
    }


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether an entity of a message has another component in the next one: Home Assistant has to unload it first."""
    components = _unique_ids(before)
    return any(components.get(unique_id, key) != key for unique_id, key in _unique_ids(after).items())


def replaced(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a component of a message is another entity in the next one: Home Assistant has to remove it first."""
    entities = {key: unique_id for unique_id, key in _unique_ids(before).items()}
    return any(entities.get(key, unique_id) != unique_id for unique_id, key in _unique_ids(after).items())


def _unique_ids(message: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the components of a message by platform and unique id, which together identify an entity."""
    components = message.get("cmps")
    if not isinstance(components, dict):
        return {}
    return {
        (str(component.get("p")), component["uniq_id"]): key
        for key, component in components.items()
        if isinstance(component, dict) and isinstance(component.get("uniq_id"), str)
    }


def _is_platform(component: Mapping[str, Any]) -> bool:
    return component.get("p") in ("sensor", "binary_sensor", "switch", "number")


def is_ours(message: Mapping[str, Any]) -> bool:
    """Whether a discovery message is from this program."""
    origin = message.get("o", message.get("origin"))
    return isinstance(origin, dict) and origin.get("name") == ORIGIN
