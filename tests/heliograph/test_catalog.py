import sqlite3
from pathlib import Path

import pytest

from heliograph.messages import Channel, Info
from heliograph.store import names, schema
from heliograph.store.catalog import Catalog
from heliograph.store.interface import Series


def opened(folder: Path) -> sqlite3.Connection:
    return schema.create(schema.catalog_file(folder), schema.CATALOG_PAGE, schema.CATALOG)


def rows(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT * FROM {table}").fetchall()


def test_numbers_stay_over_a_restart_and_new_ones_follow(tmp_path: Path) -> None:
    connection = opened(tmp_path)
    catalog = Catalog(connection)
    first = catalog.layout("roof", "meter", ("power", "mode"), [1.0, "bulk"])
    assert catalog.layout("roof", "meter", ("power", "mode"), [1.0, "bulk"]) is first
    word = catalog.word("bulk")
    catalog.commit()
    connection.close()
    connection = opened(tmp_path)
    catalog = Catalog(connection)
    again = catalog.layout("roof", "meter", ("power", "mode"), [1.0, "bulk"])
    assert (again.id, again.kinds, again.texts) == (first.id, ("gauge", "text"), True)
    assert catalog.word("bulk") == word
    assert catalog.word("float") != word
    other = catalog.layout("roof", "meter", ("mode", "power"), ["bulk", 1.0])
    assert (other.id != first.id, other.kinds) == (True, ("text", "gauge"))
    connection.close()


def test_the_first_value_decides_the_kind_of_a_channel_that_was_not_declared(tmp_path: Path) -> None:
    connection = opened(tmp_path)
    catalog = Catalog(connection)
    assert catalog.layout("roof", "x", ("a", "b", "c", "d"), [1, 0.5, True, "on"]).kinds == (
        "gauge",
        "gauge",
        "state",
        "text",
    )
    connection.close()


def test_a_declared_kind_counts_more_than_the_first_value(tmp_path: Path) -> None:
    connection = opened(tmp_path)
    catalog = Catalog(connection)
    assert catalog.declare("roof", "x", Info("", {"a": Channel("kWh", "counter")})) == []
    assert catalog.layout("roof", "x", ("a",), ["nonsense"]).kinds == ("counter",)
    connection.close()


def test_nothing_is_written_and_nothing_locked_before_the_commit(tmp_path: Path) -> None:
    connection = opened(tmp_path)
    catalog = Catalog(connection)
    catalog.declare("roof", "x", Info("", {"a": Channel("")}))
    catalog.declare("roof", "x", Info("", {"a": Channel("A")}))
    catalog.layout("roof", "x", ("a", "b"), [1.0, "on"])
    catalog.word("on")
    assert not connection.in_transaction
    assert rows(connection, "series") == []
    catalog.commit()
    assert rows(connection, "device") == [(1, "roof/x")]
    assert rows(connection, "series") == [(1, 1, "a", "A", "gauge", 0.0), (2, 1, "b", "", "text", 0.0)]
    assert rows(connection, "layout") == [(1, 1, bytes([1, 0, 0, 0, 2, 0, 0, 0]))]
    assert rows(connection, "word") == [(1, "on")]
    connection.close()


def test_the_next_commit_writes_what_a_failed_one_did_not(tmp_path: Path) -> None:
    connection = opened(tmp_path)
    catalog = Catalog(connection)
    catalog.word("one")
    connection.execute("PRAGMA query_only=1")
    with pytest.raises(sqlite3.OperationalError):
        catalog.commit()
    catalog.word("two")
    connection.execute("PRAGMA query_only=0")
    catalog.commit()
    catalog.commit()
    assert rows(connection, "word") == [(1, "one"), (2, "two")]
    connection.close()


def test_numbers_of_removed_words_are_not_used_again(tmp_path: Path) -> None:
    connection = opened(tmp_path)
    catalog = Catalog(connection)
    for text in ("one", "two", "three"):
        catalog.word(text)
    catalog.commit()
    connection.execute("DELETE FROM word WHERE text='one'")
    assert Catalog(connection).word("four") == 4
    connection.close()


def test_unit_and_kind_of_a_channel_follow_the_last_info_but_a_text_never_becomes_a_number(tmp_path: Path) -> None:
    connection = opened(tmp_path)
    catalog = Catalog(connection)
    catalog.declare("roof", "x", Info("", {"a": Channel("", "gauge"), "t": Channel("", "text")}))
    assert catalog.commit()
    assert not catalog.commit()
    meanings = {"a": Channel("kWh", "counter", rollover=4294967.296), "t": Channel("", "state")}
    assert catalog.declare("roof", "x", Info("", meanings)) == ["t"]
    assert catalog.commit()
    assert rows(connection, "series") == [(1, 1, "a", "kWh", "counter", 4294967.296), (2, 1, "t", "", "text", 0.0)]
    catalog.declare("roof", "x", Info("", meanings))
    assert not catalog.commit()
    connection.close()


def test_names_are_read_as_they_were_written(tmp_path: Path) -> None:
    connection = opened(tmp_path)
    catalog = Catalog(connection)
    catalog.declare("roof", "x", Info("", {"a": Channel("kWh", "counter", rollover=100.0)}))
    layout = catalog.layout("roof", "x", ("b", "a"), ["on", 1.0])
    word = catalog.word("on")
    catalog.commit()
    connection.executemany("INSERT INTO replacement VALUES(1, ?)", [(9,), (5,)])
    read = names.read(connection)
    assert read.devices == {1: ("roof", "x")}
    assert list(read.series.values()) == [
        Series(1, "roof", "x", "a", "kWh", "counter", 100.0),
        Series(2, "roof", "x", "b", "", "text"),
    ]
    assert read.layouts == {layout.id: names.Layout(1, (2, 1))}
    assert (read.positions, read.owners) == ({2: {layout.id: 0}, 1: {layout.id: 1}}, {1: 1, 2: 1})
    assert (read.words, read.replacements, read.of_device(1)) == ({word: "on"}, {1: [5, 9]}, {1, 2})
    connection.close()
