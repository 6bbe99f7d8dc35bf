"""One connection to a broker, and what became of the messages that were published over it."""

import ssl
import threading
from collections.abc import Sequence
from enum import Enum
from time import monotonic
from typing import Any, NamedTuple

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, error_string
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from services.uploader.target import TryLater

KEEPALIVE_SECONDS = 30
FOR_GOOD = {0x90, 0x95, 0x99}  # topic name invalid, packet too large, payload format invalid (MQTT 5, 3.4.2.1)
MOST_AT_ONCE = 10_000  # messages under way: a packet has an identifier of 16 bits
HEADER_BYTES = 16  # of a PUBLISH packet, at most, beside topic and payload


class RetryVerdict(Enum):
    """What to do with a message that was not accepted."""

    LATER = "later"
    NEVER = "never"


class PublishResult(NamedTuple):
    """What became of messages: those that were not accepted, by their index, and why the connection broke, if it did."""

    bad: dict[int, tuple[RetryVerdict, str]]
    broken: str = ""


class BrokerSession:
    """A connection that is never renewed: paho would send on its own what the engine sends again."""

    def __init__(
        self,
        address: tuple[str, int],
        client: str,
        version: str,
        context: ssl.SSLContext | None,
        *,
        timeout: float,
        acknowledgement_timeout: float,
    ) -> None:
        """`timeout` is in seconds for the connection, the other one for every acknowledgement after the one before."""
        self._address = address
        self._timeout = timeout
        self._acknowledgement_timeout = acknowledgement_timeout
        self._changed = threading.Condition()
        self._answer: ReasonCode | None = None
        self._lost = ""
        self._acknowledged: dict[int, ReasonCode] = {}
        self._largest = 0
        self._five = version == "5"
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client,
            protocol=MQTTProtocolVersion.MQTTv5 if self._five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = timeout
        if context:
            context.sslsocket_class = _Socket
            self._client.tls_set_context(context)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish

    def entered(self, user: str, password: str) -> "BrokerSession":
        """Connect and return this session; raise TryLater if the broker is away or refuses the user."""
        host, port = self._address
        if user:
            self._client.username_pw_set(user, password or None)
        try:
            self._client.connect(
                host, port, KEEPALIVE_SECONDS, properties=Properties(PacketTypes.CONNECT) if self._five else None
            )
        except (OSError, ValueError) as error:
            self.close()
            raise TryLater(f"{host}:{port}: {_reason(error)}") from None
        self._client.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._answer is not None or bool(self._lost), self._timeout)
            answer, lost = self._answer, self._lost
        if answer is None or answer.is_failure:
            self.close()
            raise TryLater(
                f"{host}:{port}: {f'refuses the client: {answer}' if answer else lost or 'no answer in time'}"
            )
        return self

    def is_up(self) -> bool:
        """Whether the connection is up, as far as is known."""
        return not self._lost

    def publish(self, messages: Sequence[tuple[str, bytes]], *, retain: bool) -> PublishResult:
        """Publish all messages and wait for their acknowledgements, or until the connection breaks or falls silent."""
        bad: dict[int, tuple[RetryVerdict, str]] = {}
        for begin in range(0, len(messages), MOST_AT_ONCE):
            self._publish(messages, range(begin, min(begin + MOST_AT_ONCE, len(messages))), bad, retain=retain)
        return PublishResult(bad, self._lost)

    def _publish(
        self,
        messages: Sequence[tuple[str, bytes]],
        part: range,
        bad: dict[int, tuple[RetryVerdict, str]],
        *,
        retain: bool,
    ) -> None:
        indexes: dict[int, int] = {}
        with self._changed:
            self._acknowledged.clear()
        for at in part:
            topic, payload = messages[at]
            size = len(topic.encode()) + len(payload) + HEADER_BYTES
            if self._largest and size > self._largest:
                bad[at] = (RetryVerdict.NEVER, f"{topic}: {size} bytes, the broker takes {self._largest}")
                continue
            if self._lost:
                break
            sent = self._client.publish(topic, payload, 1, retain)
            if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lose(f"the connection broke: {error_string(sent.rc)}")
            indexes[sent.mid] = at
        self._wait(set(indexes))
        with self._changed:
            reasons = {indexes[mid]: reason for mid, reason in self._acknowledged.items() if mid in indexes}
        for at in part:
            if at in bad:
                continue
            if at not in reasons:
                bad[at] = (RetryVerdict.LATER, self._lost)
            elif reasons[at].is_failure:
                verdict = RetryVerdict.NEVER if reasons[at].value in FOR_GOOD else RetryVerdict.LATER
                bad[at] = (verdict, f"{messages[at][0]}: {reasons[at]}")

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._client.disconnect()
        self._client.loop_stop()
        self._client.reinitialise()  # closes what paho wakes its thread with, too

    def _wait(self, wanted: set[int]) -> None:
        """Wait as long as acknowledgements keep coming."""
        with self._changed:
            count = -1
            end = 0.0
            while not self._lost and not wanted <= self._acknowledged.keys():
                if len(self._acknowledged) != count:
                    count = len(self._acknowledged)
                    end = monotonic() + self._acknowledgement_timeout
                left = end - monotonic()
                if left <= 0:
                    self._lost = "no acknowledgement in time"
                    return
                self._changed.wait(left)

    def _lose(self, reason: str) -> None:
        with self._changed:
            self._lost = self._lost or reason
            self._changed.notify_all()

    def _on_connect(
        self, _client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        with self._changed:
            self._largest = getattr(properties, "MaximumPacketSize", 0)
            self._answer = reason
            self._changed.notify_all()

    def _on_disconnect(self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _: Any) -> None:
        self._lose(f"the connection broke: {reason}")

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        with self._changed:
            self._acknowledged[mid] = reason
            self._changed.notify_all()


class _Socket(ssl.SSLSocket):
    """Closes itself if the handshake fails: paho leaves it open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    return getattr(error, "strerror", None) or str(error)
