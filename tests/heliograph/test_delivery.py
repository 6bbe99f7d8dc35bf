"""Sender and intake in a simulation in which every part fails, at any moment and in any order."""

import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph import sender as sender_module
from heliograph.messages import Block, Watermark, frames
from heliograph.outbox import Outbox
from heliograph.segment import Segment
from heliograph.sender import Sender, UnstampedFrame
from heliograph.store.interface import Progress
from services.storage.journal_intake import JournalIntake, Verdict

PRODUCER = "pi/meter"
EPOCH_ZERO = 1_700_000_000.0
COMMIT_SECONDS = 0.2
PATIENCE_SECONDS = 1_000.0

Database = tuple[dict[tuple[str, str], Progress], list[int], list[tuple[str, int]]]


class Clock:
    def __init__(self) -> None:
        self.boot = "boot0"
        self.right = True
        self.booted_at = {"boot0": EPOCH_ZERO}

    def booted(self, boot: str) -> float | None:
        if boot == self.boot and not self.right:
            return None
        return self.booted_at.get(boot)


class World:
    """A producer, a broker and a storage; only the disks of producer and storage survive a failure."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.clock = Clock()
        self.boots = {"boot0": 0.0}
        self.numbers: dict[tuple[str, int], int] = {}  # (epoch, sequence) → number of the reading
        self.times: dict[int, float] = {}
        self.unstampable: set[int] = set()
        self.waiting: dict[int, str] = {}  # number → boot of held readings
        self.cut: set[int] = set()
        self.dropped: set[int] = set()
        self.undone: set[int] = set()
        self.published = 0
        self.fail_publish = False
        self.broker = True
        self.wire: deque[bytes] = deque()
        self.unacknowledged: list[bytes] = []
        self.back: deque[Watermark] = deque()
        self.retained: Watermark | None = None
        self.progress: dict[tuple[str, str], Progress] = {}
        self.stored: list[int] = []
        self.declared: list[tuple[str, int]] = []
        self.backup: Database = ({}, [], [])
        self.starts = 0
        self.intake: JournalIntake | None = None
        self.taken: list[int] = []
        self.newly_declared: list[tuple[str, int]] = []
        self.touched: set[str] = set()
        self.outbox: Outbox | None = None
        self.sender: Sender | None = None
        self.start_storage()
        self.start_producer()

    # the producer

    def start_producer(self) -> None:
        if self.outbox is None:
            self.outbox = Outbox(self.folder, self.clock.boot, segment_bytes=400, cap_bytes=4000)
            self.sender = Sender(self.outbox, self.clock, self.publish, lambda: self.now)
            self.connect_producer()

    def connect_producer(self) -> None:
        if self.sender and self.broker:
            self.back.clear()
            if self.retained:
                self.back.append(self.retained)
            self.sender.connect()

    def kill_producer(self) -> None:
        if self.outbox and self.sender:
            self.sender.close()
            self.outbox.close()
            self.outbox = self.sender = None
            self.back.clear()

    def reboot(self, cut: int) -> None:
        """The power fails: the end of the newest segment, which was not on the card yet, is lost."""
        self.kill_producer()
        before = self.held()
        paths = sorted(self.folder.glob("*.segment"))
        if paths:
            path = paths[-1]
            head = path.read_bytes().index(b"\n") + 1
            with path.open("r+b") as file:
                file.truncate(max(head, path.stat().st_size - cut))
        self.cut |= before - self.held()
        self.clock.boot = f"boot{len(self.boots)}"
        self.clock.right = False
        self.boots[self.clock.boot] = self.now

    def synchronise(self) -> None:
        self.clock.right = True
        self.clock.booted_at[self.clock.boot] = EPOCH_ZERO + self.boots[self.clock.boot]

    def append(self, count: int) -> None:
        if self.outbox is None:
            return
        for _ in range(count):
            number = len(self.times)
            since_boot = self.now - self.boots[self.clock.boot]
            self.times[number] = EPOCH_ZERO + self.now
            if self.clock.right:
                payload = msgspec.json.encode([Block("meter", ("n",), [[self.times[number], number]])])
            else:
                self.waiting[number] = self.clock.boot
                payload = msgspec.json.encode(
                    UnstampedFrame(self.clock.boot, [Block("meter", ("n",), [[since_boot, number]])])
                )
            before = [(s.epoch, s.first, s.next) for s in self.outbox.segments]
            sequence = self.outbox.append(payload)
            assert (self.outbox.epoch, sequence) not in self.numbers, "a sequence is used twice"
            self.numbers[self.outbox.epoch, sequence] = number
            after = {(s.epoch, s.first) for s in self.outbox.segments}
            for epoch, first, following in before:
                if (epoch, first) not in after:
                    self.dropped |= {self.numbers[epoch, gone] for gone in range(first, following)}

    def publish(self, _news: bool, payload: bytes) -> bool:
        if not self.broker or self.fail_publish:
            self.fail_publish = False
            return False
        self.published += len(frames(payload))
        self.wire.append(payload)
        return True

    def pump(self) -> None:
        if self.sender:
            self.sender.pump()

    def hear(self) -> None:
        while self.sender and self.back:
            self.sender.watermark(self.back.popleft())

    def held(self) -> set[int]:
        """The numbers of the readings that are on the producer's disk."""
        on_disk = set()
        for segment in self.segments():
            with segment.open() as file:
                while record := segment.record(file):
                    if (record.epoch, record.sequence) in self.numbers:
                        on_disk.add(self.numbers[record.epoch, record.sequence])
        return on_disk

    def segments(self) -> list[Segment]:
        return [Segment.load(path) for path in sorted(self.folder.glob("*.segment"))]

    # the broker

    def kill_broker(self, *, keeps_retained: bool) -> None:
        self.broker = False
        self.wire.clear()
        self.unacknowledged.clear()
        self.back.clear()
        if not keeps_retained:
            self.retained = None
        if self.sender:
            self.sender.disconnect()

    def start_broker(self) -> None:
        if not self.broker:
            self.broker = True
            self.connect_producer()
            self.tell_everyone()

    # storage

    def start_storage(self) -> None:
        if self.intake is None:
            self.starts += 1
            self.intake = JournalIntake(self.progress, f"db-{self.starts}", COMMIT_SECONDS)
            self.tell_everyone()

    def kill_storage(self) -> None:
        if self.intake:
            self.intake = None
            self.taken.clear()
            self.newly_declared.clear()
            self.touched.clear()
            self.wire.extendleft(reversed(self.unacknowledged))  # the broker hands them out again
            self.unacknowledged.clear()

    def tell(self, mark: Watermark) -> None:
        if self.broker:
            self.retained = msgspec.json.decode(msgspec.json.encode(mark), type=Watermark)
            if self.sender:
                self.back.append(self.retained)

    def tell_everyone(self) -> None:
        if self.intake:
            for mark in self.intake.watermarks().values():
                self.tell(mark)

    def deliver(self, count: int) -> None:
        while self.intake and self.wire and count:
            count -= 1
            payload = self.wire.popleft()
            self.unacknowledged.append(payload)
            for frame in frames(payload):
                verdict = self.intake.classify(PRODUCER, frame)
                if verdict is not Verdict.ACCEPT:
                    self.tell(self.intake.watermark(PRODUCER, frame.epoch, gap=verdict is Verdict.GAP))
                    continue
                missing = self.intake.accept(PRODUCER, frame)
                self.newly_declared += [(frame.epoch, frame.sequence - back) for back in range(1, missing + 1)]
                self.touched.add(frame.epoch)
                for block in frame.blocks:
                    for time, number in block.rows:
                        assert time == pytest.approx(self.times[number], abs=0.0011), "stored with a wrong time"
                        self.taken.append(number)
                if frame.unstamped:
                    self.unstampable.add(self.numbers[frame.epoch, frame.sequence])

    def commit(self) -> None:
        if self.intake:
            progress = self.intake.uncommitted()
            self.progress.update(progress)
            self.stored += self.taken
            self.declared += self.newly_declared
            self.taken.clear()
            self.newly_declared.clear()
            self.intake.commit(progress)
            self.unacknowledged.clear()
            for epoch in self.touched:
                self.tell(self.intake.watermark(PRODUCER, epoch))
            self.touched.clear()
            assert len(set(self.stored)) == len(self.stored), "stored twice"

    def back_up(self) -> None:
        self.backup = dict(self.progress), list(self.stored), list(self.declared)

    def restore(self) -> None:
        self.kill_storage()
        progress, stored, declared = self.backup
        self.undone |= set(self.stored) - set(stored)
        self.progress, self.stored, self.declared = dict(progress), list(stored), list(declared)

    # the end

    def settled(self) -> bool:
        assert self.outbox
        assert self.sender
        key = (PRODUCER, self.outbox.epoch)
        last = self.progress.get(key, Progress(0, 0)).last
        return not self.wire and last == self.outbox.next - 1 and self.sender.backlog == 0

    def recover(self) -> None:
        """Start everything; assert that all frames on the producer's disk are stored in bounded time."""
        self.start_broker()
        self.start_storage()
        self.start_producer()
        self.synchronise()
        self.append(1)
        end = self.now + PATIENCE_SECONDS
        due = self.now
        while not self.settled():
            assert self.now < end, "no progress"
            self.now += 0.05
            self.pump()
            self.deliver(1 << 30)
            self.hear()
            if self.now >= due:
                self.commit()
                due = self.now + COMMIT_SECONDS

    def check(self) -> None:
        assert len(set(self.stored)) == len(self.stored)
        stored, held = set(self.stored), self.held()
        declared = {self.numbers[key] for key in self.declared if key in self.numbers}
        last = {epoch: progress.last for (_, epoch), progress in self.progress.items()}
        for (epoch, sequence), number in self.numbers.items():
            if number in stored:
                assert number not in declared, "declared lost and stored"
            elif number in declared:
                assert number in self.dropped | self.cut | self.undone, "declared lost without need"
            elif number in self.unstampable:
                assert self.waiting[number] not in self.clock.booted_at
            elif number in self.cut:
                continue
            else:
                # storage cannot know the last frames of an epoch of which no segment is left
                assert sequence > last.get(epoch, 0), "lost in silence"
                assert number in self.dropped | self.undone, "lost in silence"
                assert number not in held, "held, but not stored"


@contextmanager
def a_world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sender_module, "WINDOW", 12)  # so that a few frames fill it
        patched.setattr(sender_module, "BATCH_FRAMES", 4)
        world = World(Path(folder))
        try:
            yield world
        finally:
            world.kill_producer()


def step(world: World, event: tuple[str, int]) -> None:
    name, size = event
    match name:
        case "append":
            world.append(size)
        case "pump":
            world.pump()
        case "deliver":
            world.deliver(size)
        case "hear":
            world.hear()
        case "commit":
            world.commit()
        case "round":
            for _ in range(size):
                world.now += 0.1
                world.pump()
                world.deliver(1 << 30)
                world.commit()
                world.hear()
        case "wait":
            world.now += size * size * 0.3
            world.pump()
        case "storage dies":
            world.kill_storage()
        case "storage starts":
            world.start_storage()
        case "backup":
            world.back_up()
        case "restore":
            world.restore()
        case "broker dies":
            world.kill_broker(keeps_retained=size % 2 == 0)
        case "broker starts":
            world.start_broker()
        case "publish fails":
            world.fail_publish = True
        case "producer dies":
            world.kill_producer()
        case "producer starts":
            world.start_producer()
        case "reboot":
            world.reboot(size * size * 3)
        case "clock is set":
            world.synchronise()
        case _:
            raise AssertionError(name)


COMMON = ["append", "append", "append", "pump", "pump", "deliver", "hear", "commit", "round", "round", "wait"]
RARE = [
    "storage dies",
    "storage starts",
    "broker dies",
    "broker starts",
    "publish fails",
    "producer dies",
    "producer starts",
    "reboot",
    "clock is set",
]
SETBACK = ["backup", "restore"]


def events(names: list[str]) -> st.SearchStrategy[list[tuple[str, int]]]:
    return st.lists(st.tuples(st.sampled_from(names), st.integers(1, 12)), max_size=60)


@settings(max_examples=200)
@given(events=events(COMMON + RARE))
def test_every_frame_is_stored_once_or_declared_lost_whatever_fails(events: list[tuple[str, int]]) -> None:
    with a_world() as world:
        for event in events:
            step(world, event)
        world.recover()
        world.check()


@settings(max_examples=300)
@given(events=events(COMMON + RARE + SETBACK))
def test_a_storage_restored_from_a_backup_receives_again_what_the_outbox_still_holds(
    events: list[tuple[str, int]],
) -> None:
    with a_world() as world:
        for event in events:
            step(world, event)
        world.recover()
        world.check()
