"""Shelly, second generation and later: `<id>/events/rpc`, `<id>/status/<component>`, `<id>/online`.

Topics: shelly-api-docs.shelly.cloud/gen2 (Components, Mqtt: "status_ntf", "rpc_ntf",
"enable_control"); frames: General, Notifications; values: Components, Switch, PM1, EM, EM1,
Cover, Temperature …, "Status". Energies are in Wh. `topic` of the source is the prefix of `<id>`.
"""

from collections.abc import Mapping

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

METERS = {"switch", "light", "cover", "pm1", "em", "em1", "emdata", "em1data", "rgb", "rgbw", "cct"}
SENSORS = {"input", "temperature", "humidity", "illuminance", "devicepower", "voltmeter", "flood", "smoke", "wifi"}
COMPONENTS = METERS | SENSORS
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
    "alarm": ("alarm", Channel(kind="state")),
}
WIFI = {"rssi": ("wifi_signal", measured_in("dBm"))}
INPUT = {"state": ("input", Channel(kind="state")), "percent": QUANTITIES["percent"]}


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
                if component.partition(":")[0] not in COMPONENTS:
                    return IGNORED
                return self._status(device, {component: payloads.json_object(payload)}, None)
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
        if frame.get("method") not in ("NotifyStatus", "NotifyFullStatus"):
            return IGNORED
        if not isinstance(params, dict):
            raise NotUnderstood("a notification without params")
        source = frame.get("src")
        model = f"Shelly {source.rpartition('-')[0]}"[:80] if isinstance(source, str) and "-" in source else ""
        parsed = self._status(device, params, params.get("ts"))
        return parsed._replace(model=model) if parsed.values or parsed.rejected else IGNORED

    def _status(self, device: str, components: Mapping[str, object], time: object) -> ParsedMessage:
        values: list[ChannelValue] = []
        rejected: list[str] = []
        command_topics: dict[str, CommandTopic] = {}
        for component, status in components.items():
            kind, _, number = component.partition(":")
            if kind not in COMPONENTS or not isinstance(status, dict) or not (number.isdigit() or not number):
                continue
            if len(number) > 3:
                continue
            suffix = "" if number in ("", "0") else f"_{number}"
            for path, leaf in payloads.leaves(status):
                key = ".".join(path)
                quantity = _quantity(kind, key)
                if quantity is None:
                    continue
                name, channel = quantity[0] + suffix, quantity[1]
                try:
                    values.append(ChannelValue(name, payloads.value(leaf), channel))
                except NotUnderstood as error:
                    rejected.append(f"{component[:40]}.{key[:40]}: {error}")
                    continue
                if key == "output" and kind in SWITCHED:
                    command_topics[name] = CommandTopic(self._topic(device, "command", component), "on", "off")
        return ParsedMessage(device, tuple(values), time, command_topics=command_topics, rejected=tuple(rejected))

    def _topic(self, *levels: str) -> str:
        return "/".join((*self._root, *levels))


def _quantity(kind: str, key: str) -> tuple[str, Channel] | None:
    """Return the name and the channel of a key in a component's status."""
    if kind == "wifi":
        return WIFI.get(key)
    if kind == "input":
        return INPUT.get(key)
    if key == "output":
        return SWITCHED.get(kind, kind), Channel(kind="state")
    return QUANTITIES.get(key)


def family(source: MqttSource) -> Family:
    """Return the parser of a source's messages."""
    return Shelly2(source.topic)
