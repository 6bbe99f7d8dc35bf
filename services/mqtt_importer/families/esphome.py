"""ESPHome: `<node>/<component>/<object>/state`, `<node>/status`; units come from its discovery messages.

Topics: esphome.io/components/mqtt ("Defaults", "Last Will And Birth Messages", "MQTT Component
Base Configuration"). Discovery messages: home-assistant.io/integrations/mqtt, with and
without abbreviations. `topic` of the source is the prefix of `<node>`.
"""

from collections import OrderedDict
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

DISCOVERY = "homeassistant"
ON_OFF = frozenset({"binary_sensor", "switch", "fan", "light"})
COMPONENTS = ON_OFF | {"sensor", "text_sensor", "number", "select"}
WRITABLE = ("switch", "light", "number")
MAX_DISCOVERED = 5_000
STATE = Channel(kind="state")
TEXT = Channel(kind="text")


class Esphome:
    """Parses the messages of all nodes below one topic."""

    default_model = "ESPHome"

    def __init__(self, root: str) -> None:
        self._root = root.split("/") if root else []
        self._discovered: OrderedDict[str, Channel] = OrderedDict()  # by state topic
        self._limits: dict[str, tuple[float, float]] = {}
        below = f"{root}/+" if root else "+"
        self.filters = (
            *(f"{below}/{component}/+/state" for component in sorted(COMPONENTS)),
            f"{below}/status",
            f"{DISCOVERY}/+/+/+/config",
        )
        self.command_filters = tuple(f"{below}/{component}/+/command" for component in WRITABLE)

    def parse(self, topic: str, payload: bytes) -> ParseResult:
        """Return what a message says; see parsed.Family."""
        levels = topic.split("/")
        if levels[0] == DISCOVERY and levels[-1] == "config" and len(levels) == 5:
            return self._discover(payload)
        if levels[: len(self._root)] != self._root:
            return None
        match levels[len(self._root) :]:
            case [device, "status"]:
                status = payloads.text(payload)
                if status not in ("online", "offline"):
                    return None  # many things are called status
                return ParsedMessage(device, availability=payloads.availability(status))
            case [device, component, thing, "state"] if component in COMPONENTS:
                return self._state(topic, device, component, thing, payload)
        return None

    def _state(self, topic: str, device: str, component: str, thing: str, payload: bytes) -> ParsedMessage:
        command = f"{topic.removesuffix('/state')}/command"
        command_topics = {}
        if component == "switch":
            command_topics[thing] = CommandTopic(command, "ON", "OFF")
        elif component == "light":
            command_topics[thing] = CommandTopic(command, '{"state":"ON"}', '{"state":"OFF"}')
        elif component == "number":
            command_topics[thing] = CommandTopic(command, template="{value}", limits=self._limits.get(topic))
        written = _light(payload) if component == "light" else payloads.text(payload)
        if component in ON_OFF:
            value = ChannelValue(thing, payloads.on_or_off(written), STATE)
        elif component in ("sensor", "number"):
            value = ChannelValue(thing, payloads.number(written), self._discovered.get(topic))
        else:
            value = ChannelValue(thing, None if payloads.value(written) is None else written, TEXT)
        return ParsedMessage(device, (value,), command_topics=command_topics)

    def _discover(self, payload: bytes) -> ParseResult:
        if not payload:
            return IGNORED
        config = payloads.json_object(payload)
        unit = config.get("unit_of_meas", config.get("unit_of_measurement"))
        state = config.get("stat_t", config.get("state_topic"))
        if not (isinstance(unit, str) and isinstance(state, str)):
            return IGNORED
        base = config.get("~")
        if isinstance(base, str):
            state = base + state[1:] if state.startswith("~") else state.removesuffix("~") + base * state.endswith("~")
        self._discovered[state] = _discovered_channel(unit, config)
        if limits := payloads.limits(config.get("min"), config.get("max")):
            self._limits[state] = limits
        while len(self._discovered) > MAX_DISCOVERED:
            oldest, _ = self._discovered.popitem(last=False)
            self._limits.pop(oldest, None)
        return IGNORED


def _light(payload: bytes) -> str:
    state = payloads.json_object(payload).get("state")
    if not isinstance(state, str):
        raise NotUnderstood("a light without a state")
    return state


def _discovered_channel(unit: str, config: Mapping[str, object]) -> Channel:
    state_class = config.get("stat_cla", config.get("state_class"))
    counts = state_class in ("total", "total_increasing")
    return measured_in(unit, "counter" if counts else "gauge" if state_class == "measurement" else None)


def family(source: MqttSource) -> Family:
    """Return the parser of a source's messages."""
    return Esphome(source.topic)
