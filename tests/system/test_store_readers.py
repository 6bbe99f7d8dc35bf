import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliograph.messages import Block
from heliograph.store import history, open_reader, open_writer
from heliograph.store.interface import Keep, Reader
from tests.system.store_ledger import days
from tests.system.store_line import START, STEP, Marks, word
from tests.system.store_writer import HOURS as HOURS_OF_BLOCK

ROOT = Path(__file__).parents[2]
LEVEL = "pi2/tank/level"
COUNT = 18_000  # readings: six days, New Year among them, and the closing of December
END = START + COUNT * STEP
HOURS = [START + hour * 3600 for hour in range(int((END - START) // 3600) + 2)]
DAYS = [START + day * 86_400 for day in range(int((END - START) // 86_400) + 2)]


class Looking:
    """Readers in tight loops beside a writer; each counts what it saw."""

    def __init__(self, data: Path, marks: Marks, over: threading.Event) -> None:
        self._data = data
        self._marks = marks
        self._over = over

    def loop(self, seed: int) -> int:
        """Ask everything in any order, with readers that come and go, until the writer is done; return how often."""
        chance = random.Random(seed)
        questions: list[Callable[[Reader, dict[str, int]], int]] = [
            self._all_points,
            self._all_words,
            lambda reader, ids: self._sums(reader, ids, HOURS),
            lambda reader, ids: self._sums(reader, ids, DAYS),
            self._newest,
            self._deltas,
        ]
        asked = last = 0
        while not self._over.is_set():
            with closing(open_reader(self._data)) as reader:
                for _ in range(chance.randint(1, 100)):
                    asked += 1
                    last = self._ask(chance.choice(questions), reader, last)
        with closing(open_reader(self._data)) as reader:
            for question in questions:
                assert self._ask(question, reader, last) == COUNT
        return asked

    def _ask(self, question: Callable[[Reader, dict[str, int]], int], reader: Reader, last: int) -> int:
        """What is seen is everything up to some reading, and never less than was committed or seen before."""
        before = self._marks.committed()
        ids = {series.channel: series.id for series in reader.series() if series.device == "line"}
        seen = question(reader, ids) if before else last
        assert max(last, before) <= seen <= self._marks.trying()
        return seen

    def _all_points(self, reader: Reader, ids: dict[str, int]) -> int:
        page = reader.raw(ids["value"], 0, END, limit=10**6)
        assert page.values == list(range(len(page.values)))
        assert page.times == [START + number * STEP for number in range(len(page.times))]
        return len(page.values)

    def _all_words(self, reader: Reader, ids: dict[str, int]) -> int:
        texts = reader.raw(ids["word"], 0, END, limit=10**6).values
        assert texts == [word(number) for number in range(len(texts))]
        return len(texts)

    def _sums(self, reader: Reader, ids: dict[str, int], edges: list[float]) -> int:
        columns = reader.aggregate(ids["value"], edges, ["n", "sum", "first", "last"])
        count = sum(int(value or 0) for value in columns["n"])
        assert sum(float(value or 0) for value in columns["sum"]) == count * (count - 1) / 2
        assert max(float(value or 0) for value in columns["last"]) == count - 1
        return count

    def _deltas(self, reader: Reader, ids: dict[str, int]) -> int:
        columns = reader.aggregate(ids["again"], HOURS, ["delta"])
        return round(sum(float(value or 0) for value in columns["delta"])) + 1

    def _newest(self, reader: Reader, ids: dict[str, int]) -> int:
        point = reader.latest([ids["value"]])[ids["value"]]
        assert point.time == START + float(point.value) * STEP
        return int(point.value) + 1

    def follow(self, seed: int) -> int:
        """Follow all arrivals with one reader; return how many pages there were."""
        chance = random.Random(seed)
        cursor = number = pages = new = 0
        with closing(open_reader(self._data)) as reader:
            while number < COUNT:
                assert not self._over.is_set() or self._marks.committed() == COUNT
                page = reader.since(cursor, chance.choice([1, 10, 1000])) if self._marks.committed() else []
                pages += bool(page)
                for arrival in page:
                    assert arrival.cursor > cursor
                    cursor = arrival.cursor
                    if arrival.device == "line":
                        assert arrival.time == START + number * STEP
                        assert arrival.values == {"value": number, "again": number, "word": word(number)}
                        number += 1
                    else:
                        assert list(arrival.values) == ["value"]
                        new += 1
            assert new + len(reader.since(cursor, 10)) == COUNT // 1000
        return pages


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Callable[[str], tuple[Path, Marks, subprocess.Popen[bytes]]]]:
    started: list[tuple[subprocess.Popen[bytes], Marks]] = []

    def start(name: str) -> tuple[Path, Marks, subprocess.Popen[bytes]]:
        data, path = tmp_path / name, tmp_path / f"{name}.marks"
        marks = Marks(path, new=True)
        command = [sys.executable, "-m", "tests.system.store_line", str(data), str(path), str(COUNT)]
        process = subprocess.Popen(command, cwd=ROOT)
        started.append((process, marks))
        return data, marks, process

    yield start
    for process, marks in started:
        process.kill()
        process.wait()
        marks.close()


@pytest.mark.timeout(1800)
def test_readers_in_tight_loops_never_see_a_gap_or_a_step_back(
    request: pytest.FixtureRequest,
    line: Callable[[str], tuple[Path, Marks, subprocess.Popen[bytes]]],
    eventually: Callable[..., object],
) -> None:
    wanted = 5000 if request.config.getoption("--full") else 1
    seed = random.randrange(1 << 32)
    sys.stderr.write(f"seed {seed}\n")
    asked = followed = rounds = 0
    while asked < wanted:
        data, marks, process = line(f"line{rounds}")
        rounds += 1
        over = threading.Event()
        looking = Looking(data, marks, over)
        eventually(lambda now=marks: now.committed())
        with ThreadPoolExecutor() as pool:
            loops = [pool.submit(looking.loop, seed + rounds * 10 + number) for number in range(2)]
            follower = pool.submit(looking.follow, seed + rounds)
            try:
                assert process.wait(timeout=600) == 0
            finally:
                over.set()
            asked += sum(loop.result() for loop in loops)
            followed += follower.result()
    sys.stderr.write(f"{asked} snapshots and {followed} pages of arrivals in {rounds} rounds\n")


def seen_of_first_days(data: Path, over: threading.Event) -> tuple[list[int], list[int]]:
    """Count the points of the first week again and again, by day and one by one; return what changed on the way."""
    edges = days(0)
    by_day, one_by_one = [0], [0]
    with closing(open_reader(data)) as reader:
        ids = {series.name: series.id for series in reader.series()}
        while True:
            last_time = over.is_set()
            columns = reader.aggregate(ids[LEVEL], edges, ["n"])
            page = reader.raw(ids[LEVEL], edges[0], edges[-1], limit=10**6)
            for column, count in (
                (by_day, sum(int(value or 0) for value in columns["n"])),
                (one_by_one, len(page.times)),
            ):
                if column[-1] != count:
                    column.append(count)
            if last_time:
                assert reader.problems() == []
                return by_day, one_by_one


@pytest.mark.timeout(600)
def test_readers_do_not_notice_when_points_become_cells_and_cells_are_deleted(
    tmp_path: Path,
) -> None:
    options = {"data": str(tmp_path), "seed": 1, "last": 0, "until": 8 * HOURS_OF_BLOCK, "flush": False, "die": None}
    over = threading.Event()
    command = [sys.executable, "-m", "tests.system.store_writer", json.dumps(options)]
    with ThreadPoolExecutor() as pool, subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            looking = pool.submit(seen_of_first_days, tmp_path, over)
            process.communicate()
        finally:
            process.kill()
            over.set()
        for column in looking.result():
            assert column[:-1] == sorted(column)[1:], column  # more and more, and then nothing
            # every day one half a year later, and one more than a year later
            assert column[-2:] == [HOURS_OF_BLOCK * 12 + HOURS_OF_BLOCK // 24 + 1, 0]
    assert process.returncode == 0


def meanwhile(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Let something happen once when a reader has read hot.db, and knows which years there are, but has opened none."""
    files = history.files
    waiting = [do]

    def seen(folder: Path) -> dict[int, Path]:
        paths = files(folder)
        if waiting:
            waiting.pop()()
        return paths

    monkeypatch.setattr(history, "files", seen)


def test_what_is_sealed_in_the_middle_of_a_question_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_writer(tmp_path, lambda: False)) as writer, closing(open_reader(tmp_path)) as reader:

        def write(first: int, last: int) -> None:
            writer.write("pi1", [Block("line", ("word",), [[START + n, f"word {n}"] for n in range(first, last)])])
            writer.commit({})
            writer.settle()

        write(0, 10)
        ids = [series.id for series in reader.series()]
        meanwhile(monkeypatch, lambda: write(10, 20))
        assert reader.raw(ids[0], 0, END, limit=100).values == [f"word {n}" for n in range(20)]
        meanwhile(monkeypatch, lambda: write(20, 30))
        assert reader.latest(ids)[ids[0]].value == "word 29"
        meanwhile(monkeypatch, lambda: write(30, 40))
        seen = reader.since(0, 100)
        assert [arrival.values["word"] for arrival in seen] == [f"word {n}" for n in range(30)]
        rest = reader.since(seen[-1].cursor, 100)
        assert [arrival.values["word"] for arrival in rest] == [f"word {n}" for n in range(30, 40)]


def noise(n: int) -> float:
    """A value that takes as much room as one of a sensor."""
    return n * 104_729 % 100_003 / 7


def test_a_year_that_becomes_cells_in_the_middle_of_a_question_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = START + 800 * 86_400

    def thin() -> None:
        while writer.maintain():
            pass

    keep = Keep(raw_years=1)
    with closing(open_writer(tmp_path, lambda: False, keep=keep, now=lambda: now)) as writer:
        writer.write("pi1", [Block("line", ("value",), [[START + n * 10, noise(n)] for n in range(3000)])])
        writer.write("pi1", [Block("line", ("value",), [[START + 800 * 86_400, 0], [START + 86_400, 0]])])
        writer.commit({})
        writer.settle()
        with closing(open_reader(tmp_path)) as reader:
            (sid,) = (series.id for series in reader.series())
            meanwhile(monkeypatch, thin)
            assert reader.aggregate(sid, [START, START + 86_400], ["n"])["n"] == [3000]
            assert reader.raw(sid, START, START + 86_400, limit=10).times == []
            assert reader.problems() == []


def test_what_comes_late_just_before_its_year_becomes_cells_is_counted(tmp_path: Path) -> None:
    new_year = datetime(2018, 1, 1, tzinfo=UTC).timestamp()
    now = new_year - 60

    def write(time: float) -> None:
        writer.write("pi1", [Block("line", ("value",), [[time, 1]])])
        writer.commit({})

    keep = Keep(raw_years=1)
    with closing(open_writer(tmp_path, keep=keep, now=lambda: now)) as writer:
        for n in range(3000):
            writer.write("pi1", [Block("line", ("value",), [[START + n * 10, noise(n)]])])
        write(START + 86_400)  # the newest day keeps its points
        write(new_year + 1)  # of a device whose clock is ahead
        writer.settle()
        write(START + 1)
        now = new_year + 60  # before the next sealing is due
        while writer.maintain():
            pass
        assert history.is_bare(history.files(tmp_path / "store")[2016])
        with closing(open_reader(tmp_path)) as reader:
            (sid,) = (series.id for series in reader.series())
            assert reader.aggregate(sid, [START, START + 86_400], ["n"])["n"] == [3001]
