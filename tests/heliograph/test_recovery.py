"""A store whose files were lost, emptied or exchanged: no series ever gets the readings of another one."""

import logging
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import cast

import pytest

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.messages import Block, Channel, Info, Value
from heliograph.store import folder, history, open_reader, open_writer, recovery, retention_calendar, schema
from heliograph.store.interface import Keep, Writer
from heliograph.store.writer import SqliteWriter

DAY = 86_400.0
START = 1_703_980_800.0  # 2023-12-31 00:00 UTC
CHANNELS = {"power": Channel("W"), "energy": Channel("kWh", "counter"), "mode": Channel("", "text")}
Content = dict[str, list[tuple[float, Value]]]


def opened(data: Path, day: float = 3.0) -> SqliteWriter:
    return SqliteWriter(folder(data), lambda: True, now=lambda: START + day * DAY)


def write(writer: Writer, device: str, day: float, first: float = 0.0) -> None:
    """Ten readings of a device, each value its own."""
    writer.declare("roof", device, Info("", CHANNELS))
    rows = [[START + day * DAY + n * 60, first + n, 1000 + first + n, f"{device} {n % 3}"] for n in range(10)]
    assert writer.write("roof", [Block(device, tuple(CHANNELS), rows)]) == []
    writer.commit({})


def content(data: Path) -> Content:
    with closing(open_reader(data)) as reader:
        names = {one.id: one.name for one in reader.series()}
        points: Content = {}
        for time, sid, value in reader.export(list(names), 0, 1e11):
            points.setdefault(names[sid], []).append((time, value))
        return points


def care(writer: Writer) -> None:
    for _ in range(1000):
        if not writer.maintain():
            return


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2023 and 2024 sealed, the newest day in hot.db."""
    data = tmp_path_factory.mktemp("made")
    with closing(opened(data)) as writer:
        write(writer, "meter", 0, 10)
        write(writer, "tank", 0, 20)
        write(writer, "meter", 1, 30)
        writer.settle()
        write(writer, "meter", 2, 40)
        write(writer, "late", 2, 50)
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "data")


def removed(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\x5a" * path.stat().st_size)


def begun_again(path: Path) -> None:
    """What an older Heliograph made where there was none: the tables, and nothing in them."""
    path.unlink()
    schema.create(path, schema.CATALOG_PAGE, schema.CATALOG).close()


def of_another_store(path: Path) -> None:
    other = path.parents[2] / "other"
    with closing(opened(other)) as writer:
        for device in ("attic", "barn", "cellar"):
            write(writer, device, 0)
    shutil.copy(folder(other) / path.name, path)


@pytest.mark.parametrize("damage", [removed, emptied, garbage, begun_again, of_another_store])
def test_a_lost_catalog_is_made_again_and_gives_no_number_twice(data: Path, damage: Callable[[Path], None]) -> None:
    before = content(data)
    damage(schema.catalog_file(folder(data)))
    with suppress(StoreAway, StoreDamaged):  # until storage starts nothing is better than something wrong
        seen = content(data)
        assert seen == {name: points for name, points in before.items() if name in seen}
    with closing(opened(data)) as writer:
        write(writer, "garden", 2, 60)
        write(writer, "meter", 2.5, 70)
        care(writer)
        after = content(data)
        assert {name: points for name, points in after.items() if name in before} == {
            **before,
            **{name: before[name] + after[name][-10:] for name in before if name.startswith("roof/meter/")},
        }
        assert [value for _, value in after["roof/garden/power"]] == [60 + n for n in range(10)]
        if damage is not begun_again:
            assert [problem for problem in writer.problems() if "catalog.db" in problem and "made again" in problem]
    with closing(opened(data)) as writer:
        writer.settle()
    assert content(data) == after


def test_a_lost_catalog_is_logged_once_and_shown_until_it_is_acknowledged(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    removed(schema.catalog_file(folder(data)))
    for _ in range(2):
        with closing(SqliteWriter(folder(data), lambda: True)) as writer:
            assert [problem for problem in writer.problems() if problem.startswith("catalog.db was missing")]
    errors = [record for record in caplog.records if record.getMessage().startswith("catalog.db was missing")]
    assert [record.levelno for record in errors] == [logging.ERROR]
    with closing(open_reader(data)) as reader:
        assert [problem for problem in reader.problems() if problem.startswith("catalog.db was missing")]
    with closing(opened(data)) as writer:
        assert "catalog.db was missing" in writer.acknowledge()[0]
        assert writer.problems() == []
    with closing(open_reader(data)) as reader:
        assert reader.problems() == []


def test_the_numbers_of_new_series_are_larger_than_any_in_a_file(data: Path) -> None:
    """Also of series whose names no file has any more."""
    with closing(sqlite3.connect(history.file(folder(data), 2023))) as db:
        db.execute("INSERT INTO chunk SELECT 900 << 20 | k & 0xFFFFF, axis, tmax, vlast, v FROM chunk LIMIT 1")
        db.commit()
    removed(schema.catalog_file(folder(data)))
    with closing(opened(data)) as writer:
        write(writer, "garden", 2)
    with closing(open_reader(data)) as reader:
        assert min(one.id for one in reader.series() if one.device == "garden") > 900


def test_a_year_that_comes_back_after_its_numbers_were_given_again_is_stored_by_name(
    data: Path, tmp_path: Path
) -> None:
    store = folder(data)
    before = content(data)
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in [history.file(store, 2023), history.file(store, 2024)]:
        path.rename(kept / path.name)
    removed(schema.catalog_file(store))
    removed(schema.hot_file(store))
    with closing(opened(data)) as writer:
        write(writer, "garden", 2)
        write(writer, "meter", 2.5)
    given_again = content(data)
    for path in kept.iterdir():
        path.rename(store / path.name)
    with closing(opened(data)) as writer:
        assert content(data) == given_again
        care(writer)
    after = content(data)
    sealed = {name: points[:-10] for name, points in before.items() if name.startswith("roof/meter/")}
    for name, points in sealed.items():
        assert after[name] == points + given_again[name]
    assert [value for _, value in after["roof/tank/mode"]] == [f"tank {n % 3}" for n in range(10)]
    assert after["roof/garden/power"] == given_again["roof/garden/power"]


def test_a_lost_hot_file_is_reported_and_its_numbers_and_identity_stay(data: Path) -> None:
    with closing(opened(data)) as writer:
        identity = writer.identity
    for damage in (removed, emptied):
        damage(schema.hot_file(folder(data)))
        with closing(opened(data)) as writer:
            assert [problem for problem in writer.problems() if problem.startswith("hot.db was missing or empty")]
            assert writer.identity == identity
            write(writer, "garden", 2)


def test_hot_readings_without_names_are_set_aside_and_counted(data: Path) -> None:
    """As in a store that an older Heliograph wrote, which had no copies in hot.db."""
    with closing(sqlite3.connect(schema.hot_file(folder(data)))) as db:
        for table in ("device", "series", "layout", "word", "replacement"):
            db.execute(f"DROP TABLE {table}")
        db.commit()
    removed(schema.catalog_file(folder(data)))
    with closing(opened(data)) as writer:
        care(writer)
        assert [
            problem for problem in writer.problems() if "0 readings of it are stored again, 20 that it had" in problem
        ]
        write(writer, "garden", 2)
    assert "roof/late/power" not in content(data)
    assert len(content(data)["roof/meter/power"]) == 20


def test_a_store_of_an_older_heliograph_gets_its_copies_at_the_first_start(data: Path) -> None:
    before = content(data)
    with closing(sqlite3.connect(schema.hot_file(folder(data)))) as db:
        for table in ("device", "series", "layout", "word", "replacement"):
            db.execute(f"DROP TABLE {table}")
        db.commit()
    opened(data).close()
    removed(schema.catalog_file(folder(data)))
    with closing(opened(data)) as writer:
        care(writer)
    assert content(data) == before


def test_meters_that_were_replaced_are_known_to_a_catalog_that_is_made_again(data: Path) -> None:
    with closing(opened(data)) as writer:
        with closing(open_reader(data)) as reader:
            (sid,) = [one.id for one in reader.series() if one.name == "roof/meter/energy"]
        writer.replaced(sid, START + DAY)
    removed(schema.catalog_file(folder(data)))
    opened(data).close()
    with closing(sqlite3.connect(schema.catalog_file(folder(data)))) as db:
        assert db.execute("SELECT series, ts FROM replacement").fetchall() == [(sid, round((START + DAY) * 1000))]


def test_a_missing_year_is_reported_until_it_comes_back_or_is_accepted(data: Path, tmp_path: Path) -> None:
    path = history.file(folder(data), 2023)
    path.rename(tmp_path / "2023")
    for _ in range(2):
        with closing(opened(data)) as writer:
            assert [problem for problem in writer.problems() if problem.startswith("history-2023.db is missing")]
    with closing(open_reader(data)) as reader:
        assert [problem for problem in reader.problems() if problem.startswith("history-2023.db is missing")]
    (tmp_path / "2023").rename(path)
    with closing(opened(data)) as writer:
        assert writer.problems() == []
    path.unlink()
    with closing(opened(data)) as writer:
        assert writer.acknowledge()
        assert writer.problems() == []


def test_a_year_that_retention_deletes_is_not_missing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_calendar, "JUMP_DAYS", 1000)  # these days are not lived through
    with closing(open_writer(data, keep=Keep(years=1), now=lambda: START + 500 * DAY)) as writer:
        write(writer, "meter", 400)
        writer.settle()
        care(writer)
        assert not history.file(folder(data), 2023).exists()
        assert writer.problems() == []


@pytest.mark.parametrize("known", [True, False])
def test_an_empty_year_stops_nothing(data: Path, *, known: bool) -> None:
    """Case D8: what a power cut leaves of a fresh file."""
    emptied(history.file(folder(data), 2023 if known else 2022))
    before = content(data)
    with closing(opened(data)) as writer:
        write(writer, "meter", 0.5, 80)
        writer.settle()
        care(writer)
        assert len(content(data)["roof/meter/power"]) == len(before["roof/meter/power"]) + 10
        lost = [problem for problem in writer.problems() if "history-2023.db was damaged: 0 values" in problem]
        assert len(lost) == known
        assert len(writer.problems()) == known


def test_a_year_that_is_emptied_while_it_is_open_stops_nothing(data: Path) -> None:
    with closing(opened(data)) as writer:
        emptied(history.file(folder(data), 2023))
        write(writer, "meter", 0.5, 80)
        writer.settle()
        care(writer)
        write(writer, "meter", 0.6, 80)
        writer.settle()
    assert len(content(data)["roof/meter/power"]) == 40


def test_a_file_of_a_newer_format_is_refused_and_left_alone(data: Path) -> None:
    for path in [history.file(folder(data), 2023), schema.hot_file(folder(data)), schema.catalog_file(folder(data))]:
        copy = data.with_name(path.stem)
        shutil.copytree(data, copy)
        with closing(sqlite3.connect(folder(copy) / path.name)) as db:
            db.execute("UPDATE meta SET value=2 WHERE key='format'")
            db.commit()
        with pytest.raises(StoreDamaged, match=r"another version|format 2"):
            opened(copy)
        assert {one.name for one in folder(copy).glob("*.db")} == {one.name for one in folder(data).glob("*.db")}


def test_what_a_start_would_mend_is_found_without_writing(data: Path) -> None:
    store = folder(data)
    assert recovery.disagreements(store) == []
    cases: list[tuple[str, Callable[[Path], None]]] = [
        ("catalog.db", removed),
        ("catalog.db", emptied),
        ("catalog.db", of_another_store),
        ("hot.db", removed),
        ("hot.db", emptied),
        ("hot.db", of_another_store),
        ("history-2023.db", emptied),
    ]
    for number, (name, damage) in enumerate(cases):
        copy = shutil.copytree(store, store.parents[1] / str(number) / "data" / "store")
        damage(copy / name)
        before = {path.name: path.read_bytes() for path in copy.glob("*.db")}
        assert recovery.disagreements(copy), (name, damage)
        assert {path.name: path.read_bytes() for path in copy.glob("*.db")} == before


@pytest.mark.parametrize("name", ["catalog.db", "hot.db"])
def test_only_files_of_one_store_are_read_together(data: Path, name: str) -> None:
    of_another_store(folder(data) / name)
    with closing(open_reader(data)) as reader, pytest.raises(StoreDamaged, match="different stores"):
        reader.series()


def test_every_file_is_written_with_synchronous_full_and_a_journal(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of every connection that writes, when it begins a transaction: at 2 (FULL) a commit is on the disk when it returns."""
    asked: dict[str, set[tuple[int, str]]] = {}
    transaction = schema.transaction

    def watched(connection: sqlite3.Connection) -> AbstractContextManager[None]:
        (file,) = [Path(path).name for _, name, path in connection.execute("PRAGMA database_list") if name == "main"]
        pragmas = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode"))
        asked.setdefault(file, set()).add(cast(tuple[int, str], tuple(pragmas)))
        return transaction(connection)

    monkeypatch.setattr(schema, "transaction", watched)
    removed(schema.catalog_file(folder(data)))
    keep = Keep(raw_years=1)
    with closing(SqliteWriter(folder(data), lambda: True, keep, now=lambda: START + 500 * DAY)) as writer:
        write(writer, "meter", 499)
        writer.settle()
        writer.mend()
        care(writer)
    assert asked.keys() >= {"catalog.db", "catalog.db.new", "hot.db", "history-2024.db", "history-2025.db"}
    assert {pragmas for of_file in asked.values() for pragmas in of_file} == {(2, "wal")}


@pytest.mark.parametrize("name", ["catalog.db", "hot.db", "history-2024.db"])
def test_an_empty_file_whose_journal_has_everything_comes_back(tmp_path: Path, name: str) -> None:
    """SQLite deletes the journal of an empty file when it opens it."""
    with closing(opened(tmp_path / "alive")) as writer:
        write(writer, "meter", 1)
        writer.settle()
        write(writer, "meter", 2)
        before = content(tmp_path / "alive")
        shutil.copytree(tmp_path / "alive", tmp_path / "killed")
    path = folder(tmp_path / "killed") / name
    emptied(path)
    with suppress(StoreAway, StoreDamaged):
        assert all(set(points) <= set(before[name]) for name, points in content(tmp_path / "killed").items())
    with closing(opened(tmp_path / "killed")) as writer:
        writer.mend()
    assert content(tmp_path / "killed") == before


def test_a_lone_hot_file_tells_that_the_years_and_the_catalog_are_gone(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("catalog.db", "history-2023.db", "history-2024.db"):
        (folder(data) / name).unlink()
    with closing(opened(data)) as writer:
        problems = writer.problems()
        assert [problem for problem in problems if problem.startswith("catalog.db was missing")]
        for year in (2023, 2024):
            assert [problem for problem in problems if problem.startswith(f"history-{year}.db is missing")]
            assert len([line for line in caplog.messages if line.startswith(f"history-{year}.db is missing")]) == 1
        write(writer, "meter", 2.5)
    with closing(open_reader(data)) as reader:
        assert [problem for problem in reader.problems() if problem.startswith("history-2023.db is missing")]


def test_a_lone_hot_file_of_which_all_was_sealed_tells_so_too(data: Path) -> None:
    with closing(opened(data)) as writer:
        writer.settle()
    for name in ("catalog.db", "history-2023.db", "history-2024.db"):
        (folder(data) / name).unlink()
    with closing(opened(data)) as writer:
        assert [problem for problem in writer.problems() if problem.startswith("history-2024.db is missing")]


def test_a_year_that_was_deleted_is_not_missing_when_the_catalog_is_made_again(data: Path) -> None:
    with closing(opened(data)) as writer:
        with closing(open_reader(data)) as reader:
            ids = [one.id for one in reader.series()]
        assert writer.delete(ids, 0, START + DAY)
    (folder(data) / "catalog.db").unlink()
    with closing(opened(data)) as writer:
        assert not [problem for problem in writer.problems() if "is missing" in problem]


def test_a_year_that_goes_and_comes_back_is_logged_once_each(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = folder(data) / "history-2023.db"
    away = path.rename(path.with_name("away"))
    for _ in range(2):
        with closing(opened(data)) as writer:
            for day in (2.5, 2.6):
                write(writer, "meter", day)
                writer.settle()
            away.rename(path) if away.exists() else None
            writer.settle()
    assert len([line for line in caplog.messages if line.startswith("history-2023.db is missing")]) == 1
    assert len([line for line in caplog.messages if line == "history-2023.db is there again"]) == 1


@pytest.mark.parametrize("name", ["history-2023.db", "history-2019.db", "hot.db", "catalog.db"])
def test_a_folder_in_the_place_of_a_file_is_moved_aside_and_reported(
    data: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = content(data)
    path = folder(data) / name
    if path.exists():
        path.rename(path.with_name("away"))
    path.mkdir()
    (path / "something").write_text("of somebody")
    with closing(open_reader(data)) as reader, suppress(StoreDamaged):
        assert [problem for problem in reader.problems() if "is a folder, not a file" in problem]
    with closing(opened(data)) as writer:
        assert [line for line in caplog.messages + writer.problems() if "is a folder, not a file" in line]
        write(writer, "tank", 2.5, 70)
        writer.settle()
        care(writer)
    (aside,) = (there for there in folder(data).glob(f"{name}.*d-*") if there.is_dir())
    assert (aside / "something").read_text() == "of somebody"
    assert path.is_file() or name.startswith("history")
    after = content(data)
    for series, points in before.items():
        wanted = [point for point in points if not _is_gone(name, point[0])]
        assert [point for point in after.get(series, []) if point in wanted] == wanted, series


def _is_gone(name: str, time: float) -> bool:
    if name == "hot.db":
        return time >= START + 2 * DAY
    return name == "history-2023.db" and time < START + DAY


def test_a_link_that_leads_nowhere_is_a_missing_year_and_says_where_it_leads(data: Path, tmp_path: Path) -> None:
    path, other = folder(data) / "history-2023.db", tmp_path / "other disk"
    other.mkdir()
    path.rename(other / "history-2023.db")
    path.symlink_to(other / "history-2023.db")
    before = content(data)
    away = other.rename(tmp_path / "not mounted")
    with closing(opened(data)) as writer:
        where = f"a link to {other / path.name}, which is not there"
        assert [problem for problem in writer.problems() if where in problem]
        write(writer, "tank", 2.5, 70)
        writer.settle()
        write(writer, "tank", 0.5, 90)
        with pytest.raises(OSError, match="which is not there: mount that disk"):
            writer.settle()
    away.rename(other)
    with closing(opened(data)) as writer:
        writer.settle()
        assert writer.problems() == []
    after = content(data)
    for series, points in before.items():
        assert set(points) <= set(after[series])
    assert len([time for time, _ in after["roof/tank/power"] if START + DAY / 2 <= time < START + DAY]) == 10


def test_a_checksum_that_is_not_a_number_makes_hot_db_a_damaged_file(data: Path) -> None:
    with closing(sqlite3.connect(folder(data) / "hot.db")) as db:
        assert db.execute(
            "UPDATE frame SET crc = CAST(x'ff' AS TEXT) WHERE seq = (SELECT max(seq) FROM frame)"
        ).rowcount
        db.commit()
    before = content(data)
    with closing(opened(data)) as writer:
        care(writer)
        assert [problem for problem in writer.problems() if problem.startswith("hot.db was damaged")]
    assert content(data) == before


def half_made(path: Path) -> None:
    """What a process leaves that is killed while it makes a file: SQLite must undo it before anybody may read it."""
    made = path.with_name("made.db")
    with closing(sqlite3.connect(made, isolation_level=None)) as db:
        for statement in ("PRAGMA cache_size=1", "BEGIN IMMEDIATE", "CREATE TABLE meta(key, value)"):
            db.execute(statement)
        db.executemany("INSERT INTO meta VALUES(?, zeroblob(2000))", [(n,) for n in range(200)])
        for suffix in ("", "-journal"):
            shutil.copyfile(f"{made}{suffix}", f"{path}{suffix}")
    schema.delete(made)


@pytest.mark.parametrize("name", ["catalog.db", "hot.db", "history-2023.db"])
def test_a_kill_while_a_new_store_is_made_stops_no_later_start(tmp_path: Path, name: str) -> None:
    store_folder = folder(tmp_path / "data")
    store_folder.mkdir(parents=True)
    half_made(store_folder / name)
    with closing(opened(tmp_path / "data")) as writer:
        write(writer, "meter", 0)
        writer.settle()
    assert len(content(tmp_path / "data")["roof/meter/power"]) == 10


def test_a_kill_while_a_new_year_is_made_loses_nothing(data: Path) -> None:
    before = content(data)
    half_made(folder(data) / "history-2025.db")
    with closing(opened(data, 368)) as writer:
        assert writer.problems() == []
        write(writer, "meter", 368)
        writer.settle()
    after = content(data)
    assert {name: points[: len(before[name])] for name, points in after.items()} == before
    assert len(after["roof/meter/power"]) == len(before["roof/meter/power"]) + 10
