"""Any other device: topics, JSON paths and plain values as [[mqtt_importer.sources.maps]] says."""

import re
from typing import NamedTuple

from heliograph import names
from heliograph.messages import Channel, Value
from services.mqtt_importer.parsing import json_paths, payloads, topic_filters
from services.mqtt_importer.parsing.channels import measured_in
from services.mqtt_importer.parsing.parsed import (
    ChannelValue,
    CommandTopic,
    Family,
    NotUnderstood,
    ParsedMessage,
    ParseResult,
)
from services.mqtt_importer.source import MappedValue, MqttSource, TopicMap

NO_TIME = ""  # is counted as a time that cannot be used
BRACKETS = ("{", "[", '"')  # begin a JSON document: a broken one is no plain text
_INDEX = re.compile(r"\{([1-9])\}")


class _PreparedValue(NamedTuple):
    name: str
    path: json_paths.Path
    options: MappedValue
    channel: Channel | None


class TopicMapParser:
    """Parses the messages of one map."""

    def __init__(self, options: TopicMap) -> None:
        self.options = options
        self._time = json_paths.parse(options.time)
        self._values = tuple(_prepared(name, value) for name, value in options.values.items())

    def parse(self, topic: str, payload: bytes) -> ParsedMessage | None:
        """Return what a message says, None if the map is not of its topic; raise NotUnderstood."""
        wildcards = topic_filters.wildcards(self.options.topic, topic)
        if wildcards is None:
            return None
        device = _filled(self.options.device, wildcards)
        if self.options.availability:
            written = payloads.text(payload)
            availability = payloads.availability(written, self.options.online, self.options.offline)
            return ParsedMessage(device, availability=availability)
        needs_json = bool(self._time) or not self._values or any(value.path for value in self._values)
        document = self._document(payload) if needs_json else None
        if self._values:
            parsed = self._mapped_values(device, wildcards, document, payload)
        else:
            parsed = _all_values(device, document, topic)
        if self._time:
            try:
                return parsed._replace(time=json_paths.follow(self._time, document))
            except LookupError:
                return parsed._replace(time=NO_TIME)
        return parsed

    def _document(self, payload: bytes) -> object:
        try:
            return payloads.json_document(payload)
        except NotUnderstood:
            written = payloads.text(payload)
            if self._values or self._time or written.startswith(BRACKETS):
                raise
            return written  # a plain value, to be called like its topic

    def _mapped_values(
        self, device: str, wildcards: tuple[str, ...], document: object, payload: bytes
    ) -> ParsedMessage:
        values, rejected = [], []
        command_topics = {}
        for template, path, options, channel in self._values:
            text = _filled(template, wildcards)
            if options.command:
                topic = _filled(options.command, wildcards)
                command_topics[text] = CommandTopic(topic, options.on, options.off, options.template)
            try:
                leaf = json_paths.follow(path, document) if path else payloads.text(payload)
                values.append(ChannelValue(text, _value(leaf, options), channel))
            except LookupError:
                values.append(ChannelValue(text, None, channel))
            except NotUnderstood as error:
                rejected.append(f"{text[:80]}: {error}")
        return ParsedMessage(device, tuple(values), command_topics=command_topics, rejected=tuple(rejected))


class TopicMaps:
    """Parses the messages of a source that lists its own maps; the first map that matches the topic takes a message."""

    def __init__(self, maps: tuple[TopicMap, ...]) -> None:
        self._parsers = tuple(TopicMapParser(options) for options in maps)
        self.default_model = next((options.model for options in maps if options.model), "MQTT")
        self.filters = tuple(options.topic for options in maps)
        self.command_filters = tuple(
            _INDEX.sub("+", value.command) for options in maps for value in options.values.values() if value.command
        )

    def parse(self, topic: str, payload: bytes) -> ParseResult:
        """Return what a message says; see parsed.Family."""
        for parser in self._parsers:
            if (parsed := parser.parse(topic, payload)) is not None:
                return parsed._replace(model=parser.options.model)
        return None


def _all_values(device: str, document: object, topic: str) -> ParsedMessage:
    values, rejected = [], []
    for path, leaf in payloads.leaves(document):
        try:
            text = ".".join(path) or topic.rpartition("/")[2]
            values.append(ChannelValue(text, payloads.value_or_number(leaf)))
        except NotUnderstood as error:
            rejected.append(f"{'.'.join(path)[:80]}: {error}")
    return ParsedMessage(device, tuple(values), rejected=tuple(rejected))


def _prepared(name: str, options: MappedValue) -> _PreparedValue:
    channel = measured_in(options.unit, options.kind) if options.unit or options.kind else None
    return _PreparedValue(name, json_paths.parse(options.path), options, channel)


def _value(leaf: object, options: MappedValue) -> Value | None:
    if options.on and leaf == options.on:
        return True
    if options.off and leaf == options.off:
        return False
    if options.kind == "text":
        return payloads.short_text(leaf) if isinstance(leaf, str) else payloads.value(leaf)
    return payloads.value_or_number(leaf)


def _filled(template: str, wildcards: tuple[str, ...]) -> str:
    """Return a template with {1}, {2}, … replaced by what the wildcards matched."""
    return _INDEX.sub(
        lambda match: wildcards[int(match[1]) - 1] if int(match[1]) <= len(wildcards) else match[0], template
    )


def family(source: MqttSource) -> Family:
    """Return the parser of a source's messages; raise ValueError if its maps are wrong."""
    if not source.maps:
        raise ValueError("maps: a source of the family map needs at least one")
    for options in source.maps:
        if not topic_filters.is_filter(options.topic):
            raise ValueError(f"maps: topic: {options.topic!r} is not a topic filter")
        _check_names(options)
    return TopicMaps(source.maps)


def _check_names(options: TopicMap) -> None:
    """Raise ValueError if two values of a map would be one channel, whatever the wildcards match."""
    called: dict[str, str] = {}
    for text in options.values:
        if not _INDEX.search(text):
            name = names.channel(text)
            if name in called:
                raise ValueError(f"maps: values: {text!r} would be called {name}, as {called[name]!r} is")
            called[name] = text
