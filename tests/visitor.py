import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

SECONDS = 20.0
NOT_AUTHORIZED = "Not authorized"


class Visitor:
    """A client with a user on the broker: returns the answer to each publish, and remembers what arrived."""

    def __init__(self, port: int, user: str, password: str, ca: Path | None = None) -> None:
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            f"{user}-{uuid4().hex}",
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        self.client.username_pw_set(user, password)
        if ca:
            self.client.tls_set(str(ca))
        self.arrived: SimpleQueue[MQTTMessage] = SimpleQueue()
        self._reasons: SimpleQueue[str] = SimpleQueue()
        self.client.on_connect = self._acknowledged
        self.client.on_publish = self._acknowledged
        self.client.on_subscribe = self._acknowledged
        self.client.on_message = self._message
        self._connect(port)
        self.client.loop_start()
        self.greeting = self._reasons.get(timeout=SECONDS)

    def _connect(self, port: int) -> None:
        end = time.monotonic() + SECONDS
        while True:
            try:
                self.client.connect("127.0.0.1", port)
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def _acknowledged(self, *arguments: Any) -> None:
        self._reasons.put(str(arguments[3]))

    def _message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.arrived.put(message)

    def publish(self, topic: str, payload: bytes = b"hello") -> str:
        """Return the reason code of the broker's acknowledgement."""
        self.client.publish(topic, payload, qos=1)
        return self._reasons.get(timeout=SECONDS)

    def subscribe(self, *filters: str) -> None:
        self.client.subscribe([(topic_filter, 1) for topic_filter in filters])
        self._reasons.get(timeout=SECONDS)

    def received(self) -> list[str]:
        """Return the topics of everything that arrived so far."""
        topics = []
        while True:
            try:
                topics.append(self.arrived.get_nowait().topic)
            except Empty:
                return topics

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client.reinitialise()  # closes what paho wakes its thread with, too


class Door:
    """Connects visitors: with a password of the folder unless one is given, over TLS if `by` says so."""

    def __init__(self, secrets: Path, ports: Mapping[str, int]) -> None:
        self.secrets = secrets
        self._ports = ports
        self._visitors: list[Visitor] = []

    def enter(self, user: str, *, password: str = "", by: str = "tls") -> Visitor:
        ca = self.secrets / "broker/ca.crt" if by == "tls" else None
        password = password or (self.secrets / user).read_text().strip()
        visitor = Visitor(self._ports[by], user, password, ca)
        self._visitors.append(visitor)
        return visitor

    def close(self) -> None:
        while self._visitors:
            self._visitors.pop().close()
