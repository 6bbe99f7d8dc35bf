"""Every call of the disk fails once, in what services keep beside the store: outbox, positions of uploads, names, counts."""

import errno
import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from heliograph import durable, messages
from heliograph.errors import ConfigError
from heliograph.frame_writer import FrameWriter
from heliograph.outbox import Outbox
from heliograph.pending import Pending
from heliograph.sender import Sender
from services.mqtt_importer.device_registry import DeviceNames
from services.sensor_reader.pulses.count_file import CountFile
from services.serial_bridge.protocols.meter_names import MeterNames
from services.storage.journal_intake import JournalIntake, Verdict
from services.uploader import targets
from services.uploader.target import Answer, Limits, Refused, Row, TargetContext
from services.uploader.targets import file
from tests.system.io_faults import Faults, folder_in_memory, numbers
from tests.uploader.engine.fakes import NOON, Engine, FakeTarget, MemoryStore

ATTEMPTS = 5
SHORT = 12
PRODUCER = "pi/meter"
T = TypeVar("T")


def insisted(work: Callable[[], T]) -> T:
    """Do some work; begin again when it raises, as a process that is started again does."""
    for _ in range(ATTEMPTS):
        try:
            return work()
        except (OSError, ConfigError) as error:
            logging.getLogger(__name__).error("%s", error)
    raise AssertionError("it never worked again")


class Clock:
    boot = "boot"

    def booted(self, boot: str) -> float | None:
        raise AssertionError(boot)


class Producer:
    """A producer with small segments, and a storage that takes its frames, commits them and acknowledges them."""

    def __init__(self, folder: Path) -> None:
        self.stored: list[object] = []
        self._folder = folder
        self._intake = JournalIntake({}, "storage", 1.0)
        self._start()

    def _start(self) -> None:
        self._outbox = insisted(lambda: Outbox(self._folder, "boot", segment_bytes=300))
        self._writer = FrameWriter(self._outbox, lambda why, what, where: None)
        self._sender = Sender(self._outbox, Clock(), self._publish, lambda: 0.0)
        self._sender.connect()
        self.commit()

    def add(self, number: int) -> None:
        self._writer.add(Pending("meter", "", NOON + number, {"n": number}, NOON + number))
        self._writer.write_if_due(hurry=True)
        self._sender.pump()

    def commit(self) -> None:
        self._writer.write_if_due(hurry=True)
        self._sender.pump()
        self._intake.commit(self._intake.uncommitted())
        self._sender.watermark(self._intake.watermark(PRODUCER, self._outbox.epoch))
        self._sender.pump()
        self._outbox.sync(-1)

    def restart(self) -> None:
        self._writer.write_if_due(hurry=True)
        assert not self._writer.pending
        self._outbox.sync(-1)
        self._sender.close()
        self._outbox.close()
        self._start()

    def close(self) -> None:
        self._sender.close()
        self._outbox.close()

    def _publish(self, _news: bool, payload: bytes) -> bool:
        for frame in messages.frames(payload):
            if self._intake.classify(PRODUCER, frame) is Verdict.ACCEPT:
                assert self._intake.accept(PRODUCER, frame) == 0
                self.stored += [row[1] for block in frame.blocks for row in block.rows]
        return True


Check = Callable[[], None]


def outbox(folder: Path) -> Check:
    producer = Producer(folder)
    for number in range(40):
        producer.add(number)
        if number % 7 == 6:
            producer.commit()
        if number % 15 == 14:
            producer.restart()
    producer.restart()
    for number in (40, 41):  # a file that was not deleted when its readings were committed goes with the next ones
        producer.add(number)
        producer.commit()
    producer.commit()
    left = sorted(path.name for path in folder.glob("*.segment"))

    def check() -> None:
        assert producer.stored == list(range(42))
        assert len(left) == 1
        producer.close()

    return check


class Server(FakeTarget):
    """Takes all rows but two, which it refuses, and knows its newest one."""

    refused = (NOON + 7, NOON + 20)

    def upload(self, rows: Sequence[Row]) -> Answer:
        good = [row for row in rows if row.time not in self.refused]
        self.taken += good
        self.known_newest = max((row.time for row in good), default=self.known_newest)
        if bad := {index: "bad" for index, row in enumerate(rows) if row.time in self.refused}:
            raise Refused("bad", bad)
        return Answer()


def begun(folder: Path, store: MemoryStore, target: FakeTarget) -> Engine:
    return insisted(lambda: Engine(folder, store, target))


def run(engine: Engine, steps: int = 200) -> None:
    """Run an engine, and put what its status says of errors into the log."""
    engine.run(steps)
    if error := engine.pipeline.facts().get("last_error"):
        logging.getLogger(__name__).warning("%s", error)


def uploads(folder: Path, *, overwrites: bool) -> Check:
    store, server = MemoryStore(), Server(Limits(rows=10, overwrites=overwrites))
    for number in range(35):
        store.arrive(NOON + number, {"power": number % 100})
    engine = begun(folder, store, server)
    run(engine, 2)
    engine.close()
    engine = begun(folder, store, server)
    run(engine)
    engine.close()
    engine = begun(folder, store, server)
    run(engine)

    def check() -> None:
        times = [NOON + number for number in range(35) if NOON + number not in server.refused]
        assert (sorted(set(server.times())) if overwrites else server.times()) == times
        assert engine.lost_times() == list(server.refused)
        engine.close()

    return check


class Files(FakeTarget):
    """Writes files."""

    def __init__(self, target: file.FileTarget) -> None:
        super().__init__(target.limits)
        self._files = target

    def upload(self, rows: Sequence[Row]) -> Answer:
        return self._files.upload(rows)

    def newest(self) -> float | None:
        return self._files.newest()


def files(folder: Path) -> Check:
    chosen = targets.parse_options({"kind": "file", "name": "out", "folder": str(folder / "files"), "max_files": 2})
    assert isinstance(chosen, file.Options)
    store = MemoryStore()
    for first in range(0, 12, 4):
        for number in range(first, first + 4):
            store.arrive(NOON + number * 20_000, {"power": number})
        engine = begun(folder, store, Files(chosen.open(TargetContext("pi", folder, lambda: ()))))
        run(engine)
        run(engine)
        engine.close()

    def check() -> None:
        paths = sorted((folder / "files").glob("out-*.csv"))
        lines = [line for path in paths for line in path.read_text().splitlines()[1:]]
        values = [int(line.split(",")[4]) for line in lines]
        assert len(paths) in (2, 3)  # one more if the disk did not delete it
        assert values == list(range(12))[-len(values) :]
        assert len(values) >= 5

    return check


def state(folder: Path) -> Check:
    """The file that the calculator, the clock, the copy of a store and others replace as a whole."""
    path = folder / "checkpoint.json"
    for number in range(3):
        before = path.read_bytes() if path.exists() else b""
        content = b"%d" % number * 1000

        def write(before: bytes = before, content: bytes = content) -> None:
            try:
                durable.write(path, content)
            finally:
                assert (path.read_bytes() if path.exists() else b"") in (before, content)

        insisted(write)

    def check() -> None:
        assert path.read_bytes() == b"2" * 1000

    return check


def device_names(folder: Path) -> Check:
    path = folder / "devices.json"
    texts = ["Plug 1", "plug/1", "PLUG-1", "plug 1!"]
    names = DeviceNames(path, {})
    given = [names.name("tasmota", text) for text in texts]
    again_later(names.save_if_due)

    def check() -> None:
        after = DeviceNames(path, {})
        assert [after.name("tasmota", text) for text in reversed(texts)] == given[::-1]

    return check


def meter_names(folder: Path) -> Check:
    path = folder / "meters.json"
    names = MeterNames(path)
    given = [names.name("meter", channel, "gas") for channel in (1, 2, 3)]
    again_later(lambda: names.name("meter", 1, "gas"))

    def check() -> None:
        after = MeterNames(path)
        assert [after.name("meter", channel, "gas") for channel in (3, 2, 1)] == given[::-1]

    return check


def again_later(work: Callable[[], object]) -> None:
    """Do some work as if RETRY_SECONDS had passed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "RETRY_SECONDS", 0.0)
        work()


def pulses(folder: Path) -> Check:
    path = folder / "gas.count"
    count = 0
    for _ in range(3):
        counter = insisted(lambda: CountFile(path))
        assert not counter.damaged
        assert counter.count == count
        for _ in range(4):
            count += 1
            insisted(partial(counter.save, count))
        insisted(counter.sync)
        counter.close()

    def check() -> None:
        with closing(CountFile(path)) as counter:
            assert (counter.count, counter.damaged) == (count, False)

    return check


SCENARIOS: dict[str, Callable[[Path], Check]] = {
    "outbox": outbox,
    "uploads": lambda folder: uploads(folder, overwrites=True),
    "uploads, each row once": lambda folder: uploads(folder, overwrites=False),
    "files": files,
    "state": state,
    "names of devices": device_names,
    "names of meters": meter_names,
    "pulses": pulses,
}


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_call_fails_once(
    disk: Faults, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, name: str, error: int
) -> None:
    calls: list[str] = []
    work = SCENARIOS[name]

    def fails(memory: Path, at: int) -> bool:
        nonlocal calls
        folder = memory / str(at)
        folder.mkdir()
        caplog.clear()
        disk.arm(at, error)
        check = work(folder)
        failed, calls = disk.failed, disk.calls
        disk.arm(0, 0)
        assert bool(failed) == bool(at), f"call {at} was never made"
        reported = any(record.levelno >= logging.WARNING for record in caplog.records)
        try:
            check()
        except AssertionError as wrong:
            raise AssertionError(f"{name}: call {at}, {failed}") from wrong
        shutil.rmtree(folder)
        return reported

    with folder_in_memory() as memory:
        fails(memory, 0)
        chosen = numbers(calls, error, 0 if request.config.getoption("--full") else SHORT)
        reported = [fails(memory, at) for at in chosen]
    assert len(chosen) >= 8
    assert sum(reported) > len(reported) / 2, [
        (calls[at - 1], one) for at, one in zip(chosen, reported, strict=True)
    ]  # SQLite makes a checkpoint again by itself
