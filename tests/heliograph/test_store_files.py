"""What only a store of files does: other processes, read-only folders, full disks, files that are not ours."""

import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.lock import Taken
from heliograph.messages import Block, Value
from heliograph.store import folder, open_reader, open_writer
from heliograph.store.interface import Reader, Writer
from heliograph.store.reader import SqliteReader

T0 = 1_763_596_800.0  # 2025-11-20 00:00 UTC


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    opened = open_writer(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    opened = open_reader(tmp_path)
    yield opened
    opened.close()


def meter(*rows: Sequence[object]) -> list[Block]:
    return [Block("meter", ("power",), [list(row) for row in rows])]


def values(reader: Reader, name: str = "roof/meter/power") -> list[Value]:
    ids = {one.name: one.id for one in reader.series()}
    return reader.raw(ids[name], 0, 1e11, limit=10**6).values if name in ids else []


def test_a_reader_sees_a_store_that_replaced_another(tmp_path: Path, reader: Reader) -> None:
    first = open_writer(tmp_path)
    first.write("roof", meter(*([T0 + n, 1.0] for n in range(5))))
    first.commit({})
    assert len(values(reader)) == 5
    assert reader.latest([1])[1].value == 1.0
    first.close()
    folder(tmp_path).rename(tmp_path / "aside")
    with pytest.raises(StoreAway):
        reader.series()
    second = open_writer(tmp_path)
    second.write("shed", [Block("boiler", ("level",), [[T0, 7.0]])])
    second.commit({})
    assert [one.name for one in reader.series()] == ["shed/boiler/level"]
    assert reader.latest([1])[1].value == 7.0
    assert values(reader, "shed/boiler/level") == [7.0]
    second.close()


GARBAGE = (b"not a database, but long enough to be one" * 100, b"\xff" * 5000)


@pytest.mark.parametrize("name", ["catalog.db", "hot.db"])
@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, reader: Reader, name: str, garbage: bytes) -> None:
    open_writer(tmp_path).close()
    file = folder(tmp_path) / name
    good = file.read_bytes()
    file.write_bytes(good[:100] + garbage)
    with pytest.raises(StoreDamaged) as error:
        reader.series()
    assert name in str(error.value)
    assert "\n" not in str(error.value)
    file.write_bytes(good)
    assert reader.series() == []


@pytest.mark.parametrize("garbage", GARBAGE)
def test_names_that_cannot_be_read_are_made_again_and_the_file_is_kept(tmp_path: Path, garbage: bytes) -> None:
    open_writer(tmp_path).close()
    (folder(tmp_path) / "catalog.db").write_bytes(garbage)
    with closing(open_writer(tmp_path)) as writer:
        assert [problem for problem in writer.problems() if "catalog.db could not be read" in problem]
    (aside,) = folder(tmp_path).glob("catalog.db.damaged-*")
    assert aside.read_bytes() == garbage


@pytest.mark.parametrize("garbage", GARBAGE)
def test_new_readings_are_written_although_the_file_of_earlier_ones_is_damaged(
    tmp_path: Path, reader: Reader, garbage: bytes
) -> None:
    writer = open_writer(tmp_path)
    writer.write("roof", meter([T0, 1.0], [T0 + 1, 2.0]))
    writer.commit({})
    writer.settle()
    writer.write("roof", meter([T0 + 2, 3.0]))
    writer.commit({})
    writer.close()
    newest = reader.since(0, 10)[-1].cursor
    (folder(tmp_path) / "hot.db").write_bytes(garbage)
    writer = open_writer(tmp_path)
    writer.write("roof", meter([T0 + 3, 4.0]))
    writer.commit({})
    assert values(reader) == [1.0, 2.0, 4.0]
    assert [arrival.values for arrival in reader.since(newest, 10)] == [{"power": 4.0}]
    assert any("hot.db" in problem for problem in writer.problems())
    writer.close()


def test_another_format_is_refused_by_writer_and_reader(tmp_path: Path, reader: Reader) -> None:
    open_writer(tmp_path).close()
    connection = sqlite3.connect(folder(tmp_path) / "hot.db")
    connection.execute("UPDATE meta SET value=99 WHERE key='format'")
    connection.commit()
    connection.close()
    for open_it in (lambda: open_writer(tmp_path), reader.series):
        with pytest.raises(StoreDamaged, match=r"hot.db has format 99"):
            open_it()


def test_a_place_that_cannot_hold_a_store_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        open_writer(tmp_path / "file")


def test_half_made_files_are_a_store_that_is_away(tmp_path: Path, reader: Reader) -> None:
    folder(tmp_path).mkdir()
    for name in ("catalog.db", "hot.db"):
        (folder(tmp_path) / name).write_bytes(b"")
        with pytest.raises(StoreAway, match="being created"):
            reader.series()


READ_ONLY = """
import os, sys
from pathlib import Path
from heliograph.errors import StoreAway
from heliograph.store import open_reader
data = Path(sys.argv[1])
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
reader = open_reader(data)
for line in sys.stdin:
    try:
        print([p.value for p in reader.latest([1]).values()], reader.raw(1, 0, 1e11, limit=99).values, flush=True)
    except StoreAway:
        print("away", flush=True)
try:
    Path(data, "store", "x").touch()
except OSError:
    sys.exit(0)
sys.exit("the folder is not read-only")
"""


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to other users
        data = Path(name)
        data.chmod(0o755)
        yield data
        protect(data, writable=True)


def test_a_reader_that_may_not_write_follows_a_writer_that_comes_and_goes(open_to_all: Path) -> None:
    # as in compose.yaml, where api mounts the store read-only: another user, or at least no right to write
    data, written = open_to_all, list[float]()
    command = [sys.executable, "-c", READ_ONLY, str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:

        def seen() -> str:
            assert other.stdin
            assert other.stdout
            protect(data)
            other.stdin.write("\n")
            other.stdin.flush()
            answer = other.stdout.readline().strip()
            protect(data, writable=True)
            return answer

        folder(data).mkdir()
        assert seen() == "away"
        for _ in range(3):
            writer = open_writer(data)
            for _ in range(2):
                written.append(float(len(written)))
                writer.write("roof", meter([T0 + len(written), written[-1]]))
                writer.commit({})
                assert seen() == f"{written[-1:]} {written}"
            written.append(float(len(written)))
            writer.write("roof", meter([T0 + len(written), written[-1]]))
            writer.commit({})
            writer.close()
            assert seen() == f"{written[-1:]} {written}"
        protect(data)
        assert other.stdin
        other.stdin.close()
        assert other.wait() == 0


def protect(data: Path, *, writable: bool = False) -> None:
    store = folder(data)
    for file in store.iterdir():
        file.chmod(0o644 if writable else 0o444)
    store.chmod(0o755 if writable else 0o555)


FULL = """
import resource, sys
from pathlib import Path
from heliograph.messages import Block, Channel, Info
from heliograph.store import folder, open_reader, open_writer
from heliograph.store.interface import Progress

for limit in (60_000, 100_000, 130_000, 200_000, 250_000):
    data = Path(sys.argv[1]) / str(limit)
    writer, refused, n, last = open_writer(data), 0, 0, 300
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    kept = {}
    while n < last:
        n += 1
        # new devices, channels, texts all the time: the catalog runs into the limit as well as hot.db
        block = Block(f"d{n}", ("power", f"c{n}", "mode"), [[1.7e9 + n, float(n), 1.0, f"text {n} " + "x" * 200]])
        writer.write("roof", [block])
        try:
            writer.commit({("roof/bridge", "e"): Progress(n, 0)})
        except OSError as error:
            assert "\\n" not in str(error)
            refused += 1
            if refused == 20:
                assert writer.pending >= 20
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                last = n + 20
    assert refused == 20, refused
    assert writer.pending == 0
    reader = open_reader(data)
    found = reader.since(0, 1000)
    assert [(a.device, a.values) for a in found] == [
        (f"d{n}", {"power": float(n), f"c{n}": 1.0, "mode": f"text {n} " + "x" * 200}) for n in range(1, last + 1)
    ], len(found)
    assert writer.progress() == {("roof/bridge", "e"): Progress(last, 0)}
    assert len(reader.series()) == 3 * last
    reader.close()
    writer.close()
"""


def test_a_full_disk_is_an_os_error_and_nothing_is_lost_once_there_is_space(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_reads_only_new_frames(tmp_path: Path, writer: Writer) -> None:
    plain = sqlite3.connect(f"{(folder(tmp_path) / 'hot.db').as_uri()}?mode=ro", uri=True)
    reader = open_reader(tmp_path)
    questions: list[str] = []
    for n in range(3):
        writer.write("roof", meter([T0 + n, 1.0]))
        writer.commit({})
        assert len(reader.since(0, 10)) == n + 1
        assert isinstance(reader, SqliteReader)
        reader._files.hot().set_trace_callback(questions.append)
    asked = [question for question in questions if "FROM frame" in question]
    assert len([question for question in asked if question.startswith("SELECT *") and "seq > " in question]) == 2
    assert not any("seq > 0 " in question for question in asked)
    for question in asked:
        reads = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {question}")]
        assert all(line.startswith("SEARCH frame") for line in reads), (question, reads)
    plain.close()
    reader.close()


def test_a_second_writer_of_the_same_store_is_refused(tmp_path: Path) -> None:
    first = open_writer(tmp_path)
    with pytest.raises(Taken, match="another process uses this store"):
        open_writer(tmp_path)
    first.close()
    open_writer(tmp_path).close()
