"""paho-mqtt clients with the settings that every connection to the node's broker has."""

import logging
import socket

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from heliograph.config import Broker

log = logging.getLogger(__name__)

SESSION_SECONDS = 7 * 86_400  # how long the broker queues for a persistent session
RECEIVE_MAXIMUM = 5_000  # more than a commit interval of frames; the broker's default of 20 would starve storage


RETAIN_NOT_SUPPORTED = 0x9A  # MQTT 5, 3.2.2.2: the answer to a retained last will

LastWill = tuple[str, bytes, bool]  # topic, payload, whether it is retained


class RetainSupport:
    """Whether a broker keeps retained messages, as its answers to CONNECT say (MQTT 5, 3.2.2.3.5)."""

    def __init__(self) -> None:
        self.available = True

    def note(self, reason: ReasonCode, properties: Properties | None) -> None:
        """Learn from an answer to CONNECT; log it once if the broker keeps none."""
        if reason.is_failure:
            available = self.available and reason.value != RETAIN_NOT_SUPPORTED
        else:
            available = getattr(properties, "RetainAvailable", 1) == 1
        if self.available and not available:
            log.warning("the broker keeps no retained messages: descriptions come when somebody asks for them")
        self.available = available


def client_id(node: str, service: str) -> str:
    """Return the id with which a service connects: a broker disconnects the older of two clients with one id."""
    return f"{node}-{service}"


def new_client(broker: Broker, *, service: str, identifier: str, will: LastWill | None, manual_ack: bool) -> Client:
    """Return a client that is not connected yet; its callbacks are up to the caller. Raises OSError for an unreadable CA."""
    client = Client(
        CallbackAPIVersion.VERSION2,
        identifier,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
        manual_ack=manual_ack,
    )
    if broker.password:
        client.username_pw_set(service, broker.password)
    if broker.ca:
        client.tls_set(broker.ca)
    if will:
        topic, payload, retain = will
        client.will_set(topic, payload, qos=1, retain=retain)
    client.max_inflight_messages_set(0)  # the outbox has a window of its own; paho's costs a scan per PUBACK
    client.max_queued_messages_set(0)
    client.on_socket_open = _without_delay
    return client


def connect_properties(*, persistent: bool) -> Properties:
    """Return the properties of CONNECT; for a persistent client the broker keeps the session while it is away."""
    properties = Properties(PacketTypes.CONNECT)
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    if persistent:
        properties.SessionExpiryInterval = SESSION_SECONDS
    return properties


def publish_properties(response_topic: str, correlation: bytes) -> Properties | None:
    """Return the properties of PUBLISH for a request or a response; None if there are none."""
    if not (response_topic or correlation):
        return None
    properties = Properties(PacketTypes.PUBLISH)
    properties.CorrelationData = correlation
    if response_topic:
        properties.ResponseTopic = response_topic
    return properties


def _without_delay(_client: Client, _data: object, connection: object) -> None:
    """Switch Nagle's algorithm off: it costs 40 ms per request."""
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
