"""Renames in both stores: history, arrivals, progress of the producers, and a note of what was called what."""

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliograph import store
from heliograph.lock import Taken
from heliograph.messages import Block, Channel, Info, Value
from heliograph.renames import Rename
from heliograph.store import folder, open_reader, open_writer, schema, unfinished
from heliograph.store.interface import FOR_EVER, FUNCTIONS, Keep, Progress, Reader
from heliograph.store.postgres import open_postgres_writer
from heliograph.store.rename_plan import CannotRename
from tests.heliograph.engines import Embedded, Engine, Postgres
from tests.heliograph.postgres_server import Server

INFO = Info("Meter", {"power": Channel("W"), "energy": Channel("kWh", "counter"), "mode": Channel("", "text")})
STARTS = [datetime(year, 12, 31, 18, tzinfo=UTC).timestamp() for year in (2023, 2024)]
EDGES = [STARTS[0] + n * 3600 for n in range(0, 400 * 24, 480)]
Row = list[float | Value | None]


def readings(start: float, count: int, offset: int = 0) -> list[Row]:
    return [[start + n * 120, n * 7 % 100 + 0.5, float(n + offset), f"mode {n // 40 % 3}"] for n in range(count)]


def write(engine: Engine, name: str, rows: list[Row], progress: dict[tuple[str, str], Progress] | None = None) -> None:
    node, device = name.split("/")
    with closing(engine.writer()) as writer:
        assert writer.declare(node, device, INFO) == []
        assert writer.write(node, [Block(device, tuple(INFO.channels), rows)]) == []
        writer.commit(progress or {})


def contents(reader: Reader) -> dict[str, object]:
    """Everything that a store answers, by name."""
    assert reader.problems() == []
    series = {one.id: one.name for one in reader.series()}
    points: dict[str, list[tuple[float, Value]]] = {name: [] for name in series.values()}
    for time, number, value in reader.export(list(series), 0.0, 4e9):
        points[series[number]].append((time, value))
    meanings = {
        one.name: (
            one.unit,
            one.kind,
            reader.latest([one.id]).get(one.id),
            reader.aggregate(one.id, EDGES, FUNCTIONS),
        )
        for one in reader.series()
    }
    arrived = [(one.cursor, one.node, one.device, one.time, one.values) for one in reader.since(0, 10**6) if one.values]
    return {"points": points, "meanings": meanings, "arrived": arrived}


def settled(engine: Engine) -> dict[str, object]:
    with closing(engine.writer()) as writer, closing(engine.reader()) as reader:
        writer.settle()
        return contents(reader)


def filled(engine: Engine, first: str, second: str, *, sealed: bool) -> dict[str, object]:
    """Two years under one name, a night under another one, and a device that is not concerned."""
    engine.drop()
    for start in STARTS:
        write(engine, first, readings(start, 200))
    write(engine, second, readings(STARTS[1] + 199 * 120, 100, 200))  # the first is at a time of the last
    write(engine, "shed/other", readings(STARTS[1], 20))
    return settled(engine) if sealed else {}


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("second", ["gamma/meter", "gamma/boiler"])
def test_a_store_is_as_if_it_had_always_had_the_new_name(
    engine: Engine, second: str, caplog: pytest.LogCaptureFixture, *, sealed: bool
) -> None:
    """Nothing arrives twice either: numbers of arrival are what uploads go by."""
    filled(engine, "gamma/meter", second, sealed=sealed)
    wanted = settled(engine)
    filled(engine, "alpha/meter", second, sealed=sealed)
    with closing(engine.reader()) as reader:
        before = reader.version(STARTS[0], STARTS[1] + 1e6)
        planned = engine.rename(Rename("alpha", "gamma"), dry_run=True)
        assert reader.version(STARTS[0], STARTS[1] + 1e6) == before
        assert engine.rename(Rename("alpha", "gamma")) == planned
        assert reader.version(STARTS[0], STARTS[1] + 1e6) != before
        assert reader.renames().entries == (Rename("alpha", "gamma"),)
    assert settled(engine) == wanted
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_devices_and_channels_get_other_names(engine: Engine) -> None:
    filled(engine, "alpha/main", "alpha/boiler", sealed=True)
    wanted = settled(engine)
    filled(engine, "alpha/meter", "alpha/boiler", sealed=True)
    engine.rename(Rename("alpha/meter", "alpha/main", uploads="old"))
    assert settled(engine) == wanted
    engine.rename(Rename("alpha/main/power", "alpha/main/watt"))
    with closing(engine.reader()) as reader:
        assert {one.channel for one in reader.series() if one.device == "main"} == {"watt", "energy", "mode"}
        assert len(reader.renames()) == 2
    for refused in (Rename("alpha/main/watt", "alpha/main/energy"), Rename("beta", "alpha")):
        with pytest.raises(CannotRename):
            engine.rename(refused)
    with closing(engine.reader()) as reader:
        assert len(reader.renames()) == 2


@pytest.mark.parametrize("level", ["", "/meter", "/meter/power"])
def test_a_rename_that_is_done_is_done_again_only_if_something_has_the_old_name(engine: Engine, level: str) -> None:
    """The command is given again if the broker was away; readings may have come under the old name meanwhile."""
    entry = Rename(f"alpha{level}", "gamma" if not level else f"alpha{level}2")
    write(engine, "alpha/meter", readings(STARTS[0], 5))
    assert any(engine.rename(entry))
    assert not any(engine.rename(entry))
    write(engine, "alpha/meter", readings(STARTS[1], 5))
    assert any(engine.rename(entry))
    with closing(engine.reader()) as reader:
        assert not [one.name for one in reader.series() if f"{one.name}/".startswith(f"{entry.old}/")]


def test_names_that_both_have_only_cells_of_one_day_are_not_joined_in_a_database(server: Server) -> None:
    """Of one day, though not of one hour: alpha was renamed at noon. Of files tests/storage/test_rename.py has it."""
    engine = Postgres(server.url())
    engine.drop()
    noon = datetime(2021, 6, 1, 12, tzinfo=UTC).timestamp()
    now = datetime(2025, 2, 1, tzinfo=UTC).timestamp()
    with closing(engine.writer(keep=Keep(raw_years=1), now=lambda: now)) as writer:
        for node, start in (("alpha", noon - 43_200), ("gamma", noon)):
            writer.declare(node, "meter", INFO)
            assert writer.write(node, [Block("meter", tuple(INFO.channels), readings(start, 300))]) == []
        writer.write("shed", [Block("other", ("power",), [[now - 1e6, 1.0]])])  # the oldest years go before this one
        writer.commit({})
        writer.settle()
        while writer.maintain():
            pass
    with closing(engine.reader()) as reader:
        assert reader.raw(1, 0, 4e9, limit=9).values == []
    with pytest.raises(CannotRename, match="only"):
        engine.rename(Rename("alpha", "gamma"))


def test_producers_continue_where_they_were(engine: Engine) -> None:
    """Otherwise what a producer sends again after the rename would be stored once more, and reported as a loss."""
    write(engine, "alpha/meter", readings(STARTS[0], 5), {("alpha/bridge", "e1"): Progress(50, 2)})
    write(engine, "shed/meter", readings(STARTS[0], 5), {("shed/bridge", "e1"): Progress(7, 0)})
    engine.rename(Rename("alpha", "gamma"))
    with closing(engine.writer()) as writer:
        assert dict(writer.progress()) == {
            ("gamma/bridge", "e1"): Progress(50, 2),
            ("shed/bridge", "e1"): Progress(7, 0),
        }
    engine.rename(Rename("gamma/meter", "gamma/main"))
    with closing(engine.writer()) as writer:
        assert ("gamma/bridge", "e1") in writer.progress()


def test_a_node_that_continued_under_its_new_name_has_not_lost_what_came_before(engine: Engine) -> None:
    """Frames 1 to 50 were stored as alpha's but for 2; as gamma it declared 1 to 50 as lost, and one more later."""
    write(engine, "alpha/meter", readings(STARTS[0], 5), {("alpha/bridge", "e1"): Progress(50, 2)})
    write(engine, "gamma/meter", readings(STARTS[1], 5), {("gamma/bridge", "e1"): Progress(80, 51)})
    engine.rename(Rename("alpha", "gamma"))
    with closing(engine.writer()) as writer:
        assert dict(writer.progress()) == {("gamma/bridge", "e1"): Progress(80, 3)}


def test_no_store_is_renamed_while_its_storage_runs(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    write_to = open_writer(tmp_path)
    with closing(write_to), pytest.raises(Taken):
        store.rename(tmp_path, Rename("alpha", "gamma"))
    database = Postgres(request.getfixturevalue("server").url())
    database.drop()
    write(database, "alpha/meter", readings(STARTS[0], 5))
    with closing(open_postgres_writer(database.url, lambda: True, FOR_EVER, nodes=["alpha"])), pytest.raises(Taken):
        database.rename(Rename("alpha", "gamma"))
    with closing(open_postgres_writer(database.url, lambda: True, FOR_EVER, nodes=["shed"])):
        database.rename(Rename("alpha", "gamma"))


def test_a_writer_knows_the_renames_and_when_they_were_done(engine: Engine) -> None:
    engine.drop()
    write(engine, "alpha/meter", readings(STARTS[0], 2))
    engine.rename(Rename("alpha/meter", "alpha/main", at=STARTS[0]))
    engine.rename(Rename("alpha/main", "alpha/house"))
    with closing(engine.writer()) as writer, closing(engine.reader()) as reader:
        times = [(one.old, one.at > STARTS[1]) for one in writer.renames().entries]
        assert times == [("alpha/meter", False), ("alpha/main", True)]
        assert writer.renames().entries == reader.renames().entries


@pytest.mark.parametrize("lost", ["catalog.db", "hot.db"])
def test_a_lost_catalog_takes_no_renames_along(tmp_path: Path, lost: str) -> None:
    """Late readings need them, and so do uploads under old names."""
    engine = Embedded(tmp_path)
    write(engine, "alpha/meter", readings(STARTS[0], 2))
    engine.rename(Rename("alpha/meter", "alpha/main", "old"))
    for name in (lost, "catalog.db"):
        with closing(engine.writer()):
            pass
        schema.delete(folder(tmp_path) / name)
    with closing(engine.writer()) as writer:
        assert writer.renames().entries == (Rename("alpha/meter", "alpha/main", "old"),)


class PowerCut(BaseException):
    """What nothing catches."""


@pytest.mark.parametrize("second", ["gamma/meter", "gamma/boiler"])
def test_a_rename_that_is_interrupted_anywhere_is_done_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """After every transaction the power fails; storage may even have run before the command is given again."""

    transaction = schema.transaction
    as_wanted, whole = Embedded(tmp_path / "wanted"), Embedded(tmp_path / "whole")
    for engine, first in ((as_wanted, "gamma/meter"), (whole, "alpha/meter")):
        engine.data.mkdir()
        filled(engine, first, second, sealed=True)
    wanted = settled(as_wanted)
    for fail_at in range(1, 40):
        engine = Embedded(tmp_path / f"{fail_at}")
        shutil.copytree(whole.data, engine.data)
        left = [fail_at]

        @contextmanager
        def failing(connection: sqlite3.Connection, left: list[int] = left) -> Iterator[None]:
            left[0] -= 1
            if not left[0]:
                raise PowerCut
            with transaction(connection):
                yield

        monkeypatch.setattr(schema, "transaction", failing)
        try:
            engine.rename(Rename("alpha", "gamma"))
            cut = False
        except PowerCut:
            cut = True
        monkeypatch.setattr(schema, "transaction", transaction)
        if not cut:
            break
        if fail_at % 2:
            settled(engine)
        engine.rename(Rename("alpha", "gamma"))
        assert settled(engine) == wanted, fail_at
    assert 4 < fail_at < 39
    with closing(open_reader(engine.data)) as reader:
        assert reader.problems() == []


def test_a_rename_that_is_finished_without_hot_makes_no_empty_one(tmp_path: Path) -> None:
    filled(Embedded(tmp_path), "alpha/meter", "alpha/boiler", sealed=True)
    unfinished.begin(folder(tmp_path), Rename("alpha", "gamma"))
    schema.delete(schema.hot_file(folder(tmp_path)))
    assert unfinished.finish(folder(tmp_path))
    assert not schema.hot_file(folder(tmp_path)).exists()
