"""Zigbee2MQTT: `zigbee2mqtt/<friendly name>`, `…/availability`, `bridge/state`, `bridge/devices`.

Topics: zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages; units and commands come from
`exposes` (zigbee2mqtt.io/guide/usage/exposes). With `output: attribute`, or `attribute_and_json`,
`zigbee2mqtt/<friendly name>/<property>` has one value; the property of an object in an object
is `color-x` (zigbee2mqtt.io/guide/configuration/mqtt, "output"). `topic` of the source replaces `zigbee2mqtt`.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

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
METERED = frozenset({"gas", "water", "volume", "water_consumed", "gas_consumed", "consumed_water", "consumed_gas"})
VOLUMES = frozenset({"m³", "L", "ft³", "gal"})
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
        self._with_json: set[str] = set()  # devices whose single properties say nothing new
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
        if not payload:
            return IGNORED
        device = self._device_of(below)
        if device != below and not payload.startswith(b"{"):  # a property is never an object
            return self._property(device, below.removeprefix(f"{device}/"), payload)
        return self._state(below, payload)

    def _device_of(self, below: str) -> str:
        """Return the device of a topic: all of it, unless it continues behind the name of a device of the bridge."""
        name = below
        while name not in self._exposed:
            name, slash, _ = name.rpartition("/")
            if not slash:
                return below
        return name

    def _property(self, device: str, name: str, payload: bytes) -> ParseResult:
        if device in self._with_json or name in NOT_MEASURED:
            return IGNORED
        exposed = self._exposed[device]
        key = name if name in exposed else name.replace("-", ".")
        known = exposed.get(key)
        value = _value(key, _leaf(payloads.text(payload), known), known)
        return self._message(device, (value,))

    def _message(
        self, device: str, values: tuple[ChannelValue, ...], time: object = None, rejected: tuple[str, ...] = ()
    ) -> ParsedMessage:
        exposed = self._exposed.get(device, {})
        command_topics = {
            value.text: self._command_topic(device, value.text, known)
            for value in values
            if (known := exposed.get(value.text)) and known.settable and "." not in value.text
        }
        model = self._models.get(device, "")
        return ParsedMessage(device, values, time, None, model, command_topics, rejected=rejected)

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
            self._with_json.clear()  # it comes when Zigbee2MQTT starts, perhaps with other settings
        return IGNORED

    def _state(self, device: str, payload: bytes) -> ParsedMessage:
        document = payloads.json_object(payload)
        if len(self._with_json) < MAX_DEVICES:
            self._with_json.add(device)
        exposed = self._exposed.get(device, {})
        values, rejected = [], []
        for path, leaf in payloads.leaves(document):
            key = ".".join(path)
            if not path or path[0] in NOT_MEASURED:
                continue
            try:
                values.append(_value(key, leaf, exposed.get(key)))
            except NotUnderstood as error:
                rejected.append(f"{key[:80]}: {error}")
        return self._message(device, tuple(values), document.get("last_seen"), tuple(rejected))

    def _command_topic(self, device: str, key: str, known: ExposedProperty) -> CommandTopic:
        topic = f"{self._root}/{device}/set"
        quoted = payloads.compact_json(key)
        if known.channel.kind == "state":
            on, off = payloads.compact_json(known.on), payloads.compact_json(known.off)
            return CommandTopic(topic, f"{{{quoted}:{on}}}", f"{{{quoted}:{off}}}")
        return CommandTopic(topic, template=f"{{{quoted}:{{value}}}}", limits=known.limits)


def _leaf(written: str, known: ExposedProperty | None) -> object:
    """Return the value of a property from its own topic as it would be in JSON."""
    if known is None or payloads.is_absent(written):
        return payloads.value_or_number(written)
    if known.channel.kind == "state":
        return next((one for one in (known.on, known.off) if written in (one, payloads.compact_json(one))), written)
    return written if known.channel.kind == "text" else payloads.number(written)


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
        return ChannelValue(
            key, payloads.short_text(leaf) if isinstance(leaf, str) else payloads.value(leaf), known.channel
        )
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
            channel = measured_in(unit if isinstance(unit, str) else "", None if name in COUNTED else "gauge")
            return msgspec.structs.replace(channel, kind="counter") if _is_metered(name, feature, channel) else channel
        case "enum" | "text":
            return Channel(kind="text")
    return None


def _is_metered(name: str, feature: Mapping[str, object], channel: Channel) -> bool:
    """Whether a property is what a gas or water meter has counted; a `volume` that is not in m³ may be that of a tank."""
    if channel.unit not in VOLUMES:
        return False
    return (
        name in METERED - {"volume"}
        or feature.get("name") in ("gas", "water")
        or (name, channel.unit) == ("volume", "m³")
    )


def _model(device: Mapping[str, object]) -> str:
    definition = device.get("definition")
    if not isinstance(definition, dict):
        return ""
    return " ".join(part for key in ("vendor", "model") if isinstance(part := definition.get(key), str))[:80]


def family(source: MqttSource) -> Family:
    """Return the parser of a source's messages."""
    return Zigbee2Mqtt(source.topic or ROOT)
