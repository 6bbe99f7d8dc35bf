"""Zigbee2MQTT: `zigbee2mqtt/<friendly name>`, `…/availability`, `bridge/state`, `bridge/devices`.

Topics: zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages; units and commands come from
`exposes` (zigbee2mqtt.io/guide/usage/exposes). `topic` of the source replaces
`zigbee2mqtt`.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from heliograph.messages import Availability, Channel
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

ROOT = "zigbee2mqtt"
SETTABLE = 2  # of the bit mask `access`
NOT_MEASURED = frozenset({"last_seen", "update", "update_available", "device", "elapsed", "action_transaction_time"})
COUNTED = frozenset({"consumed_energy", "produced_energy", "energy"})
MAX_DEVICES = 2_000  # of one bridge


class ExposedProperty(NamedTuple):
    """A property of a device's messages as `exposes` describes it; `on` and `off` are its JSON for true and false."""

    channel: Channel
    on: object = None
    off: object = None
    settable: bool = False
    limits: tuple[float, float] | None = None


class Zigbee2Mqtt:
    """Parses the messages of all devices of one bridge."""

    default_model = "Zigbee"

    def __init__(self, root: str) -> None:
        self._root = root
        self._exposed: dict[str, dict[str, ExposedProperty]] = {}
        self._models: dict[str, str] = {}
        self.filters = (f"{root}/#",)
        self.command_filters = (f"{root}/+/set", f"{root}/+/+/set")  # a friendly name may have a slash

    def parse(self, topic: str, payload: bytes) -> ParseResult:
        """Return what a message says; see parsed.Family."""
        if not topic.startswith(f"{self._root}/"):
            return None
        below = topic.removeprefix(f"{self._root}/")
        first, _, rest = below.partition("/")
        if first == "bridge":
            return self._bridge(rest, payload)
        if below.endswith("/availability"):
            return ParsedMessage(below.removesuffix("/availability"), availability=_availability(payload))
        if not {"set", "get"}.isdisjoint(below.split("/")[1:]):
            return IGNORED
        if not below:
            return None
        return self._state(below, payload) if payload else IGNORED

    def _bridge(self, what: str, payload: bytes) -> ParseResult:
        if what == "state":
            return ParsedMessage("", availability=_availability(payload), all_devices=True)
        if what == "devices":
            document = payloads.json_document(payload)
            if not isinstance(document, list) or len(document) > MAX_DEVICES:
                raise NotUnderstood("not a list of devices")
            devices = [item for item in document if isinstance(item, dict)]
            self._exposed = {str(item.get("friendly_name")): dict(_exposed(item)) for item in devices}
            self._models = {str(item.get("friendly_name")): _model(item) for item in devices}
        return IGNORED

    def _state(self, device: str, payload: bytes) -> ParsedMessage:
        document = payloads.json_object(payload)
        exposed = self._exposed.get(device, {})
        values, rejected = [], []
        command_topics = {}
        for path, leaf in payloads.leaves(document):
            key = ".".join(path)
            if not path or path[0] in NOT_MEASURED:
                continue
            try:
                known = exposed.get(key)
                values.append(_value(key, leaf, known))
            except NotUnderstood as error:
                rejected.append(f"{key[:80]}: {error}")
                continue
            if known and known.settable and len(path) == 1:
                command_topics[key] = self._command_topic(device, key, known)
        time = document.get("last_seen")
        model = self._models.get(device, "")
        return ParsedMessage(device, tuple(values), time, None, model, command_topics, rejected=tuple(rejected))

    def _command_topic(self, device: str, key: str, known: ExposedProperty) -> CommandTopic:
        topic = f"{self._root}/{device}/set"
        quoted = payloads.compact_json(key)
        if known.channel.kind == "state":
            on, off = payloads.compact_json(known.on), payloads.compact_json(known.off)
            return CommandTopic(topic, f"{{{quoted}:{on}}}", f"{{{quoted}:{off}}}")
        return CommandTopic(topic, template=f"{{{quoted}:{{value}}}}", limits=known.limits)


def _value(key: str, leaf: object, known: ExposedProperty | None) -> ChannelValue:
    if known is None:
        return ChannelValue(key, payloads.value(leaf))
    if known.channel.kind == "state":
        if leaf is None:
            return ChannelValue(key, None, known.channel)
        if leaf not in (known.on, known.off):
            raise NotUnderstood("neither its on nor its off")
        return ChannelValue(key, leaf == known.on, known.channel)
    if known.channel.kind == "text":
        return ChannelValue(key, payloads.short_text(leaf) if isinstance(leaf, str) else None, known.channel)
    return ChannelValue(key, payloads.value(leaf), known.channel)


def _availability(payload: bytes) -> Availability:
    state: object = payloads.text(payload)
    if isinstance(state, str) and state.startswith("{"):
        state = payloads.json_object(payload).get("state")
    return payloads.availability(state)


def _exposed(device: Mapping[str, object]) -> Iterator[tuple[str, ExposedProperty]]:
    definition = device.get("definition")
    exposes = definition.get("exposes") if isinstance(definition, dict) else None
    yield from _features(exposes, "", payloads.MAX_DEPTH)


def _features(features: object, prefix: str, max_depth: int) -> Iterator[tuple[str, ExposedProperty]]:
    for feature in features if isinstance(features, list) and max_depth else ():
        if not isinstance(feature, dict):
            continue
        name = feature.get("property")
        inner = feature.get("features")
        if isinstance(inner, list):
            below = f"{prefix}{name}." if feature.get("type") == "composite" and isinstance(name, str) else prefix
            yield from _features(inner, below, max_depth - 1)
        elif isinstance(name, str):
            access = feature.get("access")
            settable = isinstance(access, int) and bool(access & SETTABLE)
            if channel := _channel(name, feature):
                on, off = feature.get("value_on"), feature.get("value_off")
                limits = payloads.limits(feature.get("value_min"), feature.get("value_max"))
                yield f"{prefix}{name}", ExposedProperty(channel, on, off, settable, limits)


def _channel(name: str, feature: Mapping[str, object]) -> Channel | None:
    unit = feature.get("unit")
    match feature.get("type"):
        case "binary":
            return Channel(kind="state")
        case "numeric":
            return measured_in(unit if isinstance(unit, str) else "", None if name in COUNTED else "gauge")
        case "enum" | "text":
            return Channel(kind="text")
    return None


def _model(device: Mapping[str, object]) -> str:
    definition = device.get("definition")
    if not isinstance(definition, dict):
        return ""
    return " ".join(part for key in ("vendor", "model") if isinstance(part := definition.get(key), str))[:80]


def family(source: MqttSource) -> Family:
    """Return the parser of a source's messages."""
    return Zigbee2Mqtt(source.topic or ROOT)
