"""Damage on a card: one block, one file. Everything else is still read, and the damage is reported."""

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from heliograph.messages import Block
from heliograph.store import folder, history, open_reader, open_writer, year_keys
from heliograph.store.damage import Damage
from heliograph.store.interface import FUNCTIONS, Progress, Reader, Writer
from heliograph.store.writer import SqliteWriter
from tests.heliograph.plain_list import DAY

START = 1_764_547_200.0  # 2025-12-01 00:00 UTC
FEBRUARY = START + 62 * DAY
DAYS = 40
EVERY = 300
TODAY = round(START // DAY)
CUTS = [START + n * DAY for n in range(DAYS + 1)]
GARBAGE = b"no block"


@pytest.fixture(scope="module")
def sealed_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty days of two channels, sealed; 2025 is closed, January is not."""
    data = tmp_path_factory.mktemp("sealed")
    writer = open_writer(data, now=lambda: START + (DAYS + 1) * DAY)
    for day in range(DAYS):
        start = START + day * DAY
        rows = [[start + n * EVERY, float(day), float(-day)] for n in range(round(DAY / EVERY))]
        assert writer.write("roof", [Block("meter", ("power", "other"), rows)]) == []
        writer.commit({})
    writer.settle()
    writer.close()
    return data


@pytest.fixture
def data(sealed_data: Path, tmp_path: Path) -> Path:
    """A copy of `sealed_data` for this test alone."""
    return shutil.copytree(sealed_data, tmp_path / "data")


@pytest.fixture
def writer(data: Path) -> Iterator[Writer]:
    opened = open_writer(data, now=lambda: START + (DAYS + 1) * DAY)
    yield opened
    opened.close()


@pytest.fixture
def reader(data: Path) -> Iterator[Reader]:
    opened = open_reader(data)
    yield opened
    opened.close()


def spoil(data: Path, year: int, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(history.file(folder(data), year))) as db:
        assert db.execute(statement, values).rowcount > 0
        db.commit()


def counts(reader: Reader, series: int = 1, seconds: float = 0.0) -> list[int]:
    """The number of points of each day; read from points, not cells, if the edges are odd."""
    numbers = reader.aggregate(series, [cut + seconds for cut in CUTS], ["n"])["n"]
    return [int(str(n)) for n in numbers]


def spoiled_chunk(data: Path, day: int) -> None:
    spoil(data, 2025, "UPDATE chunk SET v=? WHERE k=?", GARBAGE, history.key(1, TODAY + day))


WHOLE = [round(DAY / EVERY)] * DAYS


def test_a_chunk_that_cannot_be_read_is_left_out_and_reported(data: Path, writer: Writer, reader: Reader) -> None:
    spoiled_chunk(data, 5)
    points = reader.raw(1, START, START + DAYS * DAY, limit=10**6)
    assert sorted(set(points.values), key=float) == [float(day) for day in range(DAYS) if day != 5]
    assert len(reader.raw(2, START, START + DAYS * DAY, limit=10**6).values) == sum(WHOLE)
    assert [day for day, n in enumerate(counts(reader, seconds=0.001)) if n < WHOLE[0] - 1] == [5]
    assert reader.aggregate(1, [START + 6 * DAY, START + 7 * DAY], FUNCTIONS)["first"] == [6.0]
    arrivals = reader.since(0, 10**6)
    assert len(arrivals) == sum(WHOLE)
    assert {float(str(arrival.values["other"])) for arrival in arrivals if "power" not in arrival.values} == {-5.0}
    assert len(list(reader.export([1, 2], START, START + DAYS * DAY))) == 2 * sum(WHOLE) - WHOLE[0]
    assert [problem for problem in reader.problems() if f"series 1, day {TODAY + 5}" in problem]
    assert len(reader.problems()) == 1


def test_a_chunk_that_cannot_be_read_is_set_aside_when_its_day_is_written_again(
    data: Path, writer: Writer, reader: Reader
) -> None:
    spoiled_chunk(data, 5)
    counts(reader, seconds=0.001)
    assert reader.problems()
    writer.write("roof", [Block("meter", ("power", "other"), [[START + 5 * DAY + 1, 500.0, -500.0]])])
    writer.commit({})
    writer.settle()
    for seconds in (0.0, 0.001):
        assert [day for day, n in enumerate(counts(reader, seconds=seconds)) if n < 3] == [5]
    assert reader.aggregate(1, [START + 5 * DAY, START + 6 * DAY], ["n", "sum"]) == {"n": [1], "sum": [500.0]}
    assert counts(reader, 2)[5] == WHOLE[0] + 1
    assert reader.problems() == []
    with closing(sqlite3.connect(history.file(folder(data), 2025))) as db:
        assert db.execute("SELECT k, v FROM damaged").fetchall() == [(history.key(1, TODAY + 5), GARBAGE)]
    assert not list(folder(data).glob("*.damaged-*"))


def test_an_axis_that_cannot_be_read_takes_no_other_day_along(data: Path, writer: Writer, reader: Reader) -> None:
    spoil(data, 2025, "UPDATE axis SET t=? WHERE k=?", GARBAGE, history.axis_key(1, TODAY + 3))
    for series in (1, 2):
        points = reader.raw(series, START, START + DAYS * DAY, limit=10**6)
        assert len(points.values) == sum(WHOLE) - WHOLE[0]
    assert len(reader.since(0, 10**6)) == sum(WHOLE) - WHOLE[0]
    assert reader.latest([1])[1].value == float(DAYS - 1)
    assert reader.extent() == (START, START + DAYS * DAY - EVERY)
    assert reader.problems()
    writer.write("roof", [Block("meter", ("power",), [[START + 3 * DAY, 500.0]])])
    writer.commit({})
    writer.settle()
    assert reader.raw(1, START + 3 * DAY, START + 4 * DAY, limit=10).values == [500.0]
    assert not list(folder(data).glob("*.damaged-*"))


def test_the_oldest_axis_that_cannot_be_read_does_not_hide_the_extent(
    data: Path, writer: Writer, reader: Reader
) -> None:
    spoil(data, 2025, "UPDATE axis SET t=? WHERE k=?", GARBAGE, history.axis_key(1, TODAY))
    extent = reader.extent()
    assert extent is not None
    assert extent[1] == START + DAYS * DAY - EVERY


@pytest.mark.parametrize("seconds", [0.0, 300.0])
@pytest.mark.parametrize(("year", "table"), [(2025, "r1h_year"), (2026, "r1h_month"), (2026, "r1h_day")])
@pytest.mark.parametrize("garbage", ["all", "a column"])
def test_cells_that_cannot_be_read_are_computed_again_from_points(
    data: Path, reader: Reader, year: int, table: str, garbage: str, seconds: float
) -> None:
    writer = open_writer(data, now=lambda: FEBRUARY + 3 * DAY if table == "r1h_month" else START + (DAYS + 1) * DAY)
    writer.settle()
    with closing(sqlite3.connect(history.file(folder(data), year))) as db:
        rows = db.execute(f"SELECT k, b FROM {table}").fetchall()
        assert rows
        for k, blob in rows:
            bad = GARBAGE if garbage == "all" else blob[:-6] + bytes([blob[-6] ^ 255]) + blob[-5:]
            db.execute(f"UPDATE {table} SET b=? WHERE k=?", (bad, k))
        db.commit()
    cuts = [cut + seconds for cut in CUTS]
    columns = reader.aggregate(1, cuts, FUNCTIONS)
    assert columns["n"][1:-1] == WHOLE[1:-1]
    assert columns["min"][1] == 1.0
    # a write to the day computes its cells again
    day = 2 if year == 2025 else 35
    writer.write("roof", [Block("meter", ("power",), [[START + day * DAY + 1801, 500.0]])])
    writer.commit({})
    writer.settle()
    again = reader.aggregate(1, cuts, FUNCTIONS)
    assert again["n"][day] == WHOLE[0] + 1
    assert again["max"][day] == 500.0
    assert again["n"][1:day] == WHOLE[1:day]
    assert not list(folder(data).glob("*.damaged-*"))
    writer.close()


def holes(path: Path) -> None:
    """Overwrite all of a file but its first page."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(4096)
        file.write(b"\x5a" * (size - 4096))


@pytest.mark.parametrize("how", ["holes", "cut", "garbage", "empty"])
@pytest.mark.parametrize("year", [2025, 2026])
def test_a_year_that_cannot_be_read_does_not_stop_the_rest(data: Path, year: int, how: str) -> None:
    path = history.file(folder(data), year)
    if how == "holes":
        holes(path)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:9000])
    else:
        path.write_bytes(b"" if how == "empty" else GARBAGE * 2000)
    kept_days = range(31, DAYS) if year == 2025 else range(31)
    reader = open_reader(data)
    kept = [float(day) for day in kept_days for _ in range(WHOLE[0])]
    assert reader.raw(1, START, START + DAYS * DAY, limit=10**6).values == kept
    for seconds in (0.0, 0.001):
        per_day = counts(reader, seconds=seconds)
        assert sum(per_day) >= len(kept) - 1
        assert all(per_day[day] >= WHOLE[0] - 1 for day in kept_days)
    assert reader.latest([1])[1].value == float(kept_days[-1])
    assert len(reader.since(0, 10**6)) == len(kept)
    assert len(list(reader.export([1], START, START + DAYS * DAY))) == len(kept)
    assert reader.extent() == (START + kept_days[0] * DAY, START + (kept_days[-1] + 1) * DAY - EVERY)
    assert reader.version(START, START + DAYS * DAY)
    assert [problem for problem in reader.problems() if path.name in problem]
    # the writer continues as well
    writer = open_writer(data, now=lambda: FEBRUARY)
    late = [[START + 30 * DAY + 1, 100.0, 1.0], [START + 32 * DAY + 1, 200.0, 1.0], [FEBRUARY - 5, 300.0, 1.0]]
    writer.write("roof", [Block("meter", ("power", "other"), late)])
    writer.commit({})
    writer.settle()
    while writer.maintain():
        pass
    values = reader.raw(1, START, FEBRUARY, limit=10**6).values
    assert [value for value in values if float(str(value)) >= 100] == [100.0, 200.0, 300.0]
    assert {float(day) for day in kept_days} <= set(values)
    reader.close()
    writer.close()


def test_a_year_that_cannot_be_read_stops_no_closing_of_others(data: Path) -> None:
    path = history.file(folder(data), 2025)
    path.write_bytes(GARBAGE * 2000)
    writer = open_writer(data, now=lambda: FEBRUARY + 3 * DAY)
    while writer.maintain():
        pass
    with closing(sqlite3.connect(history.file(folder(data), 2026))) as db:
        assert db.execute("SELECT count(*) FROM r1h_month").fetchone()[0] == 2
        assert db.execute("SELECT count(*) FROM r1h_day").fetchone()[0] == 0
    writer.close()


def test_a_reading_that_damage_has_changed_is_set_aside_and_never_sealed(
    data: Path, writer: Writer, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    today = START + DAYS * DAY
    for n in range(9):
        writer.write("roof", [Block("meter", ("power", "other"), [[today + n, float(n), -float(n)]])])
    writer.commit({})
    with closing(sqlite3.connect(folder(data) / "hot.db")) as db:
        newest = db.execute("SELECT max(seq) FROM frame").fetchone()[0]
        assert db.execute("SELECT count(*) FROM frame").fetchone()[0] == 9
        db.execute("UPDATE frame SET v = zeroblob(16) WHERE seq = ?", (newest - 6,))
        db.execute("UPDATE frame SET ts = ts + 1 WHERE seq = ?", (newest - 3,))
        db.execute("UPDATE frame SET v = CAST(x'ff' AS TEXT) WHERE seq = ?", (newest - 1,))
        db.execute("UPDATE frame SET crc = CAST(x'ff' AS TEXT) WHERE seq = ?", (newest - 5,))
        db.commit()
    good = [float(n) for n in range(9) if n not in (2, 3, 5, 7)]
    for _ in range(2):
        assert reader.raw(1, today, today + DAY, limit=99).values == good
    assert reader.damaged([1], today, today + DAY) == reader.problems()
    assert [problem for problem in reader.problems() if problem.startswith("hot.db: 4 readings cannot be read")]
    assert reader.damaged([1], START, START + DAY) == []
    writer.settle()
    assert reader.raw(1, today, today + DAY, limit=99).values == good
    assert [problem for problem in writer.problems() if problem.startswith("hot.db was damaged: 4 readings")]
    with closing(sqlite3.connect(folder(data) / "hot.db")) as db:
        assert db.execute("SELECT seq FROM damaged ORDER BY seq").fetchall() == [(newest - n,) for n in (6, 5, 3, 1)]
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len([line for line in lines if "4 readings cannot be read" in line]) == 1  # the reader's
    assert len([line for line in lines if line.startswith("hot.db was damaged")]) == 1  # storage's
    assert not [problem for problem in reader.problems() if "cannot be read" in problem]


def test_a_reading_that_damage_hides_is_missed(data: Path, writer: Writer, reader: Reader) -> None:
    today = START + DAYS * DAY
    for n in range(9):
        writer.write("roof", [Block("meter", ("power",), [[today + n, float(n)]])])
    writer.commit({})
    with closing(sqlite3.connect(folder(data) / "hot.db")) as db:
        newest = db.execute("SELECT max(seq) FROM frame").fetchone()[0]
        db.execute("DELETE FROM frame WHERE seq IN (?, ?)", (newest - 8, newest - 4))
        db.commit()
    assert len(reader.raw(1, today, today + DAY, limit=99).values) == 7
    assert [problem for problem in reader.problems() if problem.startswith("hot.db: 2 readings cannot be read")]


def test_readers_that_share_their_damage_report_the_same_once(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for day in (3, 5, 7):
        spoiled_chunk(data, day)
    damage = Damage()
    with closing(open_reader(data, damage=damage)) as one, closing(open_reader(data, damage=damage)) as other:
        for _ in range(3):
            one.raw(1, START, START + DAYS * DAY, limit=10**6)
        other.raw(2, START, START + DAYS * DAY, limit=10**6)
        (problem,) = other.problems()
        assert problem == one.problems()[0]
        assert problem.startswith(f"history-2025.db: series 1, day {TODAY + 3}: ")
        assert "(and 2 more parts)" in problem
        assert "heliograph store salvage" in problem
        assert other.damaged([1], START + 4 * DAY, START + 5.5 * DAY)
        assert not other.damaged([1], START + 5.9 * DAY + DAY, START + 6.9 * DAY - DAY)
        assert not other.damaged([2], START, START + DAYS * DAY)
        assert len([line for line in caplog.messages if line.startswith("history-2025.db: ")]) == 1
        with closing(SqliteWriter(folder(data), lambda: True, now=lambda: START + (DAYS + 1) * DAY)) as writer:
            writer.mend()
        for reader in (one, other):
            reader.raw(1, START, START + DAYS * DAY, limit=10**6)
        assert not damage.problems()
        assert len([line for line in caplog.messages if line == "history-2025.db can be read again"]) == 1


def hidden(path: Path, table: str, k: int) -> None:
    """Take a row out of a table and not out of the index of its keys: a damaged page hides it so.

    SQLite's quick_check passes it, until 3.41, which counts the rows of indexes.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        index = db.execute("SELECT * FROM sqlite_master WHERE name = ?", (f"keys_of_{table}",)).fetchone()
        db.execute("PRAGMA writable_schema = ON")
        db.execute("DELETE FROM sqlite_master WHERE name = ?", (f"keys_of_{table}",))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute(f"DELETE FROM {table} WHERE k = ?", (k,)).rowcount == 1
        db.execute("PRAGMA writable_schema = ON")
        db.execute("INSERT INTO sqlite_master VALUES(?, ?, ?, ?, ?)", index)


@pytest.mark.parametrize("year", [2025, 2026])
def test_a_day_that_a_damaged_page_hides_is_missed_by_readers_and_reported_by_the_check(
    data: Path, reader: Reader, year: int
) -> None:
    day = 5 if year == 2025 else 35
    hidden(history.file(folder(data), year), "chunk", history.key(1, TODAY + day))
    points = reader.raw(1, START, START + DAYS * DAY, limit=10**6)
    assert sorted(set(points.values), key=float) == [float(n) for n in range(DAYS) if n != day]
    assert [problem for problem in reader.problems() if f"series 1, day {TODAY + day} is missing" in problem]
    assert reader.damaged([1], START + day * DAY, START + (day + 1) * DAY)
    assert counts(reader) == WHOLE  # their cells are whole
    with closing(SqliteWriter(folder(data), lambda: True, now=lambda: START + (DAYS + 1) * DAY)) as writer:
        writer.mend()
        assert [problem for problem in writer.problems() if problem.startswith(f"history-{year}.db was damaged")]
    assert len(reader.raw(1, START, START + DAYS * DAY, limit=10**6).values) == sum(WHOLE) - WHOLE[0]
    assert not reader.damaged([1], START, START + DAYS * DAY)


def test_nothing_is_closed_or_packed_over_a_day_that_a_damaged_page_hides(data: Path) -> None:
    hidden(history.file(folder(data), 2026), "chunk", history.key(1, TODAY + 35))
    with closing(SqliteWriter(folder(data), lambda: True, now=lambda: START + 500 * DAY)) as writer:
        writer.settle()
        assert [problem for problem in writer.problems() if problem.startswith("history-2026.db was damaged")]


def test_a_year_of_an_older_version_gets_its_indexes_when_it_was_checked(data: Path, reader: Reader) -> None:
    path = history.file(folder(data), 2025)
    with closing(sqlite3.connect(path)) as db:
        for table in year_keys.TABLES:
            db.execute(f"DROP INDEX keys_of_{table}")
    before = reader.raw(1, START, START + DAYS * DAY, limit=10**6)
    assert (counts(reader), reader.problems()) == (WHOLE, [])
    with closing(SqliteWriter(folder(data), lambda: True, now=lambda: START + (DAYS + 1) * DAY)) as writer:
        writer.mend()
        assert writer.problems() == []
    with closing(sqlite3.connect(path)) as db:
        assert all(map(year_keys.Keys(db).has, year_keys.TABLES))
    assert reader.raw(1, START, START + DAYS * DAY, limit=10**6) == before


@pytest.mark.parametrize("name", ["hot.db", "hot.db-wal", "catalog.db", "."])
def test_files_that_are_removed_while_they_are_written_confirm_nothing_until_they_are_back(
    data: Path, tmp_path: Path, name: str
) -> None:
    """Commits went into the deleted file for fifteen minutes, and the outboxes were emptied."""
    store = data / "store"
    away = tmp_path / "away"
    begun = START + 40.5 * DAY

    def reading(second: int) -> list[Block]:
        return [Block("meter", ("power",), [[begun + second, float(second)]])]

    with closing(open_writer(data, now=lambda: START + (DAYS + 1) * DAY)) as writer:
        writer.write("roof", reading(1))
        writer.commit({("roof", "a"): Progress(1, 0)})
        (store / name).rename(away)
        writer.write("roof", reading(2))
        for _ in range(2):
            with pytest.raises(OSError, match="was removed, moved or replaced"):
                writer.commit({("roof", "a"): Progress(2, 0)})
            assert writer.progress() == {("roof", "a"): Progress(1, 0)}
            assert writer.pending == 1
        if name == ".":
            store.mkdir()
            (store / "hot.db").write_bytes(b"another")
            with pytest.raises(OSError, match="was removed, moved or replaced"):
                writer.commit({("roof", "a"): Progress(2, 0)})
            shutil.rmtree(store)
        away.rename(store / name)
        writer.write("roof", reading(3))
        writer.commit({("roof", "a"): Progress(3, 0)})
    with closing(open_reader(data)) as reader:
        series = {one.name: one.id for one in reader.series()}["roof/meter/power"]
        assert reader.raw(series, begun, begun + 9, limit=9).values == [1.0, 2.0, 3.0]
