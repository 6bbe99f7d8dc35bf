"""paho-mqtt clients with the settings that every connection to the node's broker has."""

import socket

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from heliograph.config import Broker

SESSION_SECONDS = 7 * 86_400  # how long the broker queues for a persistent session
RECEIVE_MAXIMUM = 5_000  # more than a commit interval of frames; the broker's default of 20 would starve storage


def new_client(broker: Broker, node: str, service: str, *, will: tuple[str, bytes] | None, manual_ack: bool) -> Client:
    """Return a client that is not connected yet; its callbacks are up to the caller. Raises OSError for an unreadable CA."""
    client = Client(
        CallbackAPIVersion.VERSION2,
        f"{node}-{service}",
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
        manual_ack=manual_ack,
    )
    if broker.password:
        client.username_pw_set(service, broker.password)
    if broker.ca:
        client.tls_set(broker.ca)
    if will:
        client.will_set(*will, qos=1, retain=True)
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
