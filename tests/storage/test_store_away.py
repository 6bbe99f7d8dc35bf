"""Storage beside a store that cannot be opened or written for a while."""

import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliograph import store
from heliograph.messages import Block, Frame
from heliograph.store.interface import Reader
from tests.heliograph.postgres_server import Server
from tests.mqtt_recorder import Recorder

JOURNAL = "heliograph/pi1/services/meter/journal"
NOON = 1_763_633_000.0


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL that does not run yet."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # tmp_path is closed to other users
        made = Server(Path(name))
        yield made
        made.remove()


def configure(folder: Path, port: int, url: str = "") -> str:
    path = folder / "config.toml"
    path.write_text(
        f'[node]\nname = "pi1"\ndata = "{folder}/data"\nclock = "trust"\nstore = "{url}"\n'
        f"[broker]\nport = {port}\n[storage]\ncommit_seconds = 0.1\n"
    )
    return str(path)


def publish(recorder: Recorder, *sequences: int) -> None:
    for number in sequences:
        rows = [[NOON + number, number]]
        recorder.publish(JOURNAL, msgspec.json.encode(Frame([Block("meter", ("power",), rows)], "e1", number, 1)))


def stored(reader: Reader) -> list[object]:
    return [value for arrival in reader.since(0, 100) for value in arrival.values.values()]


def write_error(recorder: Recorder) -> Any:
    return recorder.status.get("facts", {}).get("write_error")


def test_a_database_that_is_away_is_waited_for_and_gets_every_reading_once(
    tmp_path: Path, broker: Any, server: Server, processes: Any, eventually: Callable[..., Any]
) -> None:
    with Recorder(broker.port) as recorder, closing(store.open_reader(tmp_path, url=server.url())) as reader:
        process = processes.start("services.storage", configure(tmp_path, broker.port, server.url()))
        eventually(lambda: "PostgreSQL database postgres on 127.0.0.1: " in (write_error(recorder) or ""))
        publish(recorder, 1, 2, 1)
        server.start()
        eventually(lambda: write_error(recorder) == "")
        publish(recorder, 3)
        eventually(lambda: stored(reader) == [1, 2, 3])
        server.stop()
        publish(recorder, 4, 5)
        eventually(lambda: write_error(recorder))
        server.start()
        eventually(lambda: write_error(recorder) == "")
        publish(recorder, 5, 6)
        eventually(lambda: stored(reader) == [1, 2, 3, 4, 5, 6])
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert processes.output().count("nothing is acknowledged") == processes.output().count("writing again") == 2
    assert "Traceback" not in processes.output()


def test_a_store_that_another_process_writes_is_waited_for(
    tmp_path: Path, broker: Any, processes: Any, eventually: Callable[..., Any]
) -> None:
    with Recorder(broker.port) as recorder, closing(store.open_reader(tmp_path / "data")) as reader:
        with closing(store.open_writer(tmp_path / "data")):
            processes.start("services.storage", configure(tmp_path, broker.port))
            eventually(lambda: "another process uses this store" in (write_error(recorder) or ""))
            publish(recorder, 1, 2)
        eventually(lambda: stored(reader) == [1, 2])
        eventually(lambda: write_error(recorder) == "")
    assert processes.output().count("nothing is acknowledged") == 1


def test_a_node_that_another_storage_writes_into_the_database_is_waited_for(
    tmp_path: Path, broker: Any, server: Server, processes: Any, eventually: Callable[..., Any]
) -> None:
    server.start()
    with Recorder(broker.port) as recorder, closing(store.open_reader(tmp_path, url=server.url())) as reader:
        with closing(store.open_writer(tmp_path, url=server.url(), nodes=["pi1"])):
            processes.start("services.storage", configure(tmp_path, broker.port, server.url()))
            eventually(lambda: "node pi1 is written by another storage (host" in (write_error(recorder) or ""))
            publish(recorder, 1, 2)
        eventually(lambda: stored(reader) == [1, 2])
        eventually(lambda: write_error(recorder) == "")
    assert processes.output().count("nothing is acknowledged") == 1


def test_a_store_of_a_newer_version_is_left_alone_and_storage_waits_and_says_why(
    tmp_path: Path, broker: Any, processes: Any, eventually: Callable[..., Any]
) -> None:
    path = store.folder(tmp_path / "data") / "catalog.db"
    store.open_writer(tmp_path / "data").close()

    def put_format(number: int) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE meta SET value=? WHERE key='format'", (number,))
            db.commit()

    put_format(9)
    with Recorder(broker.port) as recorder, closing(store.open_reader(tmp_path / "data")) as reader:
        process = processes.start("services.storage", configure(tmp_path, broker.port))
        eventually(lambda: "has format 9; this version of Heliograph reads 1" in (write_error(recorder) or ""))
        publish(recorder, 1, 2)
        assert process.poll() is None
        put_format(1)
        eventually(lambda: stored(reader) == [1, 2])
    assert processes.output().count("nothing is acknowledged") == 1


def test_storage_mends_a_lost_catalog_when_it_starts_and_its_status_has_it(
    tmp_path: Path, broker: Any, processes: Any, eventually: Callable[..., Any]
) -> None:
    data = tmp_path / "data"
    with closing(store.open_writer(data)) as writer:
        writer.write("pi1", [Block("meter", ("power",), [[NOON, 0]])])
        writer.commit({})
    (store.folder(data) / "catalog.db").write_bytes(b"")
    with Recorder(broker.port) as recorder, closing(store.open_reader(data)) as reader:
        process = processes.start("services.storage", configure(tmp_path, broker.port))
        eventually(lambda: "catalog.db was empty" in str(recorder.status.get("facts", {}).get("store_problems")))
        publish(recorder, 1)
        eventually(lambda: stored(reader) == [0, 1])
        assert process.poll() is None
    assert processes.output().count("catalog.db was empty; it was made again") == 1
