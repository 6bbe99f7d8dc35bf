"""The nodes that this storage owns: which messages it takes, keeps for a while, or leaves to another storage."""

import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence

from heliograph import topics
from heliograph.bus import Message
from heliograph.errors import ConfigError, MessageError
from heliograph.messages import decode, encode
from heliograph.service import Service
from services.storage.ownership import Claim, Ownership, State

log = logging.getLogger(__name__)

OWNER = "owner"
MOST_KEPT = (
    1_000  # messages of a node whose owner may come back: the broker delivers only so many without acknowledgement
)


class OwnedNodes:
    """Claims nodes on the bus, and passes on the messages of those that are this storage's.

    `identity` is that of the store, which no other process writes; `put` brings messages to the loop that calls `admit`;
    `on_owned` is called with each node that becomes this storage's.
    """

    def __init__(
        self,
        service: Service,
        nodes: Sequence[str],
        identity: str,
        put: Callable[[Message], None],
        on_owned: Callable[[str], None],
    ) -> None:
        self._service = service
        self._on_owned = on_owned
        self._me = Claim(identity, uuid.uuid4().hex, service.node)
        self._nodes = {node: Ownership(node, self._me, retains=lambda: service.bus.retains) for node in nodes}
        self._kept: dict[str, deque[Message]] = {}
        self._ready: deque[Message] = deque()
        self._has_dropped: set[str] = set()
        self._problems: list[str] = []
        # QoS 0: what was claimed while this storage was away is of no interest
        service.bus.subscribe(topics.owner("+"), put, qos=0)

    @property
    def owned(self) -> list[str]:
        """The nodes whose readings are stored here."""
        return [name for name, node in self._nodes.items() if node.state is State.OWNER]

    def owns(self, node: str) -> bool:
        """Whether the readings of a node are stored here."""
        return (claimed := self._nodes.get(node)) is not None and claimed.state is State.OWNER

    def connected(self) -> None:
        """Claim the nodes, or ask who owns them: call this after each connect."""
        for node in self._nodes.values():
            self._publish(node.node, node.connected())

    def tick(self) -> None:
        """Do what is due: call this every few seconds. Raises ConfigError if another node has the name of this one."""
        if not self._service.bus.connected:
            return
        for node in self._nodes.values():
            before = node.state
            self._publish(node.node, node.tick())
            self._follow(node, before)

    def admit(self, message: Message) -> None:
        """Take in a message; those that are to be written now come from `ready`. Raises ConfigError as `tick` does."""
        _, name, _, _, kind, *_ = message.topic.split("/")
        node = self._nodes.get(name)
        if kind == OWNER:
            self._hear(name, node, message)
        elif node is None or node.state is State.OWNER:
            self._ready.append(message)
        else:
            kept = self._kept.setdefault(name, deque())
            if node.state is State.REFUSED or (node.rival and len(kept) >= MOST_KEPT):
                self._drop(name, message)
            else:
                kept.append(message)

    def ready(self) -> Message | None:
        """Return the next message to write, None if there is none."""
        return self._ready.popleft() if self._ready else None

    def _hear(self, name: str, node: Ownership | None, message: Message) -> None:
        message.ack()
        try:
            claim = decode(Claim, message.payload) if message.payload else None
        except MessageError as error:
            self._service.set_aside(str(error), message.payload[:1000], message.topic)
            return
        if node is not None:
            before = node.state
            self._publish(name, node.receive(claim, retained=message.retained))
            self._follow(node, before)
        elif claim and message.retained and (claim.store, claim.node) == (self._me.store, self._me.node):
            self._service.bus.publish(message.topic, b"", retain=True)  # of the configuration before: it is free now

    def _follow(self, node: Ownership, before: State) -> None:
        if node.state is not before and node.state is State.OWNER:
            self._ready.extend(self._kept.pop(node.node, ()))
            self._on_owned(node.node)
            if node.node in self._has_dropped:
                self._has_dropped.discard(node.node)
                self._service.ask_for_announcements()
        elif node.state is State.REFUSED:
            for message in self._kept.pop(node.node, ()):
                self._drop(node.node, message)
            if node.rival and node.rival.node == self._me.node:
                raise ConfigError(
                    f"[node] name: another machine with a storage is called {self._me.node} on this broker, too: "
                    "give each node a name of its own"
                )
        problems = [one.problem for one in self._nodes.values() if one.problem]
        if problems != self._problems:
            self._problems = problems
            self._service.fact("problems", problems)
            self._service.report()

    def _drop(self, name: str, message: Message) -> None:
        """Leave a message to the owner; if that will be this storage, producers send it again."""
        message.ack()
        self._has_dropped.add(name)
        self._service.count("messages_not_taken")

    def _publish(self, node: str, claim: Claim | None) -> None:
        if claim:
            self._service.bus.publish(topics.owner(node), encode(claim), retain=not claim.is_question)
