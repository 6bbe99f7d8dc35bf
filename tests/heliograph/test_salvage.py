"""What is read of damaged files: everything that is in whole pages, each reading once."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from heliograph.messages import Block
from heliograph.store import copied_names, damaged_files, damaged_hot, folder, history, open_reader, pages, schema
from heliograph.store.writer import SqliteWriter

DAY = 86_400.0
START = 1_735_689_600.0  # 2025-01-01
SEALED, HOT = 30_000, 1_200
PAGE = {"hot.db": schema.HOT_PAGE, "history-2025.db": history.PAGE}


def write(writer: SqliteWriter, first: int, last: int) -> None:
    rows = [[START + n * 600, float(n), n % 97] for n in range(first, last)]
    assert writer.write("roof", [Block("meter", ("power", "other"), rows)]) == []
    writer.commit({})


def opened(data: Path) -> SqliteWriter:
    return SqliteWriter(folder(data), lambda: True, now=lambda: START + 300 * DAY)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 days in a year, and 1,200 readings in hot.db."""
    data = tmp_path_factory.mktemp("made")
    with closing(opened(data)) as writer:
        write(writer, 0, SEALED)
        writer.settle()
        write(writer, SEALED, SEALED + HOT)
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "data")


def values(data: Path) -> set[tuple[float, float]]:
    with closing(open_reader(data)) as reader:
        (sid,) = [one.id for one in reader.series() if one.channel == "power"]
        page = reader.raw(sid, 0, 1e11, limit=10**6)
        return {(time, float(value)) for time, value in zip(page.times, page.values, strict=True)}


def cut_by_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size - PAGE[path.name])


def cut_by_4_kib(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def cut_to_three_quarters(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 3 // 4)


def cut_within_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 700)


def without_its_first_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(PAGE[path.name]))


@pytest.mark.parametrize(
    "damage", [cut_by_a_page, cut_by_4_kib, cut_within_a_page, cut_to_three_quarters, without_its_first_page]
)
@pytest.mark.parametrize("name", PAGE)
def test_of_a_cut_or_headless_file_everything_comes_back_that_is_in_whole_pages(
    data: Path, name: str, damage: Callable[[Path], None]
) -> None:
    before = values(data)
    path = folder(data) / name
    with closing(sqlite3.connect(path)) as db:
        db.execute("VACUUM")  # hot.db has free pages at its end
    there = {row[0] for row in pages.rows(path, PAGE[name]) if len(row[1]) == 5}
    damage(path)
    left = {row[0] for row in pages.rows(path, PAGE[name]) if len(row[1]) == 5}
    with closing(opened(data)) as writer:
        writer.mend()
        after = values(data)
        lost = len(there) - len(left)
        assert after <= before
        assert len(before - after) <= lost * (1 if name == "hot.db" else 144)  # a chunk, or times, of a day
        if damage is without_its_first_page:
            assert after == before
        if before - after:
            assert [problem for problem in writer.problems() if "lost" in problem]
        write(writer, SEALED + HOT, SEALED + HOT + 10)
        writer.mend()
    assert len(values(data)) == len(after) + 10


def aside(data: Path, name: str) -> Path:
    return schema.move_aside(folder(data) / name)


def test_1200_readings_come_in_batches_of_at_most_500_each_once(data: Path) -> None:
    """Case M12: the first 500 came twice with a mutant, and the rest in one batch of any size."""
    frames = damaged_hot.frames(aside(data, "hot.db"), lambda _: 0)
    batches = list(damaged_hot.batches(frames))
    assert [len(batch) for batch in batches] == [500, 500, 200]
    assert [frame for batch in batches for frame in batch] == [frames[number] for number in sorted(frames)]
    assert [time for batch in batches for _, time, _ in batch] == [
        round((START + n * 600) * 1000) for n in range(SEALED, SEALED + HOT)
    ]


class OneBadPart:
    """A connection that reads no row with a key from `first` to `last`, as of a bad page of a table with the keys 0 … 99."""

    def __init__(self, db: sqlite3.Connection, first: int, last: int) -> None:
        self._db = db
        self._db.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, v INT)")
        self._db.executemany("INSERT INTO t VALUES(?, ?)", [(k, k * k) for k in range(100)])
        self._bad = range(first, last + 1)

    def execute(self, query: str, parameters: tuple[int, ...]) -> sqlite3.Cursor:
        keys = [k for (k,) in self._db.execute(query.replace("k, v", "k"), parameters)]
        if any(k in self._bad for k in keys):
            raise sqlite3.DatabaseError("database disk image is malformed")
        return self._db.execute(query, parameters)


@pytest.mark.parametrize("first", [0, 1, 40, 41])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 31, 32])
def test_whichever_key_is_the_first_that_can_be_read_again_it_is_read(first: int, size: int) -> None:
    """Case M12: `middle + 2` in the search skipped a readable row."""
    with closing(sqlite3.connect(":memory:")) as db:
        rows = copied_names.Rows(cast(sqlite3.Connection, OneBadPart(db, first, first + size - 1)), "t", "v", "k")
        assert list(rows) == [(k, k * k) for k in range(100) if not first <= k < first + size]
        assert not rows.whole


def test_of_pages_that_are_not_used_any_more_only_what_the_years_lack_is_read(data: Path) -> None:
    without_its_first_page(folder(data) / "hot.db")
    path = aside(data, "hot.db")
    asked: list[int] = []

    def sealed(newest: int) -> int:
        asked.append(newest)
        return newest - 100

    newest = max(damaged_hot.frames(path, lambda _: 0))
    assert sorted(damaged_hot.frames(path, sealed)) == list(range(newest - 99, newest + 1))
    assert asked == [newest]


def test_numbers_of_arrival_that_are_missing_are_counted_but_for_jumps() -> None:
    frame = (1, 0, b"")
    assert damaged_hot.gaps(dict.fromkeys([9, 3, 4, 7], frame)) == 3
    assert damaged_hot.gaps(dict.fromkeys([3, 4, 5 + damaged_hot.JUMP, 7 + damaged_hot.JUMP], frame)) == 1
    assert damaged_hot.gaps({}) == 0


@pytest.mark.parametrize(
    ("name", "kind", "year", "is_bare"),
    [
        ("hot.db", "hot", None, False),
        ("catalog.db", "catalog", None, False),
        ("history-2025.db", "history", 2025, False),
        ("history-2025-tiers.db", "history", 2025, True),
    ],
)
def test_a_file_that_was_moved_aside_is_known_by_its_name_until_it_is_salvaged(
    tmp_path: Path, name: str, kind: str, year: int | None, is_bare: bool
) -> None:
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"{name}{suffix}").write_bytes(suffix.encode())
    path = schema.move_aside(tmp_path / name)
    (tmp_path / f"{name}.damaged-copy").write_bytes(b"")  # of a person
    assert damaged_files.damaged(tmp_path) == [path]
    assert (damaged_files.kind(path), damaged_files.year_of(path), damaged_files.is_bare(path)) == (kind, year, is_bare)
    done = damaged_files.done(path)
    assert damaged_files.damaged(tmp_path) == []
    assert [done.with_name(done.name + suffix).read_bytes() for suffix in ("", "-wal", "-shm")] == [
        b"",
        b"-wal",
        b"-shm",
    ]
    assert done.name == path.name.replace("damaged", "salvaged")
