"""ESPHome: `<node>/<component>/<object>/state`, `<node>/status`; units come from its discovery messages.

Topics: esphome.io/components/mqtt ("Defaults", "Last Will And Birth Messages", "MQTT Component
Base Configuration"). Discovery messages: home-assistant.io/integrations/mqtt, with and
without abbreviations. `topic` of the source stands before `<node>`.
"""

from collections import OrderedDict
from collections.abc import Mapping

from heliograph.messages import Channel
from services.mqtt_importer import naming, payloads
from services.mqtt_importer.channels import channel
from services.mqtt_importer.heard import SILENCE, Family, Heard, Member, NotUnderstood, Said, Switch
from services.mqtt_importer.options import Source

DISCOVERY = "homeassistant"
STATES = frozenset({"binary_sensor", "switch", "fan", "light"})
COMPONENTS = STATES | {"sensor", "text_sensor", "number", "select"}
SETTABLE = ("switch", "light", "number")
MOST_UNITS = 5_000  # discovered ones that are remembered


class Esphome:
    """Reads the messages of all nodes below one topic."""

    default_model = "ESPHome"

    def __init__(self, root: str) -> None:
        self._root = root.split("/") if root else []
        self._discovered: OrderedDict[str, Channel] = OrderedDict()
        self._limits: dict[str, tuple[float, float]] = {}
        below = f"{root}/+" if root else "+"
        self.filters = (
            *(f"{below}/{component}/+/state" for component in sorted(COMPONENTS)),
            f"{below}/status",
            f"{DISCOVERY}/+/+/+/config",
        )
        self.command_filters = tuple(f"{below}/{component}/+/command" for component in SETTABLE)

    def read(self, topic: str, payload: bytes) -> Said:
        """Return what a message says; see heard.Family."""
        levels = topic.split("/")
        if levels[0] == DISCOVERY and levels[-1] == "config" and len(levels) == 5:
            return self._discover(payload)
        if levels[: len(self._root)] != self._root:
            return None
        match levels[len(self._root) :]:
            case [device, "status"]:
                said = payloads.text(payload)
                if said not in ("online", "offline"):
                    return None  # many things are called status
                return Heard(device, availability=payloads.availability(said))
            case [device, component, thing, "state"] if component in COMPONENTS:
                return self._heard(topic, device, component, thing, payload)
        return None

    def _heard(self, topic: str, device: str, component: str, thing: str, payload: bytes) -> Heard:
        name = naming.channel(thing)
        about = self._discovered.get(topic)
        switches = {}
        command = f"{topic.removesuffix('/state')}/command"
        if component in STATES:
            value = payloads.switched(_state(component, payload))
            about = Channel(kind="state")
            if component == "switch":
                switches[name] = Switch(command, "ON", "OFF")
            elif component == "light":
                switches[name] = Switch(command, '{"state":"ON"}', '{"state":"OFF"}')
            return Heard(device, (Member(name, value, about),), switches=switches)
        written = payloads.text(payload)
        if component in ("sensor", "number"):
            if component == "number":
                switches[name] = Switch(command, template="{value}", limits=self._limits.get(topic))
            return Heard(device, (Member(name, payloads.number(written), about),), switches=switches)
        said = payloads.value(written)
        text = Channel(kind="text")
        return Heard(device, (Member(name, None if said is None else written, text),))

    def _discover(self, payload: bytes) -> Said:
        if not payload:
            return SILENCE
        found = payloads.members(payload)
        unit = found.get("unit_of_meas", found.get("unit_of_measurement"))
        state = found.get("stat_t", found.get("state_topic"))
        if not (isinstance(unit, str) and isinstance(state, str)):
            return SILENCE
        base = found.get("~")
        if isinstance(base, str):
            state = base + state[1:] if state.startswith("~") else state.removesuffix("~") + base * state.endswith("~")
        self._discovered[state] = _about(unit, found)
        if limits := payloads.limits(found.get("min"), found.get("max")):
            self._limits[state] = limits
        while len(self._discovered) > MOST_UNITS:
            oldest, _ = self._discovered.popitem(last=False)
            self._limits.pop(oldest, None)
        return SILENCE


def _state(component: str, payload: bytes) -> str:
    if component != "light":
        return payloads.text(payload)
    state = payloads.members(payload).get("state")
    if not isinstance(state, str):
        raise NotUnderstood("a light without a state")
    return state


def _about(unit: str, found: Mapping[str, object]) -> Channel:
    state_class = found.get("stat_cla", found.get("state_class"))
    counts = state_class in ("total", "total_increasing")
    return channel(unit, "counter" if counts else "gauge" if state_class == "measurement" else None)


def family(source: Source) -> Family:
    """Return what reads the messages of a source."""
    return Esphome(source.topic)
