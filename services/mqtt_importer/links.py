"""A connection to a broker that is not the node's own."""

import logging
from collections.abc import Callable, Iterable

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from services.mqtt_importer.options import ForeignBroker

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 30
FIRST_DELAY_SECONDS = 1
LONGEST_DELAY_SECONDS = 30

Callback = Callable[[str, bytes, bool], None]  # topic, payload, whether it was retained


class Link:
    """Subscribes and publishes for ever, whether or not the broker is there.

    `received` is called on the network thread; it passes things on and returns. There is
    one warning per loss and reason in the log; `up` is whether the broker answers, `losses`
    how often it was lost.
    """

    def __init__(
        self, name: str, broker: ForeignBroker, client: str, wanted: Iterable[str], received: Callback
    ) -> None:
        self._name = name
        self._broker = broker
        self._wanted = [(topic_filter, 1) for topic_filter in wanted]
        self._received = received
        self._said = ""
        self.up = False
        self.losses = 0
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            broker.client or client,
            protocol=MQTTProtocolVersion.MQTTv5 if broker.version == "5" else MQTTProtocolVersion.MQTTv311,
        )
        if broker.user:
            self._client.username_pw_set(broker.user, broker.password or None)
        if context := broker.context():
            self._client.tls_set_context(context)
        self._client.reconnect_delay_set(FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._failed
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._heard

    def __enter__(self) -> "Link":
        """Start connecting in the background; this never waits and never fails."""
        host, port = self._broker.address
        self._client.connect_async(host, port, KEEPALIVE_SECONDS)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.up = False
        self._client.disconnect()
        self._client.loop_stop()
        self._client.reinitialise()  # closes what paho wakes its thread with, too

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send a message at once or not at all; return whether it was sent."""
        if not self.up:
            return False
        # QoS 0: what paho would keep over a reconnect would switch something long after it was asked for.
        return self._client.publish(topic, payload).rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def _connected(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            self._warn(f"refuses us: {reason}")
            return
        self._said = ""
        log.info("connected to broker %s at %s:%s", self._name, *self._broker.address)
        if self._wanted:
            client.subscribe(self._wanted)
        self.up = True

    def _failed(self, _client: Client, _data: object) -> None:
        self._warn("is away")

    def _disconnected(
        self, _client: Client, _data: object, _flags: DisconnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        if self.up:
            self._warn(f"is lost: {reason}")
            self.losses += 1
        self.up = False

    def _heard(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._received(message.topic, bytes(message.payload), message.retain)

    def _warn(self, said: str) -> None:
        if said != self._said:
            self._said = said
            log.warning("broker %s at %s:%s %s; trying again until it is back", self._name, *self._broker.address, said)
