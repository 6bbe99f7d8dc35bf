"""What Home Assistant refuses, as a check of finished discovery messages.

From components/mqtt/discovery.py, schemas.py, sensor.py and number.py of Core 2026.11; the table
of classes is services/home_assistant/device_classes.py, which the container test compares with the real one.
"""

import re
from typing import Any

from services.home_assistant import device_classes

IDENTIFIER = re.compile(r"[a-zA-Z0-9_-]+")
KEYS = {
    "sensor": {"dev_cla", "unit_of_meas", "stat_cla", "sug_dsp_prc", "exp_aft", "ent_cat"},
    "binary_sensor": {"exp_aft"},
    "switch": {"cmd_t", "pl_on", "pl_off", "stat_on", "stat_off", "qos"},
    "number": {"cmd_t", "cmd_tpl", "min", "max", "step", "mode", "dev_cla", "unit_of_meas", "qos"},
}
ALWAYS = {"p", "uniq_id", "name", "val_tpl"}


def refusals(identifier: str, message: dict[str, Any]) -> list[str]:
    reasons = [] if IDENTIFIER.fullmatch(identifier) else [f"topic: {identifier}"]
    if not message["dev"]["ids"] or message["o"].get("name") != "Heliograph" or not message["cmps"]:
        reasons.append("dev, o or cmps")
    if message.get("avty") == []:
        reasons.append("avty")
    identifiers = [component.get("uniq_id") for component in message["cmps"].values()]
    if len(set(identifiers)) < len(identifiers):
        reasons.append("uniq_id twice")
    for key, component in message["cmps"].items():
        if not IDENTIFIER.fullmatch(key) or not IDENTIFIER.fullmatch(component["uniq_id"]):
            reasons.append(f"id: {key}")
        reasons += [f"{key}: {reason}" for reason in _component(component)]
    return reasons


def _component(component: dict[str, Any]) -> list[str]:
    platform = component["p"]
    reasons = [f"key {key}" for key in set(component) - KEYS[platform] - ALWAYS]
    reasons += [f"no {key}" for key in ALWAYS - set(component)]
    reasons += [f"{key} is empty" for key, value in component.items() if value == ""]  # no member of DEVICE_CLASSES
    device_class, unit = component.get("dev_cla", ""), component.get("unit_of_meas", "")
    if not device_classes.accepts(device_class, unit, component.get("stat_cla", "")):
        reasons.append(f"{device_class} in {unit!r} as {component.get('stat_cla')}")
    if platform == "number" and not (component["min"] < component["max"] and 0.001 <= component["step"] <= 1):
        reasons.append("limits")
    expiry = component.get("exp_aft", 60)
    if not isinstance(expiry, int) or expiry < 60:
        reasons.append("exp_aft")
    return reasons
