"""Frames of the journals into the store: accept, commit, acknowledge, publish the watermark. In that order."""

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection

from heliograph import topics
from heliograph.backoff import Backoff
from heliograph.bus import Message
from heliograph.errors import MessageError
from heliograph.messages import Frame, Info, decode, encode, frames
from heliograph.outbox_losses import shown
from heliograph.service import Service
from heliograph.store.interface import Writer
from services.storage.journal_intake import JournalIntake, Verdict
from services.storage.late_names import LateNames
from services.storage.replaced_readings import ReplacedReadings

log = logging.getLogger(__name__)

COMMIT_READINGS = 5_000
COMMIT_FRAMES = 500  # well below a producer's window, or it would have to wait for the clock
REPEAT_SECONDS = 0.05  # a producer gets the same watermark at most this often
IDLE_SECONDS = 5.0
SHOWN_LOSSES = 20


class JournalWriter:
    """Writes messages in order of their arrival, and makes them durable together."""

    def __init__(
        self, service: Service, store: Writer, commit_seconds: float, owns: Callable[[str], bool] = lambda _: True
    ) -> None:
        """`owns` says whether the watermarks of a node are this storage's to publish."""
        self._service = service
        self._store = store
        self._owns = owns
        self._seconds = commit_seconds
        start = f"{store.identity}-{uuid.uuid4().hex[:8]}"
        self._intake = JournalIntake(store.progress(), start, commit_seconds)
        self._late = LateNames(store.renames())
        self._replaced = ReplacedReadings()
        self._acks: list[Callable[[], object]] = []
        self._frames = 0
        self._due: float | None = None
        self._advanced: set[tuple[str, str]] = set()  # producers and epochs that the next commit advances
        self._published: dict[tuple[str, str, bool], float] = {}  # when a duplicate or a gap was last answered
        self._topics: dict[str, topics.Parsed] = {}
        self._newest_times: dict[str, float] = {}  # of the last frame of each producer
        self._losses: deque[str] = deque(maxlen=SHOWN_LOSSES)
        self._refused: Message | None = None  # the message that could not be written
        self._busy = False
        self._facts: dict[str, list[str]] = {"store_problems": [], "dropped": []}
        self._backoff = Backoff()
        self._maintain_after = 0.0
        self._failing = False
        service.fact("frames_lost", self._intake.losses())
        service.fact("losses", [])

    def write(self, message: Message) -> None:
        """Write one message; its acknowledgement waits for the commit. Raises OSError if the write fails; see `resume`."""
        self._busy, self._refused = True, message
        try:
            parsed = self._topics.get(message.topic)
            if parsed is None:
                parsed = self._topics[message.topic] = topics.parse(message.topic)
            if parsed.kind == "info":
                self._declare(parsed, message.payload)
            else:
                for frame in frames(message.payload):
                    self._write_frame(f"{parsed.node}/{parsed.owner}", parsed, frame)
        except (MessageError, ValueError) as error:
            self._service.set_aside(str(error), message.payload[:1000], message.topic)
        self._acks.append(message.ack)
        if self._due is None:
            self._due = time.monotonic() + self._seconds
        self._busy, self._refused = False, None

    def resume(self) -> None:
        """Write the message that could not be written, if there is one; raise OSError if it still cannot."""
        if self._refused:
            self.write(self._refused)

    def seconds_to_commit(self) -> float:
        """Return in how many seconds the next commit is due."""
        if self._store.pending >= COMMIT_READINGS or self._frames >= COMMIT_FRAMES:
            return 0.0
        return IDLE_SECONDS if self._due is None else max(0.0, self._due - time.monotonic())

    def commit(self) -> None:
        """Make everything durable, acknowledge it, publish the watermarks; raise OSError, with all kept, if that fails."""
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
        for producer, epoch in self._advanced:
            self._publish(producer, epoch)
        self._acks.clear()
        self._advanced.clear()
        self._frames = 0
        self._due = None
        self._busy = False
        self._service.count("commits")
        self._service.count("readings", readings)

    def maintain(self) -> None:
        """Do a piece of the store's housekeeping, if any is due; a failure is reported, and tried again later: commits continue."""
        now = time.monotonic()
        if now < self._maintain_after:
            return
        facts = dict(self._facts)
        try:
            self._store.maintain()
            facts = {"store_problems": self._store.problems(), "dropped": self._store.dropped()}
        except OSError as error:
            self._maintain_after = now + self._backoff.next()
            self._service.count("housekeeping_failures")
            facts["store_problems"] = [f"housekeeping fails, and is tried again: {error}"]
            if not self._failing:
                log.error("%s", facts["store_problems"][0])
            self._failing = True
        else:
            if self._failing:
                log.info("housekeeping works again")
                self._backoff.reset()
                self._failing = False
        for fact, sentences in facts.items():
            if sentences != self._facts[fact]:
                self._service.fact(fact, sentences)
        if facts["store_problems"] != self._facts["store_problems"]:
            self._service.report()  # `/health` shows it at once
        self._facts = facts

    def finish(self) -> None:
        """Commit a last time; raise OSError if that fails.

        If a signal came in the middle of a message or a commit, what is not committed is
        left to come again: half of it might be noted already, and would be stored twice.
        """
        if not self._busy:
            self.commit()

    def publish_watermarks(self, nodes: Collection[str]) -> None:
        """Publish the watermarks of the producers of nodes, whenever they and the broker may not know them."""
        for producer, watermark in self._intake.watermarks().items():
            node, _, name = producer.partition("/")
            if node in nodes:
                self._service.bus.publish(topics.service(node, name, "committed"), encode(watermark), retain=True)

    def _declare(self, parsed: topics.Parsed, payload: bytes) -> None:
        if not payload:
            return  # the device is forgotten: its readings stay
        for refusal in self._store.declare(parsed.node, parsed.owner, decode(Info, payload)):
            self._service.set_aside(refusal.why, refusal.what, f"{parsed.node}/{parsed.owner}")

    def _write_frame(self, producer: str, parsed: topics.Parsed, frame: Frame) -> None:
        if frame.epoch:
            verdict = self._intake.classify(producer, frame)
            if verdict is not Verdict.ACCEPT:
                self._service.count("frames_duplicate" if verdict is Verdict.DUPLICATE else "frames_after_gap")
                self._publish_again(producer, frame.epoch, gap=verdict is Verdict.GAP)
                return
        elif not frame.blocks:
            self._service.set_aside("a frame without a sequence and readings", repr(frame)[:200], producer)
            return
        blocks = self._late.present(parsed.node, frame.blocks)
        refusals = self._store.write(parsed.node, blocks)
        if replaced := self._replaced.count(parsed.node, blocks):
            self._service.count("readings_replaced", replaced)
        self._frames += 1
        if frame.epoch:
            self._advanced.add((producer, frame.epoch))
            if missing := self._intake.accept(producer, frame):
                self._service.count("frames_declared_lost", missing)
                self._service.fact("frames_lost", self._intake.losses())
                self._note_loss(producer, missing, frame)
            if (newest := _time(frame, -1)) is not None:
                self._newest_times[producer] = newest
        if frame.unstamped:
            self._service.count("readings_unstamped", frame.unstamped)
        for refusal in refusals:
            self._service.set_aside(refusal.why, refusal.what, producer)

    def _note_loss(self, producer: str, missing: int, frame: Frame) -> None:
        """Log what a producer has declared lost, with the times around it, and show it among the last losses."""
        after, before = self._newest_times.get(producer), _time(frame, 0)
        span = " and before ".join(
            shown(at) if at is not None else "a time that is not known" for at in (after, before)
        )
        loss = f"{producer} lost {missing} frames before frame {frame.sequence}: readings after {span}"
        log.warning("%s", loss)
        self._losses.append(loss)
        self._service.fact("losses", list(self._losses))

    def _publish_again(self, producer: str, epoch: str, *, gap: bool) -> None:
        """Publish the watermark of a producer that sent a frame too late or too early."""
        now = time.monotonic()
        key = (producer, epoch, gap)
        if now - self._published.get(key, -REPEAT_SECONDS) >= REPEAT_SECONDS:
            self._published[key] = now
            self._publish(producer, epoch, gap=gap)

    def _publish(self, producer: str, epoch: str, *, gap: bool = False) -> None:
        node, _, name = producer.partition("/")
        if not self._owns(node):
            return  # another storage does now: the producer would forget what that one does not have
        watermark = self._intake.watermark(producer, epoch, gap=gap)
        self._service.bus.publish(topics.service(node, name, "committed"), encode(watermark), retain=True)


def _time(frame: Frame, which: int) -> float | None:
    """Return the time (s UTC) of the first (0) or last (-1) reading of a frame, None if it has none that is a number."""
    rows = frame.blocks[which].rows if frame.blocks else []
    time = rows[which][0] if rows and rows[which] else None
    return float(time) if isinstance(time, int | float) else None
