"""What is read of one file that was moved aside, sound or not: names, marks, readings, points, numbers that it uses."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from heliograph.store import blocks, damaged_files, damaged_hot, history, row_types, salvage, schema
from heliograph.store.salvage import DamagedYear

DAY = 20_000  # UTC days since 1970: in 2024
SIDS = (1).to_bytes(4, "little") + (7).to_bytes(4, "little")
GARBAGE = b"no block"


def made(folder: Path, name: str, tables: str, rows: dict[str, Sequence[Sequence[Any]]], page: int) -> Path:
    """Return a file that was moved aside, with these rows."""
    path = folder / f"{name}.damaged-20260101T000000-1"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA page_size={page}")
        db.executescript(tables)
        for table, rows_ in rows.items():
            db.executemany(f"INSERT INTO {table} VALUES({', '.join('?' * len(rows_[0]))})", rows_)
        db.commit()
    return path


def hot(folder: Path, tables: str = schema.HOT, /, **rows: Sequence[Sequence[Any]]) -> Path:
    return made(folder, "hot.db", tables, rows, schema.HOT_PAGE)


def year(folder: Path, /, **rows: Sequence[Sequence[Any]]) -> Path:
    return made(folder, "history-2024.db", history.SCHEMA, rows, history.PAGE)


def headless(path: Path) -> Path:
    """Overwrite the first page, without which SQLite reads nothing."""
    with path.open("r+b") as file:
        file.write(b"\x5a" * (schema.HOT_PAGE if path.name.startswith("hot") else history.PAGE))
    return path


def as_it_is(path: Path) -> Path:
    return path


BOTH = pytest.mark.parametrize("damage", [as_it_is, headless])
Damage = Callable[[Path], Path]
NAMES: dict[str, Sequence[Sequence[Any]]] = {
    "device": [(1, "roof/meter"), (3, "barn/pump")],
    "series": [(1, 1, "power", "W", "gauge", 0.0), (7, 1, "mode", None, "text", None)],
    "layout": [(5, 1, SIDS)],
    "word": [(1, "sun"), (2, "x/y"), (3, "a/b/c"), (6, "A b/c")],
}


def test_names_of_a_sound_file_are_all_its_rows(tmp_path: Path) -> None:
    names = salvage.names(hot(tmp_path, **NAMES))
    assert names.whole
    for table in NAMES:
        assert names.table(table) == {row[0]: tuple(row[1:]) for row in NAMES[table]}


def test_names_in_pages_that_sqlite_does_not_reach_are_known_by_their_shape(tmp_path: Path) -> None:
    frame = (1, 5, 1000, b"12345678", None)
    names = salvage.names(headless(hot(tmp_path, **NAMES, frame=[frame])))
    assert not names.whole
    assert names.series == {1: (1, "power", "W", "gauge", 0.0), 7: (1, "mode", None, "text", None)}
    assert names.layout == {5: (1, SIDS)}
    # a text with a slash is that of a device whose series are known; it looks like a word
    assert names.device == {1: ("roof/meter",)}
    assert names.word == {1: ("sun",), 3: ("a/b/c",), 6: ("A b/c",)}


def test_a_year_has_no_layouts(tmp_path: Path) -> None:
    names = {table: rows for table, rows in NAMES.items() if table != "layout"}
    path = headless(year(tmp_path, **names, damaged=[(5, 1, SIDS)], r1h_day=[(history.key(1, DAY), b"cells")]))
    assert salvage.names(path).series.keys() == {1, 7}
    assert salvage.names(path).layout == {}


def test_a_name_that_is_no_text_leaves_the_others_readable(tmp_path: Path) -> None:
    path = hot(tmp_path, **NAMES)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE device SET name = CAST(x'ff41' AS TEXT) WHERE id = 3")
        db.execute("UPDATE word SET text = CAST(x'ff41' AS TEXT) WHERE id = 1")
        db.commit()
    names = salvage.names(path)
    assert not names.whole
    assert names.device == {1: ("roof/meter",)}
    assert names.word.keys() == {2, 3, 6}


def test_what_cannot_be_read_as_a_file_has_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    empty, garbage, folder = (tmp_path / f"hot.db.damaged-{name}-1" for name in ("a", "b", "c"))
    empty.write_bytes(b"")
    garbage.write_bytes(b"not a database, nor a page of one" * 99)
    folder.mkdir()
    asked: list[int] = []

    def sealed_up_to(newest: int) -> int:
        asked.append(newest)
        return 0

    for path in (empty, garbage, folder):
        assert damaged_files.opened(path) is None
        assert not damaged_files.is_sound(path)
        assert not salvage.names(path).whole
        assert damaged_hot.marks(path) == ([], None)
        assert damaged_hot.frames(path, sealed_up_to) == {}
        assert set(salvage.highest(path).values()) == {0}
        with closing(DamagedYear(path)) as damaged:
            assert (list(damaged.axes()), damaged.axis(1), damaged.sound) == ([], None, False)
            assert [list(damaged.cells(*level)) for level in salvage.levels()] == [[]] * 5
    assert asked == [0, 0, 0]
    assert empty.read_bytes() == b""
    assert f"SQLite reads nothing of {garbage.name}" in caplog.text


def test_a_file_is_opened_for_reading_only(tmp_path: Path) -> None:
    db = damaged_files.opened(hot(tmp_path))
    assert db is not None
    with closing(db), pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("INSERT INTO word VALUES(1, 'sun')")


def test_a_file_is_sound_if_sqlite_reads_all_of_it_and_it_is_what_it_is_called(tmp_path: Path) -> None:
    path = hot(tmp_path, **NAMES)
    assert damaged_files.is_sound(path)
    assert damaged_files.is_sound(year(tmp_path))
    other = tmp_path / "hot.db.damaged-20260101T000000-2"
    with closing(sqlite3.connect(other)) as db:
        db.executescript(schema.CATALOG)
    assert not damaged_files.is_sound(other)
    with path.open("r+b") as file:
        file.seek(schema.HOT_PAGE)
        file.write(b"\x5a" * schema.HOT_PAGE)
    assert not damaged_files.is_sound(path)


PROGRESS = ("roof/bridge", "epoch", 7, 0, 1_700_000_000_000)


def test_how_far_the_producers_are_and_which_store_it_is(tmp_path: Path) -> None:
    bad = ("roof/other", "epoch", "seven", 0, 1)
    path = hot(tmp_path, progress=[PROGRESS, bad], meta=[("identity", "a store")])
    assert damaged_hot.marks(path) == ([PROGRESS], "a store")


@pytest.mark.parametrize("identity", [7, b"x", "a\0b", None])
def test_an_identity_that_cannot_be_one_does_not_count(tmp_path: Path, identity: object) -> None:
    assert damaged_hot.marks(hot(tmp_path, progress=[PROGRESS], meta=[("identity", identity)])) == ([PROGRESS], None)


@pytest.mark.parametrize(("table", "marks"), [("meta", ([PROGRESS], None)), ("progress", ([], "a store"))])
def test_of_a_file_without_one_table_the_other_is_read(tmp_path: Path, table: str, marks: object) -> None:
    path = hot(tmp_path, progress=[PROGRESS], meta=[("identity", "a store")])
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"DROP TABLE {table}")
    assert damaged_hot.marks(path) == marks


def frame(number: int, *, crc: bool | None = True, time: int = 1000) -> tuple[int, int, int, bytes, int | None]:
    """Return a row of frame; with a checksum that is right or wrong, or without one."""
    payload = f"{number:08}".encode()
    right = schema.frame_crc(number, 5, time, payload)
    return (number, 5, time, payload, None if crc is None else right if crc else right ^ 1)


@BOTH
def test_readings_whose_checksum_is_wrong_are_left_out(tmp_path: Path, damage: Damage) -> None:
    rows = [frame(1), frame(2, crc=False), frame(3, crc=None), frame(4, time=row_types.LAST + 1), frame(9)]
    frames = damaged_hot.frames(damage(hot(tmp_path, frame=rows)), lambda _: 0)
    assert frames == {number: (5, 1000, f"{number:08}".encode()) for number in (1, 3, 9)}


@BOTH
def test_readings_of_an_older_heliograph_had_no_checksum(tmp_path: Path, damage: Damage) -> None:
    tables = "CREATE TABLE frame(seq INTEGER PRIMARY KEY, layout INT, ts INT, v BLOB)"
    path = damage(hot(tmp_path, tables, frame=[frame(number)[:4] for number in (2, 3)]))
    assert damaged_hot.frames(path, lambda _: 0) == {number: (5, 1000, f"{number:08}".encode()) for number in (2, 3)}


def test_of_a_sound_file_no_reading_is_taken_for_one_that_is_in_a_year(tmp_path: Path) -> None:
    assert damaged_hot.frames(hot(tmp_path, frame=[frame(1), frame(2)]), lambda newest: newest).keys() == {1, 2}


def test_a_jump_of_numbers_is_one_that_no_hot_file_has() -> None:
    assert damaged_hot.gaps(dict.fromkeys([1, damaged_hot.JUMP + 1], (1, 0, b""))) == damaged_hot.JUMP - 1
    assert damaged_hot.gaps(dict.fromkeys([1, damaged_hot.JUMP + 2], (1, 0, b""))) == 0
    assert (damaged_hot.JUMP, damaged_hot.ROWS) == (1_000_000, 500)


AXIS = history.axis_key(1, DAY)
TIMES, NUMBERS = blocks.encode_ints([1, 2, 3]), blocks.encode_ints([4, 5, 6])


def chunk(series: int, block: object, axis: object = AXIS, day: int = DAY) -> tuple[object, ...]:
    return (history.key(series, day), axis, day * 86_400_000 + 3, 1.5, block)


def values(count: int) -> bytes:
    return blocks.encode_floats([number / 2 for number in range(count)])


@BOTH
def test_the_chunks_of_an_axis_that_can_be_read_come_together(tmp_path: Path, damage: Damage) -> None:
    later = history.axis_key(1, DAY + 1)
    path = damage(
        year(
            tmp_path,
            axis=[(AXIS, 4, 6, TIMES, NUMBERS), (later, 4, 6, TIMES, NUMBERS)],
            chunk=[chunk(2, values(3)), chunk(7, values(3)), chunk(8, values(3), later, DAY + 1)],
        )
    )
    with closing(DamagedYear(path)) as damaged:
        assert list(damaged.axes()) == [(AXIS, [(2, values(3)), (7, values(3))]), (later, [(8, values(3))])]
        assert damaged.axis(AXIS) == (TIMES, NUMBERS)
        assert damaged.axis(AXIS + 1) is None
        assert (damaged.lost, damaged.sound) == ({}, damage is as_it_is)


def test_chunks_that_cannot_be_read_are_lost_and_counted(tmp_path: Path) -> None:
    bad = values(3)[:-1]
    path = year(
        tmp_path,
        axis=[(AXIS, 4, 6, TIMES, NUMBERS)],
        chunk=[
            chunk(1, values(3)),
            chunk(2, bad),
            chunk(3, "no bytes"),
            chunk(4, values(3), "no axis"),
            chunk(5, values(3), AXIS, DAY + 1),
        ],
    )
    with closing(DamagedYear(path)) as damaged:
        assert list(damaged.axes()) == [(AXIS, [(1, values(3))])]
        assert damaged.lost == {history.key(2, DAY): 3, history.key(3, DAY): -1}


@pytest.mark.parametrize("bad", [(GARBAGE, NUMBERS), (TIMES, GARBAGE), ("no bytes", NUMBERS), (TIMES, 7)])
@BOTH
def test_times_that_cannot_be_read_do_not_count(tmp_path: Path, bad: tuple[Any, Any], damage: Damage) -> None:
    with closing(
        DamagedYear(damage(year(tmp_path, axis=[(AXIS, 4, 6, *bad)], chunk=[chunk(1, values(3))])))
    ) as damaged:
        assert list(damaged.axes()) == [(AXIS, [(1, values(3))])]
        assert damaged.axis(AXIS) is None


@pytest.mark.parametrize(("first", "second", "taken"), [(3, 2, 3), (2, 3, 3), (3, 3, 3)])
def test_of_two_pages_with_one_chunk_that_with_more_values_counts(
    tmp_path: Path, first: int, second: int, taken: int
) -> None:
    """A page that is not used any more has fewer values; of two as long the later one counts."""
    (tmp_path / "other").mkdir()
    pages = [
        year(folder, chunk=[(history.key(1, DAY), AXIS, 1, 1.5, blocks.encode_floats([number] * count))])
        for folder, count, number in ((tmp_path, first, 0.5), (tmp_path / "other", second, 1.5))
    ]
    path = headless(pages[0])
    path.write_bytes(path.read_bytes() + pages[1].read_bytes()[history.PAGE :])
    with closing(DamagedYear(path)) as damaged:
        ((axis, ((series, block),)),) = damaged.axes()
        assert (axis, series) == (AXIS, 1)
        assert block == blocks.encode_floats([0.5 if second < first else 1.5] * taken)


def test_a_chunk_that_is_damaged_is_taken_from_a_page_that_is_not_used_any_more(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    path = year(tmp_path, axis=[(AXIS, 4, 6, GARBAGE, NUMBERS)], chunk=[chunk(1, GARBAGE), chunk(2, GARBAGE)])
    before = year(tmp_path / "other", axis=[(AXIS, 4, 6, TIMES, NUMBERS)], chunk=[chunk(1, values(2))])
    content = path.read_bytes()[: -history.PAGE]  # without the last page, that of the table meta
    path.write_bytes(content + b"\x5a" * history.PAGE + before.read_bytes()[history.PAGE :])
    with closing(DamagedYear(path)) as damaged:
        assert list(damaged.axes()) == [(AXIS, [(1, values(2))])]
        assert damaged.lost == {history.key(2, DAY): blocks.length(GARBAGE)}
        assert damaged.axis(AXIS) == (TIMES, NUMBERS)


def test_the_cells_that_are_bytes_are_read(tmp_path: Path) -> None:
    tables = [f"{grain.name}_{level}" for grain, level in salvage.levels()]
    assert sorted(tables) == ["r1h_day", "r1h_month", "r1h_year", "r5m_day", "r5m_month"]
    path = year(tmp_path, **{table: [(1, table.encode()), (2, "no bytes"), (3, b"x")] for table in tables})
    with closing(DamagedYear(path)) as damaged:
        for grain, level in salvage.levels():
            assert list(damaged.cells(grain, level)) == [(1, f"{grain.name}_{level}".encode()), (3, b"x")]


@BOTH
def test_the_numbers_that_a_hot_file_uses_are_those_of_names_and_of_readings(tmp_path: Path, damage: Damage) -> None:
    path = damage(hot(tmp_path, **NAMES, frame=[(1, 12, 1000, b"", 0), (2, 11, 1000, b"", None)]))
    highest = salvage.highest(path)
    assert highest["layout"] == 12
    assert (highest["series"], highest["word"]) == (7, 6)
    assert highest["device"] == (3 if damage is as_it_is else 1)


@BOTH
def test_the_numbers_that_a_year_uses_are_those_of_names_chunks_cells_and_times(tmp_path: Path, damage: Damage) -> None:
    def highest(**rows: Sequence[Sequence[Any]]) -> dict[str, int]:
        (tmp_path / str(len(list(tmp_path.iterdir())))).mkdir()
        *_, folder = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
        return salvage.highest(damage(year(folder, **rows)))

    series = [(3, 2, "power", "W", "gauge", 0.0)]
    assert highest(series=series)["series"] == 3
    assert highest(series=series, chunk=[chunk(9, values(1)), chunk(8, values(1))])["series"] == 9
    assert highest(series=series, r1h_day=[(history.key(10, DAY), b"cells")])["series"] == 10
    assert highest(series=series, axis=[(history.axis_key(12, DAY), 4, 6, TIMES, NUMBERS)])["device"] == 12
    damaged_key = history.key(row_types.SERIES + 1, DAY)
    assert highest(series=series, chunk=[(damaged_key, AXIS, 1, 1.5, values(1))])["series"] == 3


def test_the_larger_number_of_each_table_is_taken_from_either() -> None:
    assert salvage.larger({"a": 1, "b": 5}, {"a": 3, "c": 2}) == {"a": 3, "b": 5, "c": 2}
