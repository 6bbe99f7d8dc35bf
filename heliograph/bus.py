"""A connection to the broker that outlives the broker."""

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTMessageInfo, topic_matches_sub
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from heliograph.backoff import Backoff
from heliograph.config import Broker
from heliograph.mqtt_client import RetainSupport, client_id, connect_properties, new_client, publish_properties

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 15
GOODBYE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 3.0  # between attempts to connect: live values are back soon after the broker is
KNOWN_TOPICS = 10_000
SHORT_SECONDS = 10.0
SHORT_CONNECTIONS = 3  # in a row, after which another client of the same name is likely: MQTT 5, 3.1.4


class Message(NamedTuple):
    """One message from the broker; `ack` tells the broker that it is safe (only with `manual_ack`)."""

    topic: str
    payload: bytes
    retained: bool
    ack: Callable[[], object]
    response_topic: str = ""
    correlation: bytes = b""


Callback = Callable[[Message], None]
Tracked = Callable[[], bool]  # whether a message is through; always False if its connection was lost before


class _Link(NamedTuple):
    """One connection: a client of its own, so that nothing of a dead connection reaches the next."""

    client: Client
    lost: threading.Event


class _Subscriptions:
    """What is subscribed, and the callbacks of each topic; its owner holds a lock, except for `known`."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, Callback, int]] = []
        self._callbacks: dict[str, list[Callback]] = {}  # by topic; matching filters costs more than the rest

    def add(self, topic_filter: str, callback: Callback, qos: int) -> None:
        self._entries.append((topic_filter, callback, qos))
        self._callbacks.clear()

    def options(self) -> list[tuple[str, SubscribeOptions]]:
        return [(topic_filter, SubscribeOptions(qos=qos)) for topic_filter, _, qos in self._entries]

    def known(self, topic: str) -> list[Callback] | None:
        return self._callbacks.get(topic)

    def matching(self, topic: str) -> list[Callback]:
        matches = [callback for topic_filter, callback, _ in self._entries if topic_matches_sub(topic_filter, topic)]
        callbacks = list(dict.fromkeys(matches))
        if len(self._callbacks) < KNOWN_TOPICS:
            self._callbacks[topic] = callbacks
        return callbacks


class _Namesakes:
    """Suspects another client with the same name, which takes every connection over, and logs it once."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._short = 0

    def lost(self, lasted: float) -> None:
        self._short = self._short + 1 if lasted < SHORT_SECONDS else 0
        if self._short == SHORT_CONNECTIONS:
            log.warning(
                "the broker ends connections within seconds: another machine on it may be called %s, too; "
                "give each node a `[node] name` of its own",
                self._node,
            )


class _Problem:
    """Why the broker is away: logged once per loss and reason, not once per attempt."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._logged: set[str] = set()
        self.text = ""

    def note(self, text: str, *args: object) -> None:
        self.text = text % args
        if self.text not in self._logged:
            self._logged.add(self.text)
            log.log(self._level, "%s; trying again until it is back", self.text)

    def clear(self) -> None:
        self._logged.clear()
        self.text = ""


class Bus:
    """Publishes and subscribes, whether or not the broker is there; connects again until it is closed.

    Nothing waits here for the broker: what is published while it is away is dropped. Code that
    needs more (the outbox, retained facts) publishes it again from an `on_connect` callback.
    To a broker without retained messages, what is to be retained is sent as any other message.
    Subscriptions are renewed on every connect. Callbacks run on the network thread: they
    pass the message on and return. An exception in one ends the process, see service.py.
    """

    def __init__(
        self,
        broker: Broker,
        node: str,
        service: str,
        *,
        will: tuple[str, bytes] | None = None,
        persistent: bool = False,
        manual_ack: bool = False,
        quiet: bool = False,
    ) -> None:
        """Keep what is needed to connect; who is `quiet` logs nothing about the broker, and looks at `problem`."""
        self._problem = _Problem(logging.DEBUG if quiet else logging.WARNING)
        self._broker = broker
        self._service = service
        self._identifier = client_id(node, service)
        self._will = will
        self._persistent = persistent
        self._manual_ack = manual_ack
        self._subscriptions = _Subscriptions()
        self._on_connect: list[Callable[[], None]] = []
        self._link: _Link | None = None
        # of the subscriptions: one that is added while they are renewed must not be missed
        self._lock = threading.Lock()
        self._up = threading.Event()
        self._up_since = math.inf
        self._last: MQTTMessageInfo | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_connected, name="bus", daemon=True)
        self._namesakes = _Namesakes(node)
        self._retain = RetainSupport()
        self.connects = 0

    def __enter__(self) -> "Bus":
        """Start to connect in the background; never waits and never fails."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect. The last will is not sent; service.py publishes the goodbye before."""
        self._stop.set()
        if link := self._link:
            # A socket that closes on unread acknowledgements is reset, and the broker drops what it has not read yet.
            if self._last and self._up.is_set():
                with suppress(RuntimeError, ValueError):
                    self._last.wait_for_publish(GOODBYE_SECONDS)
            link.client.disconnect()
            link.lost.set()
        self._thread.join(timeout=2)

    @property
    def retains(self) -> bool:
        """Whether the broker keeps retained messages, as far as it has reported."""
        return self._retain.available

    @property
    def problem(self) -> str:
        """Why the broker is away, in words; empty once it answers."""
        return self._problem.text

    @property
    def connected(self) -> bool:
        """Whether the broker answers at this moment."""
        return self._up.is_set()

    def wait_connected(self, timeout: float) -> bool:
        """Wait until the broker answers; return whether it does."""
        return self._up.wait(timeout)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        response_topic: str = "",
        correlation: bytes = b"",
    ) -> bool:
        """Send a message; return False if the broker is away, in which case it is dropped."""
        properties = publish_properties(response_topic, correlation)
        return self._publish(topic, payload, qos, properties, retain=retain) is not None

    def publish_tracked(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> Tracked | None:
        """Send a message; return what says whether it has left (QoS 0) or is acknowledged (QoS 1), None if the broker is away."""
        sent = self._publish(topic, payload, qos, None, retain=retain)
        return partial(_is_published, sent) if sent else None

    def subscribe(self, topic_filter: str, callback: Callback, *, qos: int = 1) -> None:
        """Call back for every message that matches the filter, also after every reconnect.

        A callback that is subscribed with several filters is called once for a message that matches more than one.
        """
        with self._lock:
            self._subscriptions.add(topic_filter, callback, qos)
            if (link := self._link) and self._up.is_set():
                link.client.subscribe(topic_filter, options=SubscribeOptions(qos=qos))

    def on_connect(self, callback: Callable[[], None]) -> None:
        """Call back after every connect, and at once if the broker is there already."""
        self._on_connect.append(callback)
        if self._up.is_set():
            callback()

    def _publish(
        self, topic: str, payload: bytes, qos: int, properties: Properties | None, *, retain: bool
    ) -> MQTTMessageInfo | None:
        link = self._link
        if link is None or not self._up.is_set():
            return None
        sent = link.client.publish(topic, payload, qos, retain and self._retain.available, properties)
        if qos:
            self._last = sent
        return sent if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def _keep_connected(self) -> None:
        backoff = Backoff(longest=LONGEST_PAUSE_SECONDS)
        while not self._stop.is_set():
            self._up_since = math.inf
            try:
                client = self._client()
                _connect(client, self._broker, persistent=self._persistent)
            except (OSError, ValueError) as error:
                self._problem.note("the broker at %s:%s is away: %s", self._broker.host, self._broker.port, error)
            else:
                self._link = link = _Link(client, threading.Event())
                if self._stop.is_set():  # __exit__ came too early to see this link
                    link.lost.set()
                client.loop_start()
                link.lost.wait()
                self._up.clear()
                self._link = None
                client.disconnect()
                client.loop_stop()
            self._stop.wait(backoff.after(time.monotonic() - self._up_since))

    def _client(self) -> Client:
        will = (*self._will, self._retain.available) if self._will else None
        client = new_client(
            self._broker, service=self._service, identifier=self._identifier, will=will, manual_ack=self._manual_ack
        )
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_message = self._received
        return client

    def _connected(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        link = self._link
        if link is None or link.client is not client:
            return
        self._retain.note(reason, properties)
        if reason.is_failure:
            self._problem.note("the broker refuses %s: %s", self._service, reason)
            link.lost.set()
            return
        self._problem.clear()
        self.connects += 1
        log.info("connected to the broker at %s:%s", self._broker.host, self._broker.port)
        with self._lock:
            if options := self._subscriptions.options():
                client.subscribe(options)
            self._up_since = time.monotonic()
            self._up.set()
        for callback in self._on_connect:
            callback()

    def _disconnected(
        self, client: Client, _data: object, _flags: DisconnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        link = self._link
        if link is not None and link.client is client:
            self._up.clear()
            if not self._stop.is_set() and not link.lost.is_set():
                self._problem.note("lost the broker at %s:%s: %s", self._broker.host, self._broker.port, reason)
                self._namesakes.lost(time.monotonic() - self._up_since)
            link.lost.set()

    def _received(self, client: Client, _data: object, message: MQTTMessage) -> None:
        received = _message(client, message)
        callbacks = self._subscriptions.known(received.topic)
        if callbacks is None:
            with self._lock:
                callbacks = self._subscriptions.matching(received.topic)
        for callback in callbacks:
            callback(received)
        if not callbacks:  # it is of the session before: unacknowledged, it would block those behind it
            received.ack()


def _connect(client: Client, broker: Broker, *, persistent: bool) -> None:
    properties = connect_properties(persistent=persistent)
    client.connect(broker.host, broker.port, KEEPALIVE_SECONDS, clean_start=not persistent, properties=properties)


def _is_published(sent: MQTTMessageInfo) -> bool:
    with suppress(RuntimeError, ValueError):  # the connection is lost
        return sent.is_published()
    return False


def _message(client: Client, message: MQTTMessage) -> Message:
    return Message(
        message.topic,
        bytes(message.payload),
        message.retain,
        partial(client.ack, message.mid, message.qos),
        getattr(message.properties, "ResponseTopic", ""),
        getattr(message.properties, "CorrelationData", b""),
    )
