"""Records everything that a broker sends, and publishes in the name of devices."""

import json
import threading
from typing import Any, Self

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.config import Broker
from heliograph.errors import MessageError
from heliograph.messages import frames

NODE = "pi1"  # the node of the services that tests.conftest.Starter starts


class Recorder:
    """Keeps what arrives from a broker, in order of arrival.

    `states` are devices and values, `availability` devices and their availability; `stored` is what producers send to
    storage: devices, times and values; `responses` are those to every command; `others` are topics and payloads
    outside our topic tree that were not retained; `undecodable` are those of our tree that cannot be read.
    """

    def __init__(
        self, port: int, user: str = "recorder", password: str = "", name: str = "recorder", ca: str = ""
    ) -> None:
        self.states: list[tuple[str, dict[str, Any]]] = []
        self.infos: dict[str, dict[str, Any]] = {}
        self.availability: list[tuple[str, str]] = []
        self.status: dict[str, Any] = {}
        self.stored: list[tuple[str, float, dict[str, Any]]] = []
        self.responses: list[dict[str, Any]] = []
        self.others: list[tuple[str, str]] = []
        self.undecodable: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()
        self.bus = Bus(Broker(host="localhost", port=port, password=password, ca=ca), name, user)
        self.bus.subscribe("#", self._received)

    def __enter__(self) -> Self:
        self.bus.__enter__()
        assert self.bus.wait_connected(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.bus.__exit__()

    def _received(self, message: Message) -> None:
        try:
            parsed = topics.parse(message.topic)
        except ValueError:
            if not message.retained:
                self.others.append((message.topic, message.payload.decode("utf-8", "replace")))
            return
        with self._lock:
            try:
                self._keep(parsed.owner, parsed.kind, message.payload)
            except (ValueError, LookupError, TypeError, MessageError):
                self.undecodable.append((message.topic, message.payload))

    def _keep(self, owner: str, kind: str, payload: bytes) -> None:
        match kind:
            case "state":
                self.states.append((owner, json.loads(payload)["values"]))
            case "info":
                self.infos[owner] = json.loads(payload)
            case "availability":
                self.availability.append((owner, payload.decode()))
            case "status":
                self.status = json.loads(payload)
            case "response":
                self.responses.append(json.loads(payload))
            case "journal":
                for frame in frames(payload):
                    for block in frame.blocks:
                        rows = [(row[0], dict(zip(block.channels, row[1:], strict=True))) for row in block.rows]
                        self.stored += [(block.device, at, values) for at, values in rows]

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        data = payload if isinstance(payload, bytes) else payload.encode()
        assert self.bus.publish(topic, data, qos=1, retain=retain)

    def set(self, device: str, values: dict[str, object]) -> None:
        self.publish(topics.device(NODE, device, "set"), json.dumps(values))

    def of(self, device: str) -> list[dict[str, Any]]:
        """The values of every reading."""
        with self._lock:
            return [values for name, values in self.states if name == device]

    def several(self, device: str) -> bool:
        return len(self.of(device)) >= 2

    def newest(self, device: str) -> dict[str, Any]:
        """The values of the newest reading."""
        return (self.of(device) or [{}])[-1]

    def known(self, device: str) -> dict[str, Any]:
        """The newest value of every channel, of a device that does not send all of them at once."""
        return {channel: value for values in self.of(device) for channel, value in values.items()}

    def shows(self, device: str, values: dict[str, Any]) -> bool:
        return values.items() <= self.known(device).items()

    def stored_of(self, device: str) -> list[tuple[float, dict[str, Any]]]:
        """The times and values of every reading that storage would get."""
        with self._lock:
            return [(at, values) for name, at, values in self.stored if name == device]

    def last(self, device: str) -> str:
        """The newest availability, "" if there is none."""
        with self._lock:
            return next((state for name, state in reversed(self.availability) if name == device), "")

    def is_online(self, device: str) -> bool:
        return self.last(device) == "online"
