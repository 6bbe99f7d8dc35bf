"""Every call of the disk fails once: no value is wrong, none is there twice, the error is raised, and work continues."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from heliograph import conversion
from heliograph.errors import StoreDamaged
from heliograph.messages import Block, Channel, Info
from heliograph.renames import Rename
from heliograph.store import folder, hot, open_reader, schema, whole_store
from heliograph.store.interface import Progress
from heliograph.store.rescalings import Rescaling
from heliograph.store.writer import SqliteWriter
from services.storage.maintenance import backup
from services.storage.maintenance.restore import restore as restore_backup
from tests.system.io_faults import Faults, folder_in_memory, numbers

DAY = 86_400.0
START = 1_672_358_400.0  # 2022-12-30 00:00 UTC
DEVICES = ("meter", "tank")
PER_DAY = 240  # so few that have cells
SEALED, HOT = 3 * PER_DAY, 4 * PER_DAY  # readings of a device; 2022 ends within the sealed ones
NEW = 30
ATTEMPTS = 20
SHORT = 8  # calls of each operation that fail in the short form
ROOM = 16_384  # bytes of the journal that hot.db makes in advance: its thousand pages are all the same
MILLIWATTS = conversion.between("W", "mW")  # sums of whole numbers are exact
Expected = dict[str, dict[int, tuple[float, str]]]


class Store:
    """A store in a folder, written by a process that begins again when it has to end, and what it must have."""

    def __init__(self, data: Path, days: float) -> None:
        self.data = data
        self.errors: list[Exception] = []
        self.expected: Expected = {device: {n: values(device, n) for n in range(HOT)} for device in DEVICES}
        self._written = HOT
        self._days = days
        self._writer: SqliteWriter | None = None

    def copied(self, data: Path) -> "Store":
        """Return this store, whose process has ended, in another folder."""
        shutil.copytree(self.data, data)
        store = Store(data, self._days)
        store.expected, store._written = dict(self.expected), self._written
        return store

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

    def commit(self, *devices: str) -> None:
        """Write and commit some readings of devices; one of them is new."""
        devices = devices or (*DEVICES, "new")
        count = self._written + NEW
        if self.writer.pending == 0 and self.writer.progress()["roof/bridge", "epoch"].last < count:
            for device in devices:
                declare(self.writer, device)
                self.writer.write("roof", [block(device, self._written, count)])
        self.writer.commit({("roof/bridge", "epoch"): Progress(count, 0)})
        for device in devices:
            some = {n: values(device, n) for n in range(self._written, count)}
            self.expected[device] = {**self.expected.get(device, {}), **some}
        self._written = count

    def care(self) -> None:
        for _ in range(1000):
            if not self.writer.maintain():
                return
        raise AssertionError("there is always more to do")

    def mend(self) -> None:
        self.writer.mend()

    def delete(self) -> None:
        """Delete two days of a device, at the turn of the year, and what it has in hot.db."""
        with closing(open_reader(self.data)) as reader:
            mine = [one.id for one in reader.series() if one.device == "tank"]
        for first, last in ((PER_DAY, PER_DAY * 5 // 2), (SEALED, self._written)):
            self.writer.delete(mine, START + first * DAY / PER_DAY - 1, START + last * DAY / PER_DAY - 1)
            self.expected["tank"] = {n: one for n, one in self.expected["tank"].items() if not first <= n < last}

    def rename(self, old: str, new: str) -> None:
        self.end()
        whole_store.rename(folder(self.data), Rename(f"roof/{old}", f"roof/{new}"))
        self.expected[new] = {**self.expected.pop(old), **self.expected.get(new, {})}

    def rescale(self) -> None:
        self.end()
        with closing(open_reader(self.data)) as reader:
            power = next(one.id for one in reader.series() if one.name == "roof/meter/power")
        whole_store.rescale(folder(self.data), Rescaling(power, "mW", MILLIWATTS), 0)
        if self.expected["meter"][0] == values("meter", 0):
            self.expected["meter"] = {
                n: (MILLIWATTS.of(one), mode) for n, (one, mode) in self.expected["meter"].items()
            }

    def back_up(self) -> None:
        self.end()
        backup.back_up(folder(self.data), self.data / "backup", lambda _: None)

    def restore(self) -> None:
        restore_backup(self.data / "backup", folder(self.data), lambda _: None, force=True)


def declare(writer: SqliteWriter, device: str) -> None:
    writer.declare("roof", device, Info("", {"power": Channel("W"), "mode": Channel("", "text")}))


def block(device: str, first: int, last: int) -> Block:
    rows = [[START + n * DAY / PER_DAY, *values(device, n)] for n in range(first, last)]
    return Block(device, ("power", "mode"), rows)


def values(device: str, number: int) -> tuple[float, str]:
    return (len(device) * 1_000_000 + number) / 8, f"{device} {number % 7}"


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    with folder_in_memory() as path:
        yield path


@pytest.fixture(scope="module", autouse=True)
def room() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hot, "ROOM", ROOM)
        yield


@pytest.fixture(scope="module")
def made(memory: Path, room: None) -> Path:
    data = memory / "made"
    with closing(SqliteWriter(folder(data), lambda: True, now=lambda: START + 3.5 * DAY)) as writer:
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
    store.do(store.care)


def salvage(store: Store) -> None:
    store.do(store.open)
    store.do(store.mend)


def delete(store: Store) -> None:
    store.do(store.delete)


def rename(store: Store) -> None:
    store.do(lambda: store.rename("tank", "cistern"))


def join(store: Store) -> None:
    store.do(lambda: store.rename("newer", "tank"))


def rescale(store: Store) -> None:
    store.do(store.rescale)


def back_up(store: Store) -> None:
    store.do(store.back_up)


def restore(store: Store) -> None:
    store.do(store.restore)


def as_it_is(store: Store) -> None:
    """Nothing is prepared."""


def headless(store: Store) -> None:
    """Without first pages everything comes back, page by page."""
    files = folder(store.data)
    for path, page in ((files / "history-2022.db", 4096), (schema.hot_file(files), 1024)):
        with path.open("r+b") as file:
            file.write(b"\x5a" * page)
    schema.catalog_file(files).unlink()


def with_hot(store: Store) -> None:
    store.commit()


def with_newer(store: Store) -> None:
    """The new name has readings already: of another time, but of the same days."""
    store.commit("newer")
    store.care()
    store.commit("tank")


SCENARIOS: dict[str, tuple[Callable[[Store], None], Callable[[Store], None], float]] = {
    "commit": (as_it_is, commit, 4.5),
    "seal": (with_hot, seal, 3.9),
    "merge": (with_hot, seal, 60.0),  # months and the year are closed, the year is packed
    "salvage": (headless, salvage, 4.5),
    "delete": (with_hot, delete, 4.5),
    "rename": (with_hot, rename, 4.5),
    "join": (with_newer, join, 4.8),
    "rescale": (with_hot, rescale, 4.5),
    "back_up": (as_it_is, back_up, 4.5),
    "restore": (back_up, restore, 4.5),
}


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_call_fails_once(
    made: Path, memory: Path, disk: Faults, request: pytest.FixtureRequest, name: str, error: int
) -> None:
    prepare, work, days = SCENARIOS[name]
    shutil.copytree(made, memory / f"{name}-{error}")
    prepared = Store(memory / f"{name}-{error}", days)
    prepare(prepared)
    prepared.end()

    calls: list[str] = []

    def run(at: int) -> Store:
        nonlocal calls
        store = prepared.copied(memory / f"{name}-{error}-{at}")
        disk.arm(at, error)
        work(store)
        failed, calls = disk.failed, disk.calls
        disk.arm(0, 0)
        assert bool(failed) == bool(at), f"call {at} was never made"
        check(store, f"{name}, {failed} {at}")
        shutil.rmtree(store.data)
        return store

    run(0)
    chosen = numbers(calls, error, 0 if request.config.getoption("--full") else SHORT)
    assert len(chosen) >= SHORT
    raised = sum(bool(run(at).errors) for at in chosen)
    assert raised > len(chosen) / 2  # what SQLite does again by itself, such as a checkpoint, is no error


def check(store: Store, what: str) -> None:
    """Everything that was committed is there, once, in points and in cells, and the files are sound."""
    store.do(store.mend)
    store.end()
    with closing(open_reader(store.data)) as reader:
        assert [problem for problem in reader.problems() if "made again" not in problem] == [], what
        series = {(one.device, one.channel): one.id for one in reader.series()}
        edges = [START + hour * 3600 for hour in range(24 * 7)]
        for device, points in store.expected.items():
            times = [round(START + n * DAY / PER_DAY, 3) for n in sorted(points)]
            power = reader.raw(series[device, "power"], 0, 1e11, limit=10**6)
            mode = reader.raw(series[device, "mode"], 0, 1e11, limit=10**6)
            assert power.times == mode.times == times, what
            assert power.values == [points[n][0] for n in sorted(points)], what
            assert mode.values == [points[n][1] for n in sorted(points)], what
            columns = reader.aggregate(series[device, "power"], edges, ["n", "sum"])
            counts, sums = ([float(one) for one in column if one is not None] for column in columns.values())
            assert (sum(counts), sum(sums)) == (len(times), sum(power for power, _ in points.values())), what
        arrived = {(one.device, one.time) for one in reader.since(0, 10**6)}
        assert arrived == {
            (device, round(START + n * DAY / PER_DAY, 3)) for device, points in store.expected.items() for n in points
        }, what
