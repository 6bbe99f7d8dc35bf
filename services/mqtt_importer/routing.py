"""Which source takes a message, and which topics no source takes."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from services.mqtt_importer import families
from services.mqtt_importer.message_queue import ReceivedMessage
from services.mqtt_importer.options import MqttImporter
from services.mqtt_importer.parsing import topic_filters
from services.mqtt_importer.parsing.parsed import Family
from services.mqtt_importer.parsing.payloads import printable
from services.mqtt_importer.source import MqttSource

MAX_CACHED_TOPICS = 10_000
MAX_UNKNOWN_TOPICS = 1_000
SHOWN_TOPICS = 20
SHOWN_CHARACTERS = 200
COPY_SECONDS = 1.0  # a broker sends copies one right after the other


def subscriptions(options: MqttImporter, broker: str) -> list[str]:
    """Return the filters to subscribe to on a broker."""
    subscribed = [families.load(source.family)(source) for source in options.sources if source.broker == broker]
    return topic_filters.without_covered([*(one for family in subscribed for one in family.filters), *options.watch])


class Route(NamedTuple):
    """A source, and what parses its messages."""

    source: MqttSource
    family: Family


class Router:
    """Finds the sources whose filters match a topic; `subscribed` are the filters by broker; not thread-safe."""

    def __init__(self, sources: Sequence[MqttSource], subscribed: Mapping[str, Sequence[str]]) -> None:
        self._routes = [Route(source, families.load(source.family)(source)) for source in sources]
        self._subscribed = subscribed
        self._cache: dict[tuple[str, str], list[Route]] = {}
        self._last: ReceivedMessage | None = None
        self._copies = 0

    def routes(self, broker: str, topic: str) -> list[Route]:
        """Return the sources that may take a topic of a broker, in the order of the configuration."""
        routes = self._cache.get((broker, topic))
        if routes is None:
            routes = [
                route
                for route in self._routes
                if route.source.broker == broker
                and any(topic_filters.matches(one, topic) for one in route.family.filters)
            ]
            if len(self._cache) < MAX_CACHED_TOPICS:
                self._cache[broker, topic] = routes
        return routes

    def is_copy(self, message: ReceivedMessage) -> bool:
        """Whether a broker sent a message once more because several of our subscriptions match its topic."""
        last = self._last
        same = last is not None and message[:4] == last[:4] and (message.at or 0) - (last.at or 0) < COPY_SECONDS
        if not same or self._copies + 1 >= self._matching_subscriptions(message):
            self._last, self._copies = message, 0
            return False
        self._copies += 1
        return True

    def _matching_subscriptions(self, message: ReceivedMessage) -> int:
        return sum(topic_filters.matches(one, message.topic) for one in self._subscribed[message.broker])


class UnknownTopics:
    """Counts messages, or parts of them, that no source takes, and remembers the newest, so that people see what they could map."""

    def __init__(self) -> None:
        self._topics: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self.messages = 0

    def add(self, message: ReceivedMessage) -> None:
        """Count a message."""
        self._add(message, "", message.payload[:SHOWN_CHARACTERS].decode("utf-8", "backslashreplace"))

    def add_parts(self, message: ReceivedMessage, parts: Iterable[tuple[str, str]]) -> None:
        """Count the parts of a message that its family does not know, given by name and content."""
        for name, content in parts:
            self._add(message, f" {name}", content)

    def _add(self, message: ReceivedMessage, part: str, payload: str) -> None:
        self.messages += 1
        topic = f"{message.broker}: {message.topic}" if message.broker else message.topic
        key = printable(topic + part, SHOWN_CHARACTERS)
        count, _ = self._topics.pop(key, (0, ""))
        self._topics[key] = (count + 1, printable(payload, SHOWN_CHARACTERS))
        if len(self._topics) > MAX_UNKNOWN_TOPICS:
            self._topics.popitem(last=False)

    def facts(self) -> list[dict[str, object]]:
        """Return the newest topics, the newest first, with how often they came and their last payload."""
        newest = list(reversed(self._topics.items()))[:SHOWN_TOPICS]
        return [{"topic": topic, "count": count, "payload": payload} for topic, (count, payload) in newest]
