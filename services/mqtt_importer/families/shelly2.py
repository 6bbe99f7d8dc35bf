"""Shelly, second generation and later: `<id>/events/rpc`, `<id>/status/<component>`, `<id>/online`.

Topics: shelly-api-docs.shelly.cloud/gen2 (Components, Mqtt: "status_ntf", "rpc_ntf",
"enable_control"); frames: General, Notifications; values: Components, Switch, PM1, EM, EM1,
Cover, Temperature …, "Status"; radio devices: DynamicComponents/BTHome, Devices/Gen3/ShellyBluGwG3 ("BluTrv"). Energies
are in Wh. `topic` of the source is the prefix of `<id>`.
"""

from collections.abc import Iterator, Mapping

from heliograph.messages import Channel
from services.mqtt_importer.parsing import payloads
from services.mqtt_importer.parsing.channels import measured_in
from services.mqtt_importer.parsing.parsed import (
    IGNORED,
    ChannelValue,
    CommandTopic,
    Family,
    NotUnderstood,
    ParsedMessage,
    ParseResult,
)
from services.mqtt_importer.source import MqttSource

STATE = Channel(kind="state")
TEXT = Channel(kind="text")
SWITCHED = {"switch": "relay", "light": "light"}
PHASES = {
    "voltage": ("voltage", measured_in("V")),
    "current": ("current", measured_in("A")),
    "act_power": ("power", measured_in("W")),
    "aprt_power": ("apparent_power", measured_in("VA")),
    "pf": ("power_factor", measured_in("")),
    "freq": ("frequency", measured_in("Hz")),
    "total_act_energy": ("energy", measured_in("Wh")),
    "total_act_ret_energy": ("energy_returned", measured_in("Wh")),
}
THERMOSTAT = {
    "target_C": ("target_temperature", measured_in("°C")),
    "current_C": ("temperature", measured_in("°C")),
    "current_humidity": ("humidity", measured_in("%")),
    "target_humidity": ("target_humidity", measured_in("%")),
}
QUANTITIES: dict[str, tuple[str, Channel]] = {
    **PHASES,
    **{f"{phase}_{key}": (f"{name}_{phase}", about) for phase in "abcn" for key, (name, about) in PHASES.items()},
    "total_current": ("current", measured_in("A")),
    "total_act_power": ("power", measured_in("W")),
    "total_aprt_power": ("apparent_power", measured_in("VA")),
    "total_act": ("energy", measured_in("Wh")),
    "total_act_ret": ("energy_returned", measured_in("Wh")),
    "apower": ("power", measured_in("W")),
    "aenergy.total": ("energy", measured_in("Wh")),
    "ret_aenergy.total": ("energy_returned", measured_in("Wh")),
    "temperature.tC": ("device_temperature", measured_in("°C")),
    "tC": ("temperature", measured_in("°C")),
    "rh": ("humidity", measured_in("%")),
    "lux": ("illuminance", measured_in("lx")),
    "battery.percent": ("battery", measured_in("%")),
    "battery.V": ("battery_voltage", measured_in("V")),
    "brightness": ("brightness", measured_in("%")),
    "current_pos": ("position", measured_in("%")),
    "percent": ("input_percent", measured_in("%")),
    "alarm": ("alarm", STATE),
    "aprtpower": ("apparent_power", measured_in("VA")),
    "xvoltage": ("voltage_converted", measured_in("")),
    "illumination": ("illumination", TEXT),
    "external.present": ("external_power", STATE),
}
RADIO = {"battery": QUANTITIES["battery.percent"], "rssi": ("bluetooth_signal", measured_in("dBm"))}
VIRTUAL = ("boolean", "enum", "number", "text")
COMPONENTS: dict[str, Mapping[str, tuple[str, Channel | None]]] = {
    **dict.fromkeys(("light", "pm1", "em", "em1", "emdata", "em1data", "rgb", "rgbw", "rgbcct", "cct"), QUANTITIES),
    **dict.fromkeys(
        ("temperature", "humidity", "illuminance", "devicepower", "voltmeter", "flood", "smoke"), QUANTITIES
    ),
    "switch": QUANTITIES,
    "cover": {**QUANTITIES, "state": ("cover", TEXT), "slat_pos": ("slat_position", measured_in("%"))},
    "wifi": {"rssi": ("wifi_signal", measured_in("dBm"))},
    "input": {
        "state": ("input", STATE),
        "percent": QUANTITIES["percent"],
        "xpercent": ("input_percent_converted", measured_in("")),
        "counts.total": ("pulses", measured_in("", "counter")),
        "counts.xtotal": ("pulses_converted", measured_in("", "counter")),
        "freq": ("pulse_frequency", measured_in("Hz")),
        "xfreq": ("pulse_frequency_converted", measured_in("")),
    },
    "thermostat": {**THERMOSTAT, "output": ("heating", STATE), "enable": ("enabled", STATE)},
    "blutrv": {**THERMOSTAT, **RADIO, "pos": ("valve_position", measured_in("%"))},
    "bthomedevice": RADIO,
    "bthomesensor": {"value": ("bthomesensor", None)},  # what it measures is in its configuration only
    **{kind: {"value": (kind, TEXT if kind in ("enum", "text") else None)} for kind in VIRTUAL},
}
WITHOUT_VALUES = frozenset(
    {"sys", "cloud", "ble", "mqtt", "ws", "eth", "ui", "script", "modbus", "matter", "knx", "zigbee", "bthome", "blugw"}
) | {"bthomecontrol", "plugs_ui", "ht_ui", "button", "group", "schedule", "webhook", "kvs", "ota", "http", "serial"}
NOT_MEASURED = frozenset(  # first parts of keys: numbers of components, settings, times, wordings of what is read
    {"id", "source", "errors", "flags", "timer_started_at", "timer_duration", "transition", "calibration", "tF", "mute"}
) | {
    *(
        "user_calibrated_phase",
        "a_errors",
        "b_errors",
        "c_errors",
        "n_errors",
        "rgb",
        "white",
        "ct",
        "mode",
        "schedules",
    ),
    *("move_timeout", "move_started_at", "pos_control", "last_direction", "target_pos", "slat_target_pos"),
    *("sta_ip", "sta_ip6", "status", "ssid", "bssid", "mac", "ap_client_count", "last_update_ts", "last_updated_ts"),
    *("packet_id", "paired", "rpc", "rsv", "known_objects", "fw_ver", "trv"),
}
NOT_MEASURED_WITHIN = frozenset({"tF", "by_minute", "minute_ts", "xby_minute"})  # temperature, aenergy, counts


class Shelly2:
    """Parses the messages of all devices whose topic prefix is below one topic."""

    default_model = "Shelly"

    def __init__(self, root: str) -> None:
        self._root = root.split("/") if root else []
        below = f"{root}/+" if root else "+"
        self.filters = (f"{below}/events/rpc", f"{below}/status/+", f"{below}/online")
        self.command_filters = (f"{below}/command", f"{below}/command/+")

    def parse(self, topic: str, payload: bytes) -> ParseResult:
        """Return what a message says; see parsed.Family."""
        levels = topic.split("/")
        root, below = levels[: len(self._root)], levels[len(self._root) :]
        if root != self._root:
            return None
        match below:
            case [device, "online"]:
                return self._availability(device, payloads.text(payload))
            case [device, "events", "rpc"]:
                return self._notification(device, payloads.json_object(payload))
            case [device, "status", component]:
                kind = component.partition(":")[0]
                if kind in COMPONENTS and _suffix(component) is not None:
                    return self._status(device, {component: payloads.json_object(payload)}, None)
                return IGNORED if kind in WITHOUT_VALUES else None
        return None

    def _availability(self, device: str, written: str) -> ParseResult:
        if written == "false":
            return ParsedMessage(device, availability="offline")
        if written == "true":
            request = (self._topic(device, "command"), "status_update")
            return ParsedMessage(device, availability="online", requests=(request,))
        return None  # many things are called online

    def _notification(self, device: str, frame: Mapping[str, object]) -> ParseResult:
        params = frame.get("params")
        if frame.get("method") == "NotifyEvent":
            return IGNORED
        if frame.get("method") not in ("NotifyStatus", "NotifyFullStatus"):
            return None
        if not isinstance(params, dict):
            raise NotUnderstood("a notification without params")
        source = frame.get("src")
        model = f"Shelly {source.rpartition('-')[0]}"[:80] if isinstance(source, str) and "-" in source else ""
        components = {name: status for name, status in params.items() if name != "ts"}
        parsed = self._status(device, components, params.get("ts"))
        return parsed._replace(model=model) if parsed.values or parsed.rejected or parsed.unknown else IGNORED

    def _status(self, device: str, components: Mapping[str, object], time: object) -> ParsedMessage:
        values: list[ChannelValue] = []
        rejected: list[str] = []
        unknown: list[tuple[str, str]] = []
        command_topics: dict[str, CommandTopic] = {}
        for component, status in components.items():
            kind, suffix = component.partition(":")[0], _suffix(component)
            if kind in WITHOUT_VALUES:
                continue
            if kind not in COMPONENTS or not isinstance(status, dict) or suffix is None:
                unknown.append((component[:80], payloads.compact_json(status)))
                continue
            for key, leaf in _measured(status):
                quantity = _quantity(kind, key)
                if quantity is None:
                    unknown.append((f"{component}.{key[:80]}", payloads.compact_json(leaf)))
                    continue
                name, channel = quantity[0] + suffix, quantity[1]
                try:
                    is_text = channel == TEXT and isinstance(leaf, str)
                    value = payloads.short_text(str(leaf)) if is_text else payloads.value(leaf)
                    values.append(ChannelValue(name, value, channel))
                except NotUnderstood as error:
                    rejected.append(f"{component[:40]}.{key[:40]}: {error}")
                    continue
                if key == "output" and kind in SWITCHED:
                    command_topics[name] = CommandTopic(self._topic(device, "command", component), "on", "off")
        return ParsedMessage(
            device, tuple(values), time, command_topics=command_topics, rejected=tuple(rejected), unknown=tuple(unknown)
        )

    def _topic(self, *levels: str) -> str:
        return "/".join((*self._root, *levels))


def _suffix(component: str) -> str | None:
    """Return what the number of a component adds to the names of its channels, None if it has no proper number."""
    _, colon, number = component.partition(":")
    if not colon or number == "0":
        return ""
    return f"_{number}" if number.isdecimal() and len(number) <= 3 else None


def _measured(status: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the keys and values of a component's status that may be readings."""
    for path, leaf in payloads.leaves(status):
        if path[0] not in NOT_MEASURED and not (len(path) > 1 and path[1] in NOT_MEASURED_WITHIN):
            yield ".".join(path), leaf


def _quantity(kind: str, key: str) -> tuple[str, Channel | None] | None:
    """Return the name and the channel of a key in a component's status."""
    quantities = COMPONENTS[kind]
    if key == "output" and key not in quantities:
        return SWITCHED.get(kind, kind), STATE
    return quantities.get(key)


def family(source: MqttSource) -> Family:
    """Return the parser of a source's messages."""
    return Shelly2(source.topic)
