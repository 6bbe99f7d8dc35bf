"""The store against a plain list that keeps everything and searches all of it."""

import math
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.lock import Taken
from heliograph.messages import Block, Channel, Info, Kind, Value
from heliograph.store import folder, open_reader, open_writer
from heliograph.store.interface import FUNCTIONS, Arrival, Function, Progress, Reader, Series, Writer
from heliograph.store.reader import SqliteReader
from heliograph.store.totals import aggregate, column

T0 = 1_763_596_800.0  # 2025-11-20 00:00 UTC
CHANNELS = ("power", "mode", "heating", "energy")
KINDS: dict[str, Kind] = {"power": "gauge", "mode": "text", "heating": "state", "energy": "counter"}
INFO = Info("Model", {name: Channel("", kind) for name, kind in KINDS.items()})


class Model:
    """Every value in order of arrival, in lists."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.committed = 0

    def write(self, node: str, block: Block) -> None:
        for time_, *values in block.rows:
            named = {n: v for n, v in zip(block.channels, values, strict=True) if v is not None}
            self.arrivals.append(Arrival(len(self.arrivals) + 1, node, block.device, round(time_ * 1000) / 1000, named))

    def forget_uncommitted(self) -> None:
        del self.arrivals[self.committed :]

    def points(self, name: str) -> list[tuple[float, Value]]:
        node, device, channel = name.split("/")
        found: dict[float, Value] = {}
        for arrival in self.arrivals[: self.committed]:
            if (arrival.node, arrival.device) == (node, device) and channel in arrival.values:
                found[arrival.time] = stored(channel, arrival.values[channel])
        return sorted(found.items())


def stored(channel: str, value: Value) -> Value:
    if channel == "heating":
        return bool(value)
    return value if isinstance(value, str) else float(value)


def same(a: object, b: object) -> bool:
    """Equal, and of the same type and sign: 0.0 is not -0.0, 1.0 is not True."""
    return repr(a) == repr(b)


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0.0, -0.0, 5e-324, sys.float_info.max, 0.1 + 0.2, 54.8, 1e22, 2**53 + 1]),
)
VALUES: dict[str, st.SearchStrategy[Value | None]] = {
    "power": st.none() | numbers,
    "mode": st.none() | st.text(max_size=5) | st.sampled_from(["float", "bulk", "", "ü\0ü"]),
    "heating": st.none() | st.booleans(),
    "energy": st.none() | st.integers(0, 1000) | st.floats(0, 1e6),
}
# few distinct times, so that many readings meet at the same one; some days apart, some late
times = st.builds(
    lambda day, second, ms: T0 + day * 86_400 + second + ms / 1000,
    st.sampled_from([0, 0, 0, 1, 4, -3, 40]),
    st.sampled_from([0, 1, 2, 59, 3_600, 43_200, 86_399]),
    st.sampled_from([0, 0, 1, 123, 999]),
)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    channels = draw(st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=4, unique=True))
    rows = draw(st.lists(st.tuples(times, *(VALUES[name] for name in channels)).map(list), max_size=6))
    return Block(draw(st.sampled_from(["meter", "boiler"])), tuple(channels), rows)


steps = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(["roof", "shed"]), st.lists(blocks(), max_size=3)),
    st.tuples(st.just("again"), st.integers(0, 20), st.none()),
    st.tuples(st.sampled_from(["commit", "reopen", "ask"]), st.none(), st.none()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    history=st.lists(steps, max_size=14),
    cuts=st.lists(times, min_size=2, max_size=6, unique=True),
    limit=st.integers(1, 7),
)
def test_any_history_reads_like_a_plain_list(
    history: list[tuple[str, object, object]], cuts: list[float], limit: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        data, model, written = Path(name), Model(), list[tuple[str, Block]]()
        reader = open_reader(data)
        with pytest.raises(StoreAway):
            reader.series()
        writer = declared(data)
        for what, first, second in [*history, ("commit", None, None), ("ask", None, None)]:
            if what == "write":
                assert isinstance(second, list)
                written += [(str(first), block) for block in second]
                assert writer.write(str(first), second) == []
                for block in second:
                    model.write(str(first), block)
            elif what == "again" and written:
                node, block = written[int(str(first)) % len(written)]
                assert writer.write(node, [block]) == []
                model.write(node, block)
            elif what == "commit":
                writer.commit({})
                model.committed = len(model.arrivals)
            elif what == "reopen":
                writer.close()
                model.forget_uncommitted()
                writer = declared(data)
            elif what == "ask":
                compare(reader, model, sorted(cuts), limit)
        writer.close()
        compare(reader, model, sorted(cuts), limit)
        reader.close()


def declared(data: Path) -> Writer:
    writer = open_writer(data)
    for node in ("roof", "shed"):
        for device in ("meter", "boiler"):
            assert writer.declare(node, device, INFO) == []
    return writer


def compare(reader: Reader, model: Model, cuts: list[float], limit: int) -> None:
    committed = model.arrivals[: model.committed]
    assert same(
        everything_since(reader, limit),
        [a._replace(values={c: stored(c, v) for c, v in a.values.items()}) for a in committed],
    )
    for one in reader.series():
        points = model.points(one.name)
        assert same(raw(reader, one.id, 0, 1e11, limit), points)
        start, end = cuts[0], cuts[-1]
        inside = [point for point in points if start <= point[0] < end]
        assert same(raw(reader, one.id, start, end, limit), inside)
        assert same([(t, v) for t, _, v in reader.export([one.id], start, end)], inside)
        assert same([tuple(p) for p in reader.latest([one.id]).values()], points[-1:])
        if one.kind != "text":
            compare_totals(reader, one, points, cuts)
    ids = [one.id for one in reader.series()]
    exported = list(reader.export(ids, 0, 1e11))
    assert [(t, i) for t, i, _ in exported] == sorted((t, i) for t, i, _ in exported)
    assert len(exported) == sum(len(model.points(one.name)) for one in reader.series())


def compare_totals(reader: Reader, one: Series, points: list[tuple[float, Value]], cuts: list[float]) -> None:
    buckets = aggregate([(t, float(v)) for t, v in points], cuts)
    wanted = {function: column(buckets, function) for function in FUNCTIONS}
    assert same(reader.aggregate(one.id, cuts, FUNCTIONS), wanted)
    for function in FUNCTIONS:
        assert same(reader.aggregate(one.id, cuts, [function]), {function: wanted[function]})


def raw(reader: Reader, series: int, start: float, end: float, limit: int) -> list[tuple[float, Value]]:
    points: list[tuple[float, Value]] = []
    after: float | None = None
    while True:
        page = reader.raw(series, start, end, limit=limit, after=after)
        assert len(page.times) == len(page.values) <= limit
        points += zip(page.times, page.values, strict=True)
        if page.next is None:
            return points
        assert len(page.times) == limit
        after = page.next


def everything_since(reader: Reader, limit: int) -> list[Arrival]:
    arrivals: list[Arrival] = []
    while found := reader.since(arrivals[-1].cursor if arrivals else 0, limit):
        assert len(found) <= limit
        arrivals += found
    return arrivals


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
    found = {one.name: one.id for one in reader.series()}
    return reader.raw(found[name], 0, 1e11, limit=10**6).values if name in found else []


def test_the_last_arrival_wins_at_one_time_in_one_commit_and_across_commits(writer: Writer, reader: Reader) -> None:
    writer.write("roof", meter([T0, 1.0], [T0, 2.0]))
    writer.commit({})
    assert values(reader) == [2.0]
    writer.write("roof", meter([T0, 3.0]))
    writer.commit({})
    assert values(reader) == [3.0]
    assert reader.latest([1])[1].value == 3.0


def test_an_absent_value_does_not_hide_the_one_that_arrived_before(writer: Writer, reader: Reader) -> None:
    writer.write("roof", meter([T0, 1.0], [T0, None]))
    writer.commit({})
    assert values(reader) == [1.0]
    assert reader.latest([1])[1].value == 1.0
    assert reader.since(0, 10)[1].values == {}


def test_a_late_reading_is_not_the_latest(writer: Writer, reader: Reader) -> None:
    writer.write("roof", meter([T0, 1.0]))
    writer.commit({})
    assert reader.latest([1, 77]) == {1: (T0, 1.0)}
    writer.write("roof", meter([T0 - 500, 2.0]))
    writer.commit({})
    assert reader.latest([1]) == {1: (T0, 1.0)}
    assert values(reader) == [2.0, 1.0]


def test_more_readings_than_one_zone_and_one_scan_are_all_found(writer: Writer, reader: Reader) -> None:
    writer.write("roof", meter(*([T0 + n, float(n)] for n in range(12_000))))
    writer.commit({})
    assert values(reader) == [float(n) for n in range(12_000)]
    assert reader.latest([1])[1].value == 11_999
    writer.write("roof", meter([T0 - 86_400 * 400, -1.0], *([T0 + n, float(n)] for n in range(12_000, 21_000))))
    writer.commit({})
    assert values(reader) == [-1.0, *(float(n) for n in range(21_000))]
    assert len(everything_since(reader, 1000)) == 21_001
    assert len(list(reader.export([1], 0, 1e11))) == 21_001


def test_what_is_not_a_reading_is_refused_and_the_good_around_it_is_kept(writer: Writer, reader: Reader) -> None:
    rows: list[list[object]] = [
        [T0, 1.0],
        [T0 + 1],
        [T0 + 2, 1.0, 2.0],
        [],
        [None, 1.0],
        ["yesterday", 1.0],
        [True, 1.0],
        [math.nan, 1.0],
        [math.inf, 1.0],
        [1e300, 1.0],
        [0, 1.0],
        [time.time() + 90_000, 1.0],
        [T0 + 3, 2.0],
    ]
    assert len(writer.write("roof", meter(*rows))) == 11
    writer.commit({})
    assert values(reader) == [1.0, 2.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, "on", [1], {"a": 1}, b"x", "x" * 300])
def test_what_is_not_a_value_is_refused_and_its_neighbours_are_kept(
    writer: Writer, reader: Reader, value: object
) -> None:
    writer.declare("roof", "meter", INFO)
    block = Block("meter", ("power", "energy"), [[T0, value, 1.0], [T0 + 1, 2.0, value]])
    refusals = writer.write("roof", [block])
    assert len(refusals) == 2
    assert all(len(refusal.what) <= 200 for refusal in refusals)
    writer.commit({})
    assert values(reader) == [2.0]
    assert values(reader, "roof/meter/energy") == [1.0]


@pytest.mark.parametrize(
    ("device", "channels"),
    [
        ("a/b", ("power",)),
        ("+", ("power",)),
        ("", ("power",)),
        ("meter", ()),
        ("meter", ("power", "power")),
        ("meter", ("Power",)),
        ("meter", ("po/wer",)),
        ("meter", tuple(f"c{n}" for n in range(1001))),
    ],
)
def test_hostile_names_are_refused(writer: Writer, reader: Reader, device: str, channels: tuple[str, ...]) -> None:
    refusals = writer.write("roof", [Block(device, channels, [[T0, *([1.0] * len(channels))]]), *meter([T0, 1.0])])
    assert len(refusals) == 1
    assert writer.declare("roof", device, Info("", dict.fromkeys(channels, Channel()))) or device == "meter"
    writer.commit({})
    assert [one.name for one in reader.series()] == ["roof/meter/power"]


def test_a_channel_cannot_change_between_text_and_number(writer: Writer, reader: Reader) -> None:
    writer.write("roof", [Block("meter", ("power", "mode"), [[T0, 1.0, "bulk"]])])
    refusals = writer.declare("roof", "meter", Info("", {"power": Channel("", "text"), "mode": Channel("W", "gauge")}))
    assert [refusal.what for refusal in refusals] == ["meter/power", "meter/mode"]
    assert writer.write("roof", [Block("meter", ("power", "mode"), [[T0 + 1, "on", 7]])])
    writer.commit({})
    assert values(reader) == [1.0]
    assert values(reader, "roof/meter/mode") == ["bulk", "7"]


def test_units_and_kinds_follow_what_is_declared_last(writer: Writer, reader: Reader) -> None:
    writer.write("roof", meter([T0, 1]))
    writer.commit({})
    assert [(one.unit, one.kind) for one in reader.series()] == [("", "gauge")]
    assert writer.declare("roof", "meter", Info("", {"power": Channel("W", "state"), "new": Channel("V")})) == []
    assert [(one.unit, one.kind) for one in reader.series()] == [("", "gauge")]
    writer.commit({})
    assert [(one.unit, one.kind) for one in reader.series()] == [("W", "state"), ("V", "gauge")]
    assert values(reader) == [True]
    assert reader.latest([2]) == {}


def test_a_text_has_first_last_and_a_number_but_no_mean(writer: Writer, reader: Reader) -> None:
    writer.write("roof", [Block("meter", ("mode",), [[T0, "bulk"], [T0 + 1, "float"]])])
    writer.commit({})
    assert reader.aggregate(1, [T0, T0 + 10, T0 + 20], ["n", "first", "last", "mean", "delta"]) == {
        "n": [2, 0],
        "first": ["bulk", None],
        "last": ["float", None],
        "mean": [None, None],
        "delta": [None, None],
    }


def test_a_delta_does_not_depend_on_where_the_question_begins(writer: Writer, reader: Reader) -> None:
    day = 86_400
    writer.write("roof", meter([T0, 100.0], [T0 + 9 * day, 130.0]))
    writer.commit({})
    assert reader.aggregate(1, [T0 + 9 * day, T0 + 10 * day], ["delta"]) == {"delta": [30.0]}
    assert reader.aggregate(1, [T0, T0 + 9 * day, T0 + 10 * day], ["delta"]) == {"delta": [None, 30.0]}


def test_progress_is_durable_with_its_readings_and_the_newest_epoch_comes_last(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.write("roof", meter([T0, 1.0]))
    writer.commit({("roof/bridge", "zz"): Progress(4, 1), ("roof/bridge", "aa"): Progress(1, 0)})
    writer.commit({("roof/bridge", "aa"): Progress(2, 0)})
    writer.close()
    writer = open_writer(tmp_path)
    assert list(writer.progress().items()) == [
        (("roof/bridge", "zz"), Progress(4, 1)),
        (("roof/bridge", "aa"), Progress(2, 0)),
    ]
    writer.close()


def test_the_newest_epoch_stays_the_newest_when_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path)
    writer.commit({("roof/bridge", "old"): Progress(4, 0)})
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    writer.commit({("roof/bridge", "new"): Progress(1, 0)})
    assert [epoch for _, epoch in writer.progress()] == ["old", "new"]
    writer.close()


def test_without_a_clock_to_believe_no_reading_is_from_the_future(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, lambda: False)
    assert writer.write("roof", meter([time.time() + 1e6, 1.0])) == []
    assert len(writer.write("roof", meter([1.0, 1.0], [math.inf, 1.0]))) == 2
    writer.close()


def test_the_identity_of_a_store_stays(tmp_path: Path) -> None:
    first = open_writer(tmp_path)
    first.close()
    second = open_writer(tmp_path)
    assert first.identity == second.identity
    second.close()
    other = open_writer(tmp_path / "other")
    assert first.identity != other.identity
    other.close()


def test_what_is_not_committed_is_forgotten_and_its_names_do_no_harm(tmp_path: Path, reader: Reader) -> None:
    writer = open_writer(tmp_path)
    writer.write("roof", [Block("meter", ("lost",), [[T0, "never"]])])
    assert writer.pending == 1
    writer.close()
    writer = open_writer(tmp_path)
    assert writer.pending == 0
    writer.write("roof", [Block("meter", ("mode", "power"), [[T0, "kept", 1.0]])])
    writer.commit({})
    assert [one.channel for one in reader.series()] == ["mode", "power"]
    assert values(reader, "roof/meter/mode") == ["kept"]
    writer.close()


def test_a_reader_sees_the_store_that_took_the_place_of_another(tmp_path: Path, reader: Reader) -> None:
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


def test_a_reader_never_misses_what_was_committed_while_the_writer_goes_on(writer: Writer, reader: Reader) -> None:
    committed, failures, done = [0], list[BaseException](), threading.Event()

    def write() -> None:
        try:
            for n in range(400):
                # every commit has a new device, a new layout and a new text; the readings are numbered
                block = Block(f"d{n % 40}", ("number", f"c{n}", "mode"), [[T0 + n, float(n), 0.5, f"text {n}"]])
                assert writer.write("roof", [block, *meter([T0 + n, float(n)])]) == []
                writer.commit({})
                committed[0] = n + 1
        except BaseException as failure:
            failures.append(failure)
            raise
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        known = committed[0]
        if not known:
            continue
        ids = {one.name: one.id for one in reader.series()}
        mine = ids["roof/meter/power"]
        found = reader.raw(mine, 0, 1e11, limit=10**6).values
        assert found == [float(n) for n in range(len(found))]
        assert len(found) >= known
        assert float(str(reader.latest([mine])[mine].value)) >= known - 1
        last = reader.since(2 * (known - 1), 1)[0]
        assert last.values["mode"] == f"text {known - 1}"
        assert reader.aggregate(mine, [T0, T0 + known], ["n"])["n"] == [known]
    thread.join()
    assert not failures


def test_damaged_files_are_named_in_one_line(tmp_path: Path, reader: Reader) -> None:
    for name in ("catalog.db", "hot.db"):
        open_writer(tmp_path).close()
        file = folder(tmp_path) / name
        good = file.read_bytes()
        for garbage in (b"not a database, but long enough to be one" * 100, good[:100] + b"\xff" * 5000):
            file.write_bytes(garbage)
            for open_it in (lambda: open_writer(tmp_path), reader.series):
                with pytest.raises(StoreDamaged) as error:
                    open_it()
                assert name in str(error.value)
                assert "\n" not in str(error.value)
        file.write_bytes(good)
    assert reader.series() == []


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
    (folder(tmp_path) / "hot.db").mkdir(parents=True)
    with pytest.raises(OSError, match=r"hot\.db"):
        open_writer(tmp_path)


def test_half_made_files_are_a_store_that_is_away(tmp_path: Path, reader: Reader) -> None:
    folder(tmp_path).mkdir()
    for name in ("catalog.db", "hot.db"):
        (folder(tmp_path) / name).write_bytes(b"")
        with pytest.raises(StoreAway):
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

data = Path(sys.argv[1])
limit = int(sys.argv[2])
writer, refused, n = open_writer(data), 0, 0
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
kept = {}
while n < 300:
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
assert refused == 20, refused
assert writer.pending == 0
reader = open_reader(data)
found = reader.since(0, 1000)
assert [(a.device, a.values) for a in found] == [
    (f"d{n}", {"power": float(n), f"c{n}": 1.0, "mode": f"text {n} " + "x" * 200}) for n in range(1, 301)
], len(found)
assert writer.progress() == {("roof/bridge", "e"): Progress(300, 0)}
assert len(reader.series()) == 900
"""


@pytest.mark.parametrize("limit", [60_000, 100_000, 130_000, 200_000, 250_000])
def test_a_full_disk_is_an_os_error_and_nothing_is_lost_once_there_is_space(tmp_path: Path, limit: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(limit)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_question_reads_more_of_hot_than_the_zones_it_needs(tmp_path: Path, writer: Writer) -> None:
    writer.write("roof", meter([T0, 1.0]))
    writer.commit({})
    questions: list[str] = []
    plain = sqlite3.connect(f"{(folder(tmp_path) / 'hot.db').as_uri()}?mode=ro", uri=True)
    reader = open_reader(tmp_path)
    functions: list[Function] = ["delta"]
    reader.latest([1])  # opens the files
    assert isinstance(reader, SqliteReader)
    assert reader._files
    hot = reader._files[1].connection
    hot.set_trace_callback(questions.append)
    values(reader)
    reader.since(0, 10)
    reader.aggregate(1, [T0, T0 + 1], functions)
    hot.set_trace_callback(None)
    asked = [question for question in questions if "FROM frame" in question]
    assert len(asked) >= 4
    for question in asked:
        plan = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {question}")]
        reads = [line for line in plan if "frame" in line]
        assert reads
        assert all(line.startswith("SEARCH frame") for line in reads), (question, plan)
        assert not any("TEMP B-TREE" in line for line in plan), (question, plan)
    plain.close()
    reader.close()


def test_a_second_writer_of_the_same_store_is_refused(tmp_path: Path) -> None:
    first = open_writer(tmp_path)
    with pytest.raises(Taken, match="another process uses this store"):
        open_writer(tmp_path)
    first.close()
    open_writer(tmp_path).close()
