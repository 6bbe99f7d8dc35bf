"""Shelly, second generation and later: `<id>/events/rpc`, `<id>/status/<component>`, `<id>/online`.

Topics: shelly-api-docs.shelly.cloud/gen2 (Components, Mqtt: "status_ntf", "rpc_ntf",
"enable_control"); frames: General, Notifications; values: Components, Switch, PM1, EM, EM1,
Cover, Temperature …, "Status". Energies are in Wh. `topic` of the source stands before `<id>`.
"""

from collections.abc import Mapping

from heliograph.messages import Channel
from services.mqtt_importer import payloads
from services.mqtt_importer.channels import channel
from services.mqtt_importer.heard import SILENCE, Family, Heard, Member, NotUnderstood, Said, Switch
from services.mqtt_importer.options import Source

METERS = {"switch", "light", "cover", "pm1", "em", "em1", "emdata", "em1data", "rgb", "rgbw", "cct"}
SENSORS = {"input", "temperature", "humidity", "illuminance", "devicepower", "voltmeter", "flood", "smoke", "wifi"}
COMPONENTS = METERS | SENSORS
SWITCHED = {"switch": "relay", "light": "light"}
PHASES = {
    "voltage": ("voltage", channel("V")),
    "current": ("current", channel("A")),
    "act_power": ("power", channel("W")),
    "aprt_power": ("apparent_power", channel("VA")),
    "pf": ("power_factor", channel("")),
    "freq": ("frequency", channel("Hz")),
    "total_act_energy": ("energy", channel("Wh")),
    "total_act_ret_energy": ("energy_returned", channel("Wh")),
}
QUANTITIES: dict[str, tuple[str, Channel]] = {
    **PHASES,
    **{f"{phase}_{key}": (f"{name}_{phase}", about) for phase in "abcn" for key, (name, about) in PHASES.items()},
    "total_current": ("current", channel("A")),
    "total_act_power": ("power", channel("W")),
    "total_aprt_power": ("apparent_power", channel("VA")),
    "total_act": ("energy", channel("Wh")),
    "total_act_ret": ("energy_returned", channel("Wh")),
    "apower": ("power", channel("W")),
    "aenergy.total": ("energy", channel("Wh")),
    "ret_aenergy.total": ("energy_returned", channel("Wh")),
    "temperature.tC": ("device_temperature", channel("°C")),
    "tC": ("temperature", channel("°C")),
    "rh": ("humidity", channel("%")),
    "lux": ("illuminance", channel("lx")),
    "battery.percent": ("battery", channel("%")),
    "battery.V": ("battery_voltage", channel("V")),
    "brightness": ("brightness", channel("%")),
    "current_pos": ("position", channel("%")),
    "percent": ("input_percent", channel("%")),
    "alarm": ("alarm", Channel(kind="state")),
}
WIFI = {"rssi": ("wifi_signal", channel("dBm"))}
INPUT = {"state": ("input", Channel(kind="state")), "percent": QUANTITIES["percent"]}


class Shelly2:
    """Reads the messages of all devices whose topic prefix is below one topic."""

    default_model = "Shelly"

    def __init__(self, root: str) -> None:
        self._root = root.split("/") if root else []
        below = f"{root}/+" if root else "+"
        self.filters = (f"{below}/events/rpc", f"{below}/status/+", f"{below}/online")
        self.command_filters = (f"{below}/command", f"{below}/command/+")

    def read(self, topic: str, payload: bytes) -> Said:
        """Return what a message says; see heard.Family."""
        levels = topic.split("/")
        root, rest = levels[: len(self._root)], levels[len(self._root) :]
        if root != self._root:
            return None
        match rest:
            case [device, "online"]:
                said = payloads.text(payload)
                if said not in ("true", "false"):
                    return None  # many things are called online
                online = said == "true"
                ask = ((self._topic(device, "command"), "status_update"),) if online else ()
                return Heard(device, availability="online" if online else "offline", asks=ask)
            case [device, "events", "rpc"]:
                return self._notified(device, payloads.members(payload))
            case [device, "status", component]:
                if component.partition(":")[0] not in COMPONENTS:
                    return SILENCE
                return self._heard(device, {component: payloads.members(payload)}, None)
        return None

    def _notified(self, device: str, frame: Mapping[str, object]) -> Said:
        params = frame.get("params")
        if frame.get("method") not in ("NotifyStatus", "NotifyFullStatus"):
            return SILENCE
        if not isinstance(params, dict):
            raise NotUnderstood("a notification without params")
        source = frame.get("src")
        model = f"Shelly {source.rpartition('-')[0]}"[:80] if isinstance(source, str) and "-" in source else ""
        heard = self._heard(device, params, params.get("ts"))
        return heard._replace(model=model) if heard.members or heard.refused else SILENCE

    def _heard(self, device: str, components: Mapping[str, object], time: object) -> Heard:
        members: list[Member] = []
        refused: list[str] = []
        switches: dict[str, Switch] = {}
        for component, status in components.items():
            kind, _, number = component.partition(":")
            if kind not in COMPONENTS or not isinstance(status, dict) or len(number) > 3:
                continue
            suffix = "" if number in ("", "0") else f"_{number}"
            for path, leaf in payloads.leaves(status):
                key = ".".join(path)
                meaning = _meaning(kind, key)
                if meaning is None or not (number == "" or number.isdigit()):
                    continue
                name = meaning[0] + suffix
                try:
                    members.append(Member(name, payloads.value(leaf), meaning[1]))
                except NotUnderstood as error:
                    refused.append(f"{component[:40]}.{key[:40]}: {error}")
                    continue
                if key == "output" and kind in SWITCHED:
                    switches[name] = Switch(self._topic(device, "command", component), "on", "off")
        return Heard(device, tuple(members), time, switches=switches, refused=tuple(refused))

    def _topic(self, *levels: str) -> str:
        return "/".join((*self._root, *levels))


def _meaning(kind: str, key: str) -> tuple[str, Channel] | None:
    if kind == "wifi":
        return WIFI.get(key)
    if kind == "input":
        return INPUT.get(key)
    if key == "output":
        return SWITCHED.get(kind, kind), Channel(kind="state")
    return QUANTITIES.get(key)


def family(source: Source) -> Family:
    """Return what reads the messages of a source."""
    return Shelly2(source.topic)
