"""Which storage owns a node: exactly one may, and a second one notices the first and refuses (decision 0027).

No wall clock is compared: how long a storage has owned a node is measured by its own clock that nothing sets.
"""

import logging
import time
from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from heliograph import topics

log = logging.getLogger(__name__)

CLAIM_SECONDS = 30.0  # how often an owner publishes that it is there
ECHO_SECONDS = 10.0  # a broker that does not return the question lets no storage ask: its access list is an older one
TAKE_OVER_SECONDS = (
    300.0  # without a word of an owner that the broker has retained: longer than a machine takes to start
)
NAMESAKE_SECONDS = (
    15.0  # the same, of an owner with the name of this node: one that lives takes the connection back at once
)
ANSWER_SECONDS = 3.0  # for the answers of owners, where the broker retains nothing
SAME_AGE_SECONDS = 5.0  # two that began so close together have begun at once
MOST_REPLIES = 3  # to one other owner, before the names of the processes decide


class Claim(Struct, frozen=True, omit_defaults=True):
    """What a storage says about a node: the payload of `owner`, retained; a question is not.

    `store` identifies its store and `process` its start, `node` is the node that it runs on, `held` for how many seconds it has
    owned the node; a question has less than 0.
    """

    store: str
    process: str
    node: str
    held: float = 0.0

    @property
    def is_question(self) -> bool:
        """Whether somebody asks who owns the node, rather than owning it."""
        return self.held < 0


class State(Enum):
    """Whether a storage takes the readings of a node."""

    ASKING = "asking"  # no storage has answered yet
    OWNER = "owner"
    REFUSED = "refused"  # another storage owns it


class Ownership:
    """The claim of one storage to one node: given what arrives, it returns what to publish. Not thread-safe.

    `now` returns seconds that nothing can set; `retains` says whether the broker keeps retained messages.
    """

    def __init__(
        self,
        node: str,
        me: Claim,
        *,
        now: Callable[[], float] = time.monotonic,
        retains: Callable[[], bool] = lambda: True,
    ) -> None:
        self.node = node
        self.state = State.ASKING
        self.problem = ""  # why the readings of the node are not taken, in a sentence
        self.rival: Claim | None = None  # the storage for which this one waits, or that owns the node
        self._me = me
        self._now = now
        self._retains = retains
        self._decide_at: float | None = None
        self._since = 0.0
        self._claimed = 0.0
        self._replies: dict[str, int] = {}
        self._warned: set[str] = set()

    def connected(self) -> Claim | None:
        """Return what to publish after a connect: the claim, which the broker may have lost, or the question who owns the node."""
        if self.state is State.OWNER:
            return self._claim()
        if self.state is State.REFUSED:
            return None
        self._decide_in(self._patience(self.rival) if self.rival else ECHO_SECONDS)
        return self._question()

    def receive(self, claim: Claim | None, *, retained: bool) -> Claim | None:
        """Take in a message about the node, None for one that ends all claims; return what to publish, if anything."""
        if claim is None:
            self._now_free()
        elif claim.process == self._me.process:
            self._echoed(claim)
        elif claim.is_question:
            return self._asked(claim)
        elif self.state is State.OWNER:
            return self._contest(claim)
        elif self.state is State.ASKING:
            self._notice(claim, retained=retained)
        return self._owner_begins()

    def tick(self) -> Claim | None:
        """Return what is due to be published, if anything; call it every few seconds."""
        if self.state is State.ASKING and self._decide_at is not None and self._now() >= self._decide_at:
            self._own_unanswered()
        if self.state is State.OWNER and self._now() - self._claimed >= CLAIM_SECONDS:
            return self._claim()
        return self._owner_begins()

    def _own_unanswered(self) -> None:
        if self.rival:
            log.warning("takes over %s: the storage of node %s, which owned it, is silent", self.node, self.rival.node)
        elif self._retains():
            log.warning(
                "owns %s without having asked: the broker does not return what storage publishes on %s, "
                "so its access list may be an older one",
                self.node,
                topics.owner(self.node),
            )
        self._own()

    def _echoed(self, claim: Claim) -> None:
        """What the broker has retained has arrived when the own question comes back."""
        if self.state is State.ASKING and claim.is_question and self.rival is None:
            if self._retains():
                self._own()
            else:
                self._decide_in(ANSWER_SECONDS)

    def _notice(self, claim: Claim, *, retained: bool) -> None:
        if not retained:
            self._refuse(claim)
        elif claim.store != self._me.store:  # that of an earlier start of this store is no other
            known = self.rival
            if known and known.process == claim.process and claim.held > known.held:
                self._refuse(claim)  # it has claimed the node again since this one was connected before
                return
            self.rival = claim
            self._decide_in(self._patience(claim))
            self.problem = f"node {self.node}: waits {self._patience(claim):.0f} s for the storage of node {claim.node}, which owned it last"
            if known is None:
                log.warning("%s", self.problem)

    def _asked(self, claim: Claim) -> Claim | None:
        if self.state is not State.OWNER:
            return None
        if claim.process not in self._warned:
            self._warned.add(claim.process)
            log.warning("another storage, of node %s, asks for node %s, which this one owns", claim.node, self.node)
        return self._claim()

    def _contest(self, other: Claim) -> Claim | None:
        """Refuse if the other has owned the node for longer, else answer it."""
        replies = self._replies[other.process] = self._replies.get(other.process, 0) + 1
        older_by = self._now() - self._since - other.held
        if abs(older_by) <= SAME_AGE_SECONDS or replies > MOST_REPLIES:
            is_mine = self._me.process < other.process
        else:
            is_mine = older_by > 0
        if is_mine:
            return self._claim()
        self._refuse(other)
        return None

    def _patience(self, owner: Claim) -> float:
        return NAMESAKE_SECONDS if owner.node == self._me.node else TAKE_OVER_SECONDS

    def _refuse(self, other: Claim) -> None:
        self.state, self.rival = State.REFUSED, other
        whose = "a copy of this store" if other.store == self._me.store else "another store"
        self.problem = (
            f"node {self.node}: not stored here, because the storage of node {other.node} ({whose}) owns it; "
            f"exactly one storage may: take {self.node} out of [storage] nodes of one of them, then restart both"
        )
        log.error("%s", self.problem)

    def _now_free(self) -> None:
        """The owner gave the node up, or somebody made the broker forget it."""
        if self.state is State.OWNER:
            self._claimed = float("-inf")
        elif self.rival:
            log.warning("takes over %s: the storage of node %s has given it up", self.node, self.rival.node)
            self._own()

    def _own(self) -> None:
        self.state, self.problem, self.rival, self._decide_at = State.OWNER, "", None, None
        self._since = self._now()
        self._claimed = float("-inf")
        self._replies.clear()

    def _owner_begins(self) -> Claim | None:
        return self._claim() if self.state is State.OWNER and self._claimed == float("-inf") else None

    def _decide_in(self, seconds: float) -> None:
        self._decide_at = self._now() + seconds

    def _question(self) -> Claim:
        return Claim(self._me.store, self._me.process, self._me.node, -1.0)

    def _claim(self) -> Claim:
        self._claimed = self._now()
        return Claim(self._me.store, self._me.process, self._me.node, round(self._claimed - self._since, 1))
