"""The commands on a store in a database, and the way there and back."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from heliograph import store
from heliograph.messages import Block, Channel, Info
from heliograph.store.interface import Progress
from tests.heliograph.conftest import running_server
from tests.heliograph.postgres_server import Server
from tests.storage.stores import ALWAYS, Points, command, difference, done, everything, make, meanings, progress

T = 1_763_633_000
CHANNELS = {
    "energy": Channel("kWh", "counter", rollover=42949.67296),
    "mode": Channel(kind="text"),
    "on": Channel(kind="state"),
}
MARK = {("roof/poller", "e1"): Progress(7, 2)}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    name = f"store{abs(hash(request.node.name))}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.url(name)


def in_database(url: str) -> dict[str, Points]:
    with closing(store.open_reader(Path(), url=url)) as reader:
        series = {one.id: one.name for one in reader.series()}
        points: dict[str, Points] = {name: [] for name in series.values()}
        for time, number, value in reader.export(list(series), *ALWAYS):
            points[series[number]].append((time, value))
    return points


def rows(start: int, count: int) -> list[Block]:
    return [
        Block(
            "meter",
            ("energy", "mode", "on"),
            [[T + i, i / 3, f"m{i % 5}", i % 2 == 0] for i in range(start, start + count)],
        ),
        Block("meter", ("energy",), [[T + start, -1.5]]),
    ]


def test_a_store_moves_into_a_database_and_back_without_losing_a_reading(tmp_path: Path, url: str) -> None:
    data = tmp_path / "data"
    with closing(store.open_writer(data)) as writer:
        writer.declare("roof", "meter", Info("m", CHANNELS))
        writer.write("roof", rows(0, 7_000))
        writer.commit({})
        assert "Storage is running" in done("copy", "--to", url, "--data", data)
        writer.write("roof", rows(3_000, 5_000))
        writer.commit(MARK)
    done("meter-replaced", "roof/meter/energy", "--at", T + 3_000, "--yes", "--data", data)
    assert "5,001 readings" in done("copy", "--to", url, "--data", data)
    assert difference(in_database(url), everything(data)) is None
    assert "which a database cannot tell" in done("copy", "--to", tmp_path / "back", "--url", url)
    assert difference(everything(tmp_path / "back"), everything(data)) is None
    assert meanings(tmp_path / "back") == meanings(data)
    assert progress(tmp_path / "back") == MARK


def test_files_are_imported_into_a_database_and_exported_from_it(tmp_path: Path, url: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text("time,power,mode\n" + "".join(f"{T + i},{i / 7},m{i % 3}\n" for i in range(6_000)))
    for _ in range(2):
        done("import", "csv", path, "--node", "roof", "--device", "meter", "--unit", "power=W", "--url", url)
    assert (
        difference(
            in_database(url),
            {
                "roof/meter/power": [(T + i, i / 7) for i in range(6_000)],
                "roof/meter/mode": [(T + i, f"m{i % 3}") for i in range(6_000)],
            },
        )
        is None
    )
    done("export", "--url", url, "-o", tmp_path / "out.csv")
    done("import", "csv", tmp_path / "out.csv", "--data", tmp_path / "data")
    assert difference(everything(tmp_path / "data"), in_database(url)) is None


def test_info_and_check_work_on_a_database(url: str) -> None:
    with closing(store.open_writer(Path(), url=url)) as writer:
        writer.write("roof", rows(0, 10))
        writer.commit({})
    info = json.loads(done("info", "--json", "--points", "--url", url))
    assert info["files"] == []
    assert [row["points"] for row in info["series"]] == [{"2025": 10}] * 3
    with psycopg.connect(url) as connection:
        version = f"PostgreSQL {connection.info.parameter_status('server_version')}"
    assert info["engine"] == version
    lines = done("info", "--url", url)
    assert lines.splitlines()[0].endswith(f", {version}")
    assert "SQLite" not in lines
    checked = done("check", "--values", "--url", url)
    assert "all 30 values can be read" in checked
    assert checked.startswith("the database answers, and has a store; its files are checked by PostgreSQL's own tools")


def test_damage_of_a_database_is_nothing_for_salvage(url: str) -> None:
    with closing(store.open_writer(Path(), url=url)) as writer:
        writer.write("roof", rows(0, 10))
        writer.commit({})
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE heliograph.reading RENAME COLUMN v TO w")
    result = command("check", "--values", "--url", url)
    assert result.exit_code == 1
    assert "salvage" not in result.output


def test_a_database_that_does_not_answer_is_explained(tmp_path: Path) -> None:
    make(tmp_path, rows(0, 1), CHANNELS)
    for arguments in (("info", "--url"), ("copy", "--data", tmp_path, "--to")):
        result = command(*arguments, "postgresql://me:secret@127.0.0.1:9/nothing?connect_timeout=2")
        assert result.exit_code == 1
        assert "secret" not in result.output
        assert "Traceback" not in result.output
