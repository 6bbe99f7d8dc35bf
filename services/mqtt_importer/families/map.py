"""Any other device: topics, JSON paths and plain values as [[mqtt_importer.sources.maps]] says."""

import re
from typing import NamedTuple

from heliograph.messages import Channel, Value
from services.mqtt_importer import filters, naming, paths, payloads
from services.mqtt_importer.channels import channel
from services.mqtt_importer.heard import Family, Heard, Member, NotUnderstood, Said, Switch
from services.mqtt_importer.options import Map, Source, Wanted

_INDEX = re.compile(r"\{([1-9])\}")


class _Value(NamedTuple):
    name: str
    path: paths.Path
    wanted: Wanted
    about: Channel | None


class Mapping:
    """Reads messages as one map says."""

    def __init__(self, described: Map) -> None:
        self.described = described
        self._time = paths.parse(described.time)
        self._values = tuple(_prepared(name, wanted) for name, wanted in described.values.items())

    def read(self, topic: str, payload: bytes) -> Heard | None:
        """Return what a message says, None if the map is not of its topic; raise NotUnderstood."""
        described = self.described
        found = filters.wildcards(described.topic, topic)
        if found is None:
            return None
        device = _filled(described.device, found)
        if described.availability:
            said = payloads.text(payload)
            return Heard(device, availability=payloads.availability(said, described.online, described.offline))
        needs_json = bool(self._time) or not self._values or any(value.path for value in self._values)
        document = self._document(payload) if needs_json else None
        heard = self._named(device, found, document, payload) if self._values else self._all(device, document, topic)
        if self._time:
            try:
                return heard._replace(time=paths.follow(self._time, document))
            except LookupError:
                return heard
        return heard

    def _document(self, payload: bytes) -> object:
        try:
            return payloads.document(payload)
        except NotUnderstood:
            if self._values or self._time:
                raise
            return payloads.text(payload)  # a plain value, to be called like its topic

    def _named(self, device: str, found: tuple[str, ...], document: object, payload: bytes) -> Heard:
        members, refused = [], []
        switches = {}
        for name, path, wanted, about in self._values:
            channel_name = naming.channel(_filled(name, found))
            if wanted.command:
                topic = _filled(wanted.command, found)
                switches[channel_name] = Switch(topic, wanted.on, wanted.off, wanted.template)
            try:
                leaf = paths.follow(path, document) if path else payloads.text(payload)
                members.append(Member(channel_name, _value(leaf, wanted), about))
            except LookupError:
                continue
            except NotUnderstood as error:
                refused.append(f"{channel_name}: {error}")
        return Heard(device, tuple(members), switches=switches, refused=tuple(refused))

    def _all(self, device: str, document: object, topic: str) -> Heard:
        members, refused = [], []
        for path, leaf in payloads.leaves(document):
            try:
                name = naming.channel("_".join(path) or topic.rpartition("/")[2])
                members.append(Member(name, payloads.plain(leaf)))
            except NotUnderstood as error:
                refused.append(f"{'.'.join(path)[:80]}: {error}")
        return Heard(device, tuple(members), refused=tuple(refused))


class Maps:
    """Reads the messages of a source that lists its own maps; the first one that fits is taken."""

    def __init__(self, maps: tuple[Map, ...]) -> None:
        self._mappings = tuple(Mapping(described) for described in maps)
        self.default_model = next((described.model for described in maps if described.model), "MQTT")
        self.filters = tuple(described.topic for described in maps)
        self.command_filters = tuple(
            _INDEX.sub("+", wanted.command)
            for described in maps
            for wanted in described.values.values()
            if wanted.command
        )

    def read(self, topic: str, payload: bytes) -> Said:
        """Return what a message says; see heard.Family."""
        for mapping in self._mappings:
            if (heard := mapping.read(topic, payload)) is not None:
                return heard._replace(model=mapping.described.model)
        return None


def _prepared(name: str, wanted: Wanted) -> _Value:
    about = channel(wanted.unit, wanted.kind) if wanted.unit or wanted.kind else None
    return _Value(name, paths.parse(wanted.path), wanted, about)


def _value(leaf: object, wanted: Wanted) -> Value | None:
    if wanted.on and leaf == wanted.on:
        return True
    if wanted.off and leaf == wanted.off:
        return False
    if wanted.kind == "text":
        return payloads.short(leaf) if isinstance(leaf, str) else payloads.value(leaf)
    return payloads.plain(leaf)


def _filled(text: str, found: tuple[str, ...]) -> str:
    """Return a text with {1}, {2}, … replaced by what the wildcards stand for."""
    return _INDEX.sub(lambda index: found[int(index[1]) - 1] if int(index[1]) <= len(found) else index[0], text)


def family(source: Source) -> Family:
    """Return what reads the messages of a source; raise ValueError if its maps are wrong."""
    if not source.maps:
        raise ValueError("maps: a source of the family map needs some")
    for described in source.maps:
        if not filters.is_filter(described.topic):
            raise ValueError(f"maps: topic: {described.topic!r} is not a topic filter")
    return Maps(source.maps)
