"""Zigbee2MQTT: `zigbee2mqtt/<friendly name>`, `…/availability`, `bridge/state`, `bridge/devices`.

Topics: zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages; units and commands come from
`exposes` (zigbee2mqtt.io/guide/usage/exposes). `topic` of the source stands in the place of
`zigbee2mqtt`.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from heliograph.messages import Availability, Channel
from services.mqtt_importer import naming, payloads
from services.mqtt_importer.channels import channel
from services.mqtt_importer.heard import SILENCE, Family, Heard, Member, NotUnderstood, Said, Switch
from services.mqtt_importer.options import Source

ROOT = "zigbee2mqtt"
SETTABLE = 2  # of the bit mask `access`
NOT_MEASURED = frozenset({"last_seen", "update", "update_available", "device", "elapsed", "action_transaction_time"})
COUNTED = frozenset({"consumed_energy", "produced_energy", "energy"})
LONGEST_LIST = 2_000  # devices of one bridge


class Exposed(NamedTuple):
    """What a device says a property of its messages is; `on` and `off` are how it writes true and false."""

    about: Channel
    on: object = None
    off: object = None
    settable: bool = False
    limits: tuple[float, float] | None = None


class Zigbee2Mqtt:
    """Reads the messages of all devices of one bridge."""

    default_model = "Zigbee"

    def __init__(self, root: str) -> None:
        self._root = root
        self._exposed: dict[str, dict[str, Exposed]] = {}
        self._models: dict[str, str] = {}
        self.filters = (f"{root}/#",)
        self.command_filters = (f"{root}/+/set", f"{root}/+/+/set")  # a friendly name may have a slash

    def read(self, topic: str, payload: bytes) -> Said:
        """Return what a message says; see heard.Family."""
        if not topic.startswith(f"{self._root}/"):
            return None
        what = topic.removeprefix(f"{self._root}/")
        first, _, rest = what.partition("/")
        if first == "bridge":
            return self._bridge(rest, payload)
        if what.endswith("/availability"):
            return Heard(what.removesuffix("/availability"), availability=_available(payload))
        if not {"set", "get"}.isdisjoint(what.split("/")[1:]):
            return SILENCE
        if not what:
            return None
        return self._heard(what, payload) if payload else SILENCE

    def _bridge(self, what: str, payload: bytes) -> Said:
        if what == "state":
            return Heard("", availability=_available(payload), everyone=True)
        if what == "devices":
            found = payloads.document(payload)
            if not isinstance(found, list) or len(found) > LONGEST_LIST:
                raise NotUnderstood("not a list of devices")
            devices = [item for item in found if isinstance(item, dict)]
            self._exposed = {str(item.get("friendly_name")): dict(_exposes(item)) for item in devices}
            self._models = {str(item.get("friendly_name")): _model(item) for item in devices}
        return SILENCE

    def _heard(self, device: str, payload: bytes) -> Heard:
        found = payloads.members(payload)
        exposed = self._exposed.get(device, {})
        members, refused = [], []
        switches = {}
        for path, leaf in payloads.leaves(found):
            key = ".".join(path)
            if not path or path[0] in NOT_MEASURED:
                continue
            try:
                name = naming.channel("_".join(path))
                known = exposed.get(key)
                members.append(_member(name, leaf, known))
            except NotUnderstood as error:
                refused.append(f"{key[:80]}: {error}")
                continue
            if known and known.settable and len(path) == 1:
                switches[name] = self._switch(device, key, known)
        time = found.get("last_seen")
        model = self._models.get(device, "")
        return Heard(device, tuple(members), time, None, model, switches, refused=tuple(refused))

    def _switch(self, device: str, key: str, known: Exposed) -> Switch:
        topic = f"{self._root}/{device}/set"
        quoted = payloads.written(key)
        if known.about.kind == "state":
            on, off = payloads.written(known.on), payloads.written(known.off)
            return Switch(topic, f"{{{quoted}:{on}}}", f"{{{quoted}:{off}}}")
        return Switch(topic, template=f"{{{quoted}:{{value}}}}", limits=known.limits)


def _member(name: str, leaf: object, known: Exposed | None) -> Member:
    if known is None:
        return Member(name, payloads.value(leaf))
    if known.about.kind == "state":
        if leaf is None:
            return Member(name, None, known.about)
        if leaf not in (known.on, known.off):
            raise NotUnderstood("neither its on nor its off")
        return Member(name, leaf == known.on, known.about)
    if known.about.kind == "text":
        return Member(name, payloads.short(leaf) if isinstance(leaf, str) else None, known.about)
    return Member(name, payloads.value(leaf), known.about)


def _available(payload: bytes) -> Availability:
    said: object = payloads.text(payload)
    if isinstance(said, str) and said.startswith("{"):
        said = payloads.members(payload).get("state")
    return payloads.availability(said)


def _exposes(device: Mapping[str, object]) -> Iterator[tuple[str, Exposed]]:
    definition = device.get("definition")
    exposes = definition.get("exposes") if isinstance(definition, dict) else None
    yield from _features(exposes, "", payloads.DEEPEST)


def _features(features: object, prefix: str, deepest: int) -> Iterator[tuple[str, Exposed]]:
    for feature in features if isinstance(features, list) and deepest else ():
        if not isinstance(feature, dict):
            continue
        name = feature.get("property")
        inner = feature.get("features")
        if isinstance(inner, list):
            below = f"{prefix}{name}." if feature.get("type") == "composite" and isinstance(name, str) else prefix
            yield from _features(inner, below, deepest - 1)
        elif isinstance(name, str):
            access = feature.get("access")
            settable = isinstance(access, int) and bool(access & SETTABLE)
            if about := _about(name, feature):
                on, off = feature.get("value_on"), feature.get("value_off")
                limits = payloads.limits(feature.get("value_min"), feature.get("value_max"))
                yield f"{prefix}{name}", Exposed(about, on, off, settable, limits)


def _about(name: str, feature: Mapping[str, object]) -> Channel | None:
    unit = feature.get("unit")
    match feature.get("type"):
        case "binary":
            return Channel(kind="state")
        case "numeric":
            given = unit if isinstance(unit, str) else ""
            return channel(given, None if name in COUNTED else "gauge")
        case "enum" | "text":
            return Channel(kind="text")
    return None


def _model(device: Mapping[str, object]) -> str:
    definition = device.get("definition")
    if not isinstance(definition, dict):
        return ""
    return " ".join(part for key in ("vendor", "model") if isinstance(part := definition.get(key), str))[:80]


def family(source: Source) -> Family:
    """Return what reads the messages of a source."""
    return Zigbee2Mqtt(source.topic or ROOT)
