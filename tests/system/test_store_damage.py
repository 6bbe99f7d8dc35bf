import itertools
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from heliograph.messages import Block
from heliograph.store import history, open_reader, open_writer, schema
from heliograph.store.interface import Keep, Progress, Writer
from tests.system.store_line import INFO, START, STEP, rows

LAST_YEAR = 3 * 2880  # readings of 2016
COUNT = 14_000
OTHERS = 60
MARK = {("pi1/poller", "epoch"): Progress(7, 0)}
FEBRUARY = START + 40 * 86_400
Points = dict[int, float]


@pytest.fixture
def chance() -> random.Random:
    seed = random.randrange(1 << 32)
    sys.stderr.write(f"seed {seed}\n")
    return random.Random(seed)


def opened(data: Path, now: float = FEBRUARY) -> Writer:
    return open_writer(data, lambda: False, now=lambda: now)


def write(writer: Writer, first: int, last: int) -> None:
    writer.declare("pi1", "line", INFO)
    writer.write("pi1", [Block("line", ("value", "again", "word"), rows(first, last))])
    writer.commit(MARK)


def others(device: int) -> list[list[float]]:
    """What another device measured on the last days of 2016."""
    return [[START + hour * 3600, (device * 7919 + hour * 104_729) % 100_003 / 7] for hour in range(72)]


def points(data: Path, device: str = "line") -> Points:
    """What can be read: number of a reading → value."""
    with closing(open_reader(data)) as reader:
        (sid,) = (one.id for one in reader.series() if (one.device, one.channel) == (device, "value"))
        page = reader.raw(sid, 0, 1e11, limit=10**6)
    by_number = {
        round((time - START) / STEP): float(value) for time, value in zip(page.times, page.values, strict=True)
    }
    assert len(by_number) == len(page.times)
    return by_number


def write_all(writer: Writer) -> None:
    for first in range(0, COUNT, 1000):
        write(writer, first, first + 1000)
    for device in range(OTHERS):
        writer.write("pi1", [Block(f"other{device}", ("value",), others(device))])
    writer.commit(MARK)
    writer.settle()


def newest_number(data: Path) -> int:
    with closing(open_reader(data)) as reader:
        return max(arrival.cursor for arrival in reader.since(0, 10**6))


def care(writer: Writer) -> None:
    """Do all that is due; it has an end."""
    for _ in range(10_000):
        if not writer.maintain():
            return
    raise AssertionError("there is always more to do")


def not_mended(writer: Writer) -> list[str]:
    """The problems that are not a loss of what no byte is left of."""
    return [problem for problem in writer.problems() if "lost" not in problem and "made again" not in problem]


def spoil(path: Path, offset: int, size: int, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(chance.randbytes(size))


def spoil_hot(data: Path, number: int, chance: random.Random) -> None:
    """Overwrite the page of hot.db that has the reading with a number of arrival."""
    path = data / "store" / "hot.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        (payload,) = db.execute("SELECT v FROM frame WHERE seq=?", (number,)).fetchone()
    offset = path.read_bytes().index(payload) // schema.HOT_PAGE * schema.HOT_PAGE
    spoil(path, offset, schema.HOT_PAGE, chance)


def checked(path: Path) -> str:
    """What SQLite says of a file; every file of a store is closed, so that all of it is in there."""
    try:
        with closing(sqlite3.connect(path)) as db:
            return str(db.execute("PRAGMA integrity_check").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)


def aside(data: Path, how: str) -> list[str]:
    return [path.name for path in (data / "store").glob(f"*.{how}-*") if not path.name.endswith(("-wal", "-shm"))]


def test_what_arrives_does_not_wait_for_a_damaged_hot_file_and_what_is_readable_comes_back(
    tmp_path: Path, chance: random.Random
) -> None:
    with closing(opened(tmp_path)) as writer:
        write(writer, 0, 1000)
        writer.settle()
        for first in range(1000, 3000, 100):
            write(writer, first, first + 100)
        identity = writer.identity
    before = newest_number(tmp_path)
    spoil_hot(tmp_path, before - 1000, chance)
    with closing(opened(tmp_path, START + 3000 * STEP)) as writer:
        assert len(aside(tmp_path, "damaged")) == 1
        assert len(writer.problems()) == 1
        assert writer.identity == identity
        assert writer.progress() == MARK
        write(writer, 3000, 3100)
        assert points(tmp_path) == {number: number for number in [*range(1000), *range(3000, 3100)]}
        assert newest_number(tmp_path) > before
        care(writer)
        assert not_mended(writer) == []
        stored = points(tmp_path)
        assert stored == {number: number for number in stored}
        missing = set(range(3100)) - stored.keys()
        assert 1999 in missing
        assert len(missing) < schema.HOT_PAGE / 30  # no row takes less
        assert (len(aside(tmp_path, "damaged")), len(aside(tmp_path, "salvaged"))) == (0, 1)
        write(writer, 1000, 3000)  # what a producer still has may come again
        writer.settle()
    assert points(tmp_path) == {number: number for number in range(3100)}


class Cut(BaseException):
    """The end of the process, as far as the store can tell."""


def cut_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """End everything when the store begins or has ended its n-th transaction, or renames a file."""
    whole, rename = schema.transaction, Path.rename
    left = iter(range(count - 1))

    def step() -> None:
        if next(left, None) is None:
            raise Cut

    @contextmanager
    def transaction(connection: sqlite3.Connection) -> Iterator[None]:
        step()
        with whole(connection):
            yield
        step()

    def renamed(path: Path, target: Path) -> Path:
        step()
        return rename(path, target)

    monkeypatch.setattr(schema, "transaction", transaction)
    monkeypatch.setattr(Path, "rename", renamed)


def test_salvaging_that_is_cut_short_at_any_step_begins_again(
    request: pytest.FixtureRequest, tmp_path: Path, chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled = tmp_path / "spoiled"
    with closing(opened(spoiled)) as writer:
        for first in range(0, 1500, 100):
            write(writer, first, first + 100)
        identity = writer.identity
    spoil_hot(spoiled, 500, chance)
    finished = None
    for count in itertools.count(1, 1 if request.config.getoption("--full") else 3):
        data = tmp_path / f"data{count}"
        shutil.copytree(spoiled, data)
        with monkeypatch.context() as patched, ExitStack() as stack:
            cut_at(patched, count)
            try:
                care(stack.enter_context(closing(opened(data, START + 1500 * STEP))))
                done = True
            except Cut:
                done = False
        with closing(opened(data, START + 1500 * STEP)) as writer:
            care(writer)
            assert (writer.identity, writer.progress()) == (identity, MARK), count
            assert not_mended(writer) == []
        stored = points(data)
        assert stored == {number: number for number in stored}
        assert len(stored) > 1400
        assert finished is None or stored == finished, count
        finished = stored
        shutil.rmtree(data)
        if done:
            break


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_a_hot_file_that_is_no_database_any_more_is_moved_aside(
    tmp_path: Path, chance: random.Random, size: int
) -> None:
    with closing(opened(tmp_path)) as writer:
        write(writer, 0, 1000)
        writer.settle()
        write(writer, 1000, 2000)
    before = newest_number(tmp_path)
    with closing(open_reader(tmp_path)) as reader:
        seen = reader.since(0, 10**6)
        assert [arrival.values["value"] for arrival in seen] == list(range(2000))
        spoil(tmp_path / "store" / "hot.db", 0, size, chance)
        with closing(opened(tmp_path)) as writer:
            write(writer, 2000, 2050)
            assert [arrival.values["value"] for arrival in reader.since(before, 10**6)] == list(range(2000, 2050))
    with closing(opened(tmp_path)) as writer:
        write(writer, 2050, 2100)
        assert points(tmp_path) == {number: number for number in [*range(1000), *range(2000, 2100)]}
        assert newest_number(tmp_path) > before
        care(writer)
        assert aside(tmp_path, "damaged") == []
        back = range(1000, 2000) if size == 100 else range(0)  # the header alone is no page of readings
        assert points(tmp_path) == {number: number for number in [*range(1000), *back, *range(2000, 2100)]}


def no_header(path: Path, chance: random.Random) -> None:
    spoil(path, 0, 100, chance)


def a_page_in_the_middle(path: Path, chance: random.Random) -> None:
    """One of the pages that have what some of the others measured."""
    with closing(sqlite3.connect(path)) as db:
        keys = [k for (k,) in db.execute("SELECT k FROM chunk ORDER BY k")]
        (blob,) = db.execute("SELECT v FROM chunk WHERE k=?", (keys[len(keys) // 2],)).fetchone()
    assert len(blob) < history.PAGE / 10
    spoil(path, path.read_bytes().index(blob) // history.PAGE * history.PAGE, history.PAGE, chance)


@pytest.mark.parametrize("damage", [no_header, a_page_in_the_middle])
@pytest.mark.parametrize("late", [True, False])
def test_a_damaged_year_stops_nothing_and_what_is_readable_comes_back(
    tmp_path: Path, chance: random.Random, damage: Callable[[Path, random.Random], None], *, late: bool
) -> None:
    with closing(opened(tmp_path, START + COUNT * STEP)) as writer:
        write_all(writer)
    before = newest_number(tmp_path)
    path = tmp_path / "store" / "history-2016.db"
    assert checked(path) == "ok"
    damage(path, chance)
    assert checked(path) != "ok"
    this_year = range(LAST_YEAR, COUNT)
    stored = points(tmp_path)
    assert stored == {number: number for number in stored}
    assert stored.keys() >= set(this_year)
    with closing(opened(tmp_path)) as writer:
        assert writer.progress() == MARK
        news = [2881, 2882, COUNT, COUNT + 1] if late else [COUNT, COUNT + 1]
        for number in news:
            write(writer, number, number + 1)
        stored = points(tmp_path)
        assert stored == {number: number for number in stored}
        assert stored.keys() >= {*this_year, *news}
        for _ in range(10_000):  # the weekly check finds damage in what no query touches
            writer.maintain()
            if aside(tmp_path, "salvaged"):
                break
        writer.settle()
        care(writer)
        assert not_mended(writer) == []
        assert (len(aside(tmp_path, "damaged")), len(aside(tmp_path, "salvaged"))) == (0, 1)
        stored = points(tmp_path)
        assert stored == {number: number for number in stored}
        assert stored.keys() >= {*this_year, *news}
        if damage is a_page_in_the_middle:
            assert stored.keys() >= set(range(LAST_YEAR))
            there = [points(tmp_path, f"other{device}") for device in range(OTHERS)]
            kept = [
                device for device in range(OTHERS) if list(there[device].values()) == [row[1] for row in others(device)]
            ]
            assert OTHERS * 0.7 < len(kept) < OTHERS
        assert newest_number(tmp_path) >= before
    for file in (tmp_path / "store").glob("*.db"):
        assert checked(file) == "ok"


def test_a_damaged_year_whose_points_are_deleted_keeps_the_cells_of_what_is_readable(
    tmp_path: Path, chance: random.Random
) -> None:
    later = START + 400 * 86_400  # in 2018
    with closing(opened(tmp_path, later)) as writer:
        noise = [[START + n * STEP, n * 104_729 % 100_003 / 7] for n in range(LAST_YEAR)]
        writer.write("pi1", [Block("noise", ("value",), noise)])  # whose points take more room than their cells
        write_all(writer)
    a_page_in_the_middle(tmp_path / "store" / "history-2016.db", chance)
    with closing(open_writer(tmp_path, lambda: False, keep=Keep(raw_years=1), now=lambda: later)) as writer:
        writer.write("pi1", [Block("line", ("value",), [[later, 0.5]])])
        writer.commit(MARK)
        writer.settle()
        care(writer)
        assert not_mended(writer) == []
        assert history.is_bare(history.files(tmp_path / "store")[2016])
    with closing(open_reader(tmp_path)) as reader:
        counts = {
            series.device: reader.aggregate(series.id, [START, START + 3 * 86_400], ["n"])["n"][0]
            for series in reader.series()
            if series.channel == "value"
        }
    assert counts["line"] == LAST_YEAR
    whole = [device for device, count in counts.items() if count == 72]
    assert OTHERS * 0.7 < len(whole) < OTHERS


def test_a_catalog_that_is_no_database_any_more_is_made_again(tmp_path: Path, chance: random.Random) -> None:
    with closing(opened(tmp_path)) as writer:
        write(writer, 0, 1000)
        writer.settle()
        write(writer, 1000, 2000)
    spoil(tmp_path / "store" / "catalog.db", 0, 100, chance)
    with closing(opened(tmp_path)) as writer:
        assert "catalog.db could not be read" in writer.problems()[-1]
        write(writer, 2000, 2100)
        care(writer)
        assert not_mended(writer) == []
    assert points(tmp_path) == {number: number for number in range(2100)}
    assert (len(aside(tmp_path, "damaged")), len(aside(tmp_path, "salvaged"))) == (0, 1)
