"""Every call of the disk fails once: no value is wrong, none is there twice, the error is raised, and work continues."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from heliograph.errors import StoreDamaged
from heliograph.messages import Block, Channel, Info
from heliograph.store import folder, open_reader, schema
from heliograph.store.interface import Progress
from heliograph.store.writer import SqliteWriter
from services.storage.maintenance import backup
from tests.system.io_faults import Faults, faulty_disk

DAY = 86_400.0
START = 1_672_272_000.0  # 2022-12-29 00:00 UTC
DEVICES = ("meter", "tank")
PER_DAY = 300
SEALED, HOT = 5 * PER_DAY, 7 * PER_DAY  # readings of a device; 2022 ends within the sealed ones
NEW = 60
ATTEMPTS = 20


class Store:
    """A store in a folder, written by a process that begins again when it has to end."""

    def __init__(self, data: Path, days: float) -> None:
        self.data = data
        self.errors: list[Exception] = []
        self.written = HOT
        self._days = days
        self._writer: SqliteWriter | None = None

    @property
    def writer(self) -> SqliteWriter:
        if self._writer is None:
            self._writer = SqliteWriter(folder(self.data), lambda: True, now=lambda: START + self._days * DAY)
        return self._writer

    def do(self, work: Callable[[], object]) -> None:
        """Do some work; try again while the disk refuses, and begin again where a process would end."""
        for _ in range(ATTEMPTS):
            try:
                work()
            except OSError as error:
                self.errors.append(error)
            except StoreDamaged as error:
                self.errors.append(error)
                self.end()
            else:
                return
        raise AssertionError(f"it never worked again: {self.errors[-1]}")

    def end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def open(self) -> None:
        self.writer.progress()

    def commit(self) -> None:
        """Write and commit some readings of every device, one of them new."""
        count = self.written + NEW
        if self.writer.pending == 0 and self.writer.progress()["roof/bridge", "epoch"].last < count:
            for device in (*DEVICES, "new"):
                declare(self.writer, device)
                self.writer.write("roof", [block(device, self.written, count)])
        self.writer.commit({("roof/bridge", "epoch"): Progress(count, 0)})
        self.written = count

    def care(self) -> None:
        for _ in range(1000):
            if not self.writer.maintain():
                return
        raise AssertionError("there is always more to do")

    def mend(self) -> None:
        self.writer.mend()

    def back_up(self) -> None:
        self.end()
        backup.back_up(folder(self.data), self.data / "backup", lambda _: None)

    def restore(self) -> None:
        self.back_up()
        backup.restore(self.data / "backup", folder(self.data), lambda _: None, force=True)


def declare(writer: SqliteWriter, device: str) -> None:
    writer.declare("roof", device, Info("", {"power": Channel("W"), "mode": Channel("", "text")}))


def block(device: str, first: int, last: int) -> Block:
    rows = [[START + n * DAY / PER_DAY, value(device, n), f"{device} {n % 7}"] for n in range(first, last)]
    return Block(device, ("power", "mode"), rows)


def value(device: str, number: int) -> float:
    return (len(device) * 1_000_000 + number) / 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("made")
    with closing(SqliteWriter(folder(data), lambda: True, now=lambda: START + 6 * DAY)) as writer:
        for first, last in ((0, SEALED), (SEALED, HOT)):
            for device in DEVICES:
                declare(writer, device)
                writer.write("roof", [block(device, first, last)])
            writer.commit({("roof/bridge", "epoch"): Progress(last, 0)})
            if last == SEALED:
                writer.settle()
    return data


def commit(store: Store) -> None:
    store.do(store.open)
    store.do(store.commit)
    store.do(store.commit)


def seal(store: Store) -> None:
    store.do(store.commit)
    store.do(store.care)


def salvage(store: Store) -> None:
    store.do(store.open)
    store.do(store.mend)


def back_up(store: Store) -> None:
    store.do(store.back_up)


def restore(store: Store) -> None:
    store.do(store.restore)


def headless(data: Path) -> None:
    """Without first pages everything comes back, page by page."""
    for path, page in ((folder(data) / "history-2022.db", 4096), (schema.hot_file(folder(data)), 1024)):
        with path.open("r+b") as file:
            file.write(b"\x5a" * page)
    schema.catalog_file(folder(data)).unlink()


def whole(data: Path) -> None:
    """Nothing is damaged."""


SCENARIOS: dict[str, tuple[Callable[[Path], None], Callable[[Store], None], float]] = {
    "commit": (whole, commit, 7.0),
    "seal": (whole, seal, 7.2),
    "merge": (whole, seal, 60.0),  # months and the year are closed, the year is packed
    "salvage": (headless, salvage, 7.0),
    "back_up": (whole, back_up, 7.0),
    "restore": (whole, restore, 7.0),
}


@pytest.fixture(scope="module")
def disk() -> Iterator[Faults]:
    with faulty_disk() as faults:
        yield faults


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_call_fails_once(
    made: Path, tmp_path: Path, disk: Faults, request: pytest.FixtureRequest, name: str, error: int
) -> None:
    damage, work, days = SCENARIOS[name]

    calls = 0

    def run(at: int) -> Store:
        nonlocal calls
        data = tmp_path / str(at)
        shutil.copytree(made, data)
        damage(data)
        store = Store(data, days)
        disk.arm(at, error)
        work(store)
        failed, calls = disk.failed, disk.calls
        disk.arm(0, 0)
        assert bool(failed) == bool(at), f"call {at} was never made"
        check(store, f"{name}, {failed} {at}")
        shutil.rmtree(data)
        return store

    run(0)
    count = calls
    assert count > 5
    full = request.config.getoption("--full")
    raised = 0
    numbers = range(1, count + 1, 1 if full else max(1, count // 8))
    for at in numbers:
        raised += bool(run(at).errors)
    assert raised > len(numbers) / 2  # what SQLite does again by itself, such as a checkpoint, is no error


def check(store: Store, what: str) -> None:
    """Everything that was committed is there, once, in points and in cells, and the files are sound."""
    store.do(store.mend)
    store.end()
    with closing(open_reader(store.data)) as reader:
        assert [problem for problem in reader.problems() if "made again" not in problem] == [], what
        series = {(one.device, one.channel): one.id for one in reader.series()}
        edges = [START + hour * 3600 for hour in range(24 * 10)]
        for device in (*DEVICES, "new"):
            numbers = range(HOT if device == "new" else 0, store.written)
            if not numbers:
                continue
            power = reader.raw(series[device, "power"], 0, 1e11, limit=10**6)
            mode = reader.raw(series[device, "mode"], 0, 1e11, limit=10**6)
            assert power.times == [pytest.approx(START + n * DAY / PER_DAY, abs=0.0005) for n in numbers], what
            assert power.values == [value(device, n) for n in numbers], what
            assert mode.values == [f"{device} {n % 7}" for n in numbers], what
            columns = reader.aggregate(series[device, "power"], edges, ["n", "sum"])
            counts, sums = ([float(one) for one in column if one is not None] for column in columns.values())
            assert (sum(counts), sum(sums)) == (len(numbers), sum(value(device, n) for n in numbers)), what
        assert len(reader.since(0, 10**6)) >= len(DEVICES) * HOT
    with suppress(FileNotFoundError):
        shutil.rmtree(store.data / "backup")
