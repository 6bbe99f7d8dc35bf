"""A connection to a broker that is not the node's own."""

import logging
from collections.abc import Callable, Iterable

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from services.mqtt_importer.options import RemoteBroker

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 30
FIRST_DELAY_SECONDS = 1
MAX_DELAY_SECONDS = 30

Callback = Callable[[str, bytes, bool], None]  # topic, payload, whether it was retained


class BrokerConnection:
    """Subscribes and publishes, and reconnects until it is closed, whether or not the broker is there.

    `received` is called on the network thread; it passes messages on and returns. The log has
    one warning per loss and reason; `connected` is whether the broker answers, `problem` where it is and why it does not, `losses`
    how often the connection was lost.
    """

    def __init__(
        self, name: str, broker: RemoteBroker, client_id: str, filters: Iterable[str], received: Callback
    ) -> None:
        self._name = name
        self._broker = broker
        self._filters = [(topic_filter, 1) for topic_filter in filters]
        self._received = received
        self.problem = ""
        self.connected = False
        self.losses = 0
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            broker.client_id or client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if broker.version == "5" else MQTTProtocolVersion.MQTTv311,
        )
        if broker.user:
            self._client.username_pw_set(broker.user, broker.password or None)
        if context := broker.context():
            self._client.tls_set_context(context)
        self._client.reconnect_delay_set(FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    def __enter__(self) -> "BrokerConnection":
        """Start connecting in the background; never waits and never fails."""
        host, port = self._broker.address
        self._client.connect_async(host, port, KEEPALIVE_SECONDS)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.connected = False
        self._client.disconnect()
        self._client.loop_stop()
        self._client.reinitialise()  # closes what paho wakes its thread with, too

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send a message at once or not at all; return whether it was sent."""
        if not self.connected:
            return False
        # QoS 0: what paho would keep over a reconnect would switch something long after it was asked for.
        return self._client.publish(topic, payload).rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            self._warn(f"refuses us: {reason}")
            return
        self.problem = ""
        log.info("connected to broker %s at %s:%s", self._name, *self._broker.address)
        if self._filters:
            client.subscribe(self._filters)
        self.connected = True

    def _on_connect_fail(self, _client: Client, _data: object) -> None:
        self._warn("is away")

    def _on_disconnect(
        self, _client: Client, _data: object, _flags: DisconnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        if self.connected:
            self._warn(f"is lost: {reason}")
            self.losses += 1
        self.connected = False

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._received(message.topic, bytes(message.payload), message.retain)

    def _warn(self, warning: str) -> None:
        host, port = self._broker.address
        problem = f"at {host}:{port} {warning}"
        if problem != self.problem:
            self.problem = problem
            log.warning("broker %s %s; reconnecting", self._name, problem)
