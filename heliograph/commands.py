"""Commands between services: MQTT 5 request and response (OASIS MQTT 5.0, section 4.10)."""

import threading
import uuid
from collections.abc import Callable

import msgspec

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.errors import HeliographError
from heliograph.messages import Value

Handler = Callable[[bytes], bytes]


class NoAnswer(HeliographError):
    """No service answered a command in time: ask again later."""


class SetResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a `set` message: the values that the device was given, and why the others were refused."""

    time: float
    values: dict[str, Value] = msgspec.field(default_factory=dict)
    refused: dict[str, str] = msgspec.field(default_factory=dict)


def serve(bus: Bus, node: str, service: str, command: str, handler: Handler) -> None:
    """Answer every request for one command of a service with what `handler` returns for its payload.

    The handler runs on the network thread: it has to be quick, and to answer a payload that it does not
    understand instead of raising. Requests that the broker retained are ignored: they are old.
    """

    def answer(message: Message) -> None:
        if message.retained:
            return
        respond(bus, message.response_topic, message.correlation, handler(message.payload))

    bus.subscribe(topics.request(node, service, command), answer)


def respond(bus: Bus, topic: str, correlation: bytes, response: bytes) -> None:
    """Send the response to a command, if the request named a topic for responses."""
    if is_response(topic):
        bus.publish(topic, response, qos=1, correlation=correlation)


def is_response(topic: str) -> bool:
    """Whether a response may go to a topic; elsewhere a requester could write with the rights of the responder."""
    try:
        return topics.parse(topic).kind == "response"
    except ValueError:
        return False


class Requests:
    """Sends commands of one service to others, and waits for the responses."""

    def __init__(self, bus: Bus, node: str, service: str) -> None:
        self._bus = bus
        self._node = node
        self._service = service
        self._waiting: dict[bytes, Callable[[bytes], None]] = {}
        self._subscribed: set[str] = set()
        self._lock = threading.Lock()  # no request goes out before the subscription to its responses

    def ask(
        self,
        node: str,
        service: str,
        command: str,
        payload: bytes = b"",
        timeout: float = 5.0,
    ) -> bytes:
        """Send a command to a service and return its answer; raise NoAnswer when none comes in `timeout` seconds."""
        mine = topics.response(self._node, self._service, command)
        with self._lock:
            if mine not in self._subscribed:
                self._bus.subscribe(mine, self._take)
                self._subscribed.add(mine)
        correlation, answered = uuid.uuid4().bytes, threading.Event()
        answers: list[bytes] = []

        def take(answer: bytes) -> None:
            answers.append(answer)
            answered.set()

        self._waiting[correlation] = take
        try:
            to = topics.request(node, service, command)
            if not self._bus.publish(to, payload, qos=1, response_topic=mine, correlation=correlation):
                raise NoAnswer("the broker is away")
            if not answered.wait(timeout):
                raise NoAnswer(f"{service} on {node} did not answer {command} within {timeout:g} s")
        finally:
            del self._waiting[correlation]
        return answers[0]

    def _take(self, message: Message) -> None:
        if take := self._waiting.get(message.correlation):
            take(message.payload)
