"""ESPHome: `<node>/<component>/<object>/state`, `<node>/status`; units come from its discovery messages.

Topics: esphome.io/components/mqtt ("Defaults", "Last Will And Birth Messages", "MQTT Component
Base Configuration"), of climate, cover, fan and valve also ESPHome's components/mqtt/mqtt_climate.cpp and its siblings:
temperatures in °C, positions in percent. Discovery messages: home-assistant.io/integrations/mqtt, with and
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
NUMBERS = frozenset({"sensor", "number"})
TEXTS = frozenset({"text_sensor", "select", "text", "cover", "lock", "valve", "alarm_control_panel"})
COMPONENTS = ON_OFF | NUMBERS | TEXTS
UNREAD = frozenset({"date", "datetime", "event", "time", "update"})  # subscribed to, so that people see them
WRITABLE = ("switch", "light", "number")
MAX_DISCOVERED = 5_000
STATE = Channel(kind="state")
TEXT = Channel(kind="text")
CELSIUS, PERCENT, LEVEL = measured_in("°C"), measured_in("%"), measured_in("")
PARTS: dict[str, dict[str, Channel]] = {  # of a component with several states, each with a topic of its own
    "climate": {
        **dict.fromkeys(("current_temperature", "target_temperature"), CELSIUS),
        **dict.fromkeys(("target_temperature_low", "target_temperature_high"), CELSIUS),
        **dict.fromkeys(("current_humidity", "target_humidity"), PERCENT),
        **dict.fromkeys(("mode", "action", "preset", "fan_mode", "swing_mode", "away"), TEXT),
    },
    "cover": {"position": PERCENT, "tilt": PERCENT},
    "fan": {"speed_level": LEVEL, **dict.fromkeys(("speed", "oscillation", "direction", "preset"), TEXT)},
    "valve": {"position": PERCENT},
}


class Esphome:
    """Parses the messages of all nodes below one topic."""

    default_model = "ESPHome"

    def __init__(self, root: str) -> None:
        self._root = root.split("/") if root else []
        self._discovered: OrderedDict[str, Channel] = OrderedDict()  # by state topic
        self._limits: dict[str, tuple[float, float]] = {}
        below = f"{root}/+" if root else "+"
        self.filters = (
            *(f"{below}/{component}/+/state" for component in sorted(COMPONENTS | UNREAD)),
            *(f"{below}/{component}/+/+/state" for component in sorted(PARTS)),
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
            case [device, component, thing, part, "state"] if part in PARTS.get(component, ()):
                return ParsedMessage(device, (_part(f"{thing}.{part}", payload, PARTS[component][part]),))
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
        elif component in NUMBERS:
            value = ChannelValue(thing, payloads.number(written), self._discovered.get(topic))
        else:
            value = ChannelValue(thing, _text(written), TEXT)
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


def _part(text: str, payload: bytes, channel: Channel) -> ChannelValue:
    written = payloads.text(payload)
    return ChannelValue(text, _text(written) if channel == TEXT else payloads.number(written), channel)


def _text(written: str) -> str | None:
    return None if payloads.is_absent(written) else payloads.short_text(written)


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
