"""From the journals to the store: take, commit, acknowledge, tell the producer. In that order."""

import logging
import queue
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from enum import Enum
from typing import ClassVar, TypeAlias

import msgspec

from heliograph import topics
from heliograph.bus import Message
from heliograph.config import Config
from heliograph.errors import MessageError
from heliograph.messages import Frame, Info, decode, encode, frames
from heliograph.service import Service
from heliograph.store import open_writer
from heliograph.store.interface import Keep, Writer
from heliograph.write_loop import until_stopped
from services.storage.journal_intake import Intake, Verdict

log = logging.getLogger(__name__)

COMMIT_READINGS = 5_000
COMMIT_FRAMES = 500  # well below a producer's window, or it would have to wait for the clock
ANSWER_SECONDS = 0.05  # a producer is told of a gap at most this often
IDLE_SECONDS = 5.0


class Storage(Config, frozen=True):
    """The [storage] section."""

    RENAMED: ClassVar[Mapping[str, str]] = {"url": "[node] store"}

    nodes: list[str] = msgspec.field(default_factory=list)
    commit_seconds: float = 10.0
    keep_years: float = 0.0
    keep_raw_years: float = 0.0
    keep_gigabytes: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no storage can do."""
        for node in self.nodes:
            topics.name(node)
        for option in ("keep_years", "keep_raw_years", "keep_gigabytes"):
            if getattr(self, option) < 0:
                raise ValueError(f"{option}: {getattr(self, option)} is less than 0, which keeps everything")
        if not 0.01 <= self.commit_seconds <= 30:
            raise ValueError(f"commit_seconds: {self.commit_seconds} is not between 0.01 and 30")


class _Event(Enum):
    CONNECTED = "connected"


Inbox: TypeAlias = "queue.SimpleQueue[Message | _Event]"


class Journal:
    """Takes messages in the order they came, and makes them durable together."""

    def __init__(self, options: Storage, service: Service, store: Writer) -> None:
        self._service = service
        self._store = store
        self._seconds = options.commit_seconds
        start = f"{store.identity}-{uuid.uuid4().hex[:8]}"
        self._intake = Intake(store.progress(), start, options.commit_seconds)
        self._acks: list[Callable[[], object]] = []
        self._frames = 0
        self._due: float | None = None
        self._touched: set[tuple[str, str]] = set()
        self._answered: dict[tuple[str, str, bool], float] = {}
        self._names: dict[str, topics.Parsed] = {}
        self._refused: Message | None = None  # what the disk refused to take
        self._busy = False
        self._problems: list[str] = []
        service.fact("frames_lost", self._intake.losses())

    def take(self, message: Message) -> None:
        """Take one message; its acknowledgement waits for the commit. Raises OSError if the disk refuses; see `resume`."""
        self._busy, self._refused = True, message
        try:
            parsed = self._names.get(message.topic)
            if parsed is None:
                parsed = self._names[message.topic] = topics.parse(message.topic)
            if parsed.kind == "info":
                self._declare(parsed, message.payload)
            else:
                for frame in frames(message.payload):
                    self._frame(f"{parsed.node}/{parsed.owner}", parsed, frame)
        except (MessageError, ValueError) as error:
            self._service.set_aside(str(error), message.payload[:1000], message.topic)
        self._acks.append(message.ack)
        if self._due is None:
            self._due = time.monotonic() + self._seconds
        self._busy, self._refused = False, None

    def resume(self) -> None:
        """Take the message that the disk refused, if there is one; raise OSError if it still does."""
        if self._refused:
            self.take(self._refused)

    def due(self) -> float:
        """Return in how many seconds the next commit is due."""
        if self._store.pending >= COMMIT_READINGS or self._frames >= COMMIT_FRAMES:
            return 0.0
        return IDLE_SECONDS if self._due is None else max(0.0, self._due - time.monotonic())

    def commit(self) -> None:
        """Make everything taken durable, acknowledge it, tell the producers; raise OSError, with all kept, if the disk refuses."""
        if self._due is None:
            return
        progress = self._intake.uncommitted()
        readings = self._store.pending
        self._busy = True
        try:
            self._store.commit(progress)
        except OSError:
            self._busy = False
            raise
        self._intake.commit(progress)
        for ack in self._acks:
            ack()
        for producer, epoch in self._touched:
            self._tell(producer, epoch)
        self._acks.clear()
        self._touched.clear()
        self._frames = 0
        self._due = None
        self._busy = False
        self._service.count("commits")
        self._service.count("readings", readings)

    def maintain(self) -> None:
        """Do a piece of the store's housekeeping, if any is due; raise OSError if the disk refuses."""
        self._store.maintain()
        problems = self._store.problems()
        if problems != self._problems:
            self._problems = problems
            self._service.fact("store_problems", problems)

    def finish(self) -> None:
        """Commit a last time; raise OSError if the disk refuses.

        If a signal came in the middle of a message or a commit, what is not committed is
        left to come again: half of it might be noted already, and would be stored twice.
        """
        if not self._busy:
            self.commit()

    def tell_everyone(self) -> None:
        """Tell every producer where it stands: after a start, and whenever the broker may have forgotten it."""
        for producer, mark in self._intake.marks().items():
            node, _, name = producer.partition("/")
            self._service.bus.publish(topics.service(node, name, "committed"), encode(mark), retain=True)

    def _declare(self, parsed: topics.Parsed, payload: bytes) -> None:
        for refusal in self._store.declare(parsed.node, parsed.owner, decode(Info, payload)):
            self._service.set_aside(refusal.why, refusal.what, f"{parsed.node}/{parsed.owner}")

    def _frame(self, producer: str, parsed: topics.Parsed, frame: Frame) -> None:
        if frame.epoch:
            verdict = self._intake.judge(producer, frame)
            if verdict is not Verdict.TAKE:
                self._service.count("frames_duplicate" if verdict is Verdict.DUPLICATE else "frames_behind_a_gap")
                self._answer(producer, frame.epoch, gap=verdict is Verdict.GAP)
                return
        elif not frame.blocks:
            self._service.set_aside("a frame without a sequence and readings", repr(frame)[:200], producer)
            return
        refusals = self._store.write(parsed.node, frame.blocks)
        self._frames += 1
        if frame.epoch:
            self._touched.add((producer, frame.epoch))
            missing = self._intake.take(producer, frame)
            if missing:
                self._service.count("frames_declared_lost", missing)
                self._service.fact("frames_lost", self._intake.losses())
                log.warning(
                    "%s has lost %d frames before frame %d",
                    producer,
                    missing,
                    frame.sequence,
                )
        if frame.unstamped:
            self._service.count("readings_unstamped", frame.unstamped)
        for refusal in refusals:
            self._service.set_aside(refusal.why, refusal.what, producer)

    def _answer(self, producer: str, epoch: str, *, gap: bool) -> None:
        """Tell a producer at once that it is ahead, or behind, of what is stored."""
        now = time.monotonic()
        question = (producer, epoch, gap)
        if now - self._answered.get(question, -ANSWER_SECONDS) >= ANSWER_SECONDS:
            self._answered[question] = now
            self._tell(producer, epoch, gap=gap)

    def _tell(self, producer: str, epoch: str, *, gap: bool = False) -> None:
        node, _, name = producer.partition("/")
        mark = self._intake.mark(producer, epoch, gap=gap)
        self._service.bus.publish(topics.service(node, name, "committed"), encode(mark), retain=True)


def listen(options: Storage, service: Service, inbox: Inbox) -> None:
    """Subscribe to all that is to be stored."""
    for node in dict.fromkeys(options.nodes or [service.node]):
        service.bus.subscribe(topics.every_device("info", node), inbox.put)
        service.bus.subscribe(topics.every_service("journal", node), inbox.put)
        service.bus.subscribe(topics.every_service("replay", node), inbox.put)
    service.bus.on_connect(lambda: inbox.put(_Event.CONNECTED))


class StorageWorker:
    """Opens the store, as often as it takes, and brings to it what comes in."""

    def __init__(self, options: Storage, service: Service, inbox: Inbox) -> None:
        self._options = options
        self._service = service
        self._inbox = inbox
        self._store: Writer | None = None
        self._journal: Journal | None = None

    def work(self) -> None:
        """Open the store, or take what comes until a commit is due, and commit; raise OSError if store or disk refuse."""
        if self._journal is None:
            self._open()
            return
        self._journal.resume()
        while (wait := self._journal.due()) > 0:
            self._service.alive()
            try:
                item = self._inbox.get(timeout=min(wait, IDLE_SECONDS))
            except queue.Empty:
                self._journal.maintain()
                return
            if isinstance(item, Message):
                self._journal.take(item)
            else:
                self._journal.tell_everyone()
        self._journal.commit()
        self._journal.maintain()

    def finish(self) -> None:
        """Commit a last time, if there is a store; raise OSError if it refuses."""
        if self._journal:
            self._journal.finish()

    def close(self) -> None:
        """Release the store; what is not committed comes again."""
        if self._store:
            self._store.close()

    def _open(self) -> None:
        if self._store is None:
            data, url = self._service.store
            keep = Keep(self._options.keep_years, self._options.keep_raw_years, self._options.keep_gigabytes)
            self._store = open_writer(data, lambda: self._service.clock.synchronised, url=url, keep=keep)
        self._journal = Journal(self._options, self._service, self._store)


def main(options: Storage, service: Service, inbox: Inbox) -> None:
    """Store until the process is told to stop."""
    with closing(StorageWorker(options, service, inbox)) as worker:
        until_stopped(service, worker.work, worker.finish)
