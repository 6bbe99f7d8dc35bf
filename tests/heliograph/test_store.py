"""The contract of every implementation of the store: readings, names and queries."""

import itertools
import math
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from heliograph.messages import Block, Channel, Info, Kind, Value
from heliograph.store.interface import FUNCTIONS, Progress, Reader, Writer
from tests.heliograph.engines import Engine
from tests.heliograph.plain_list import INFO, T0, everything_since


@pytest.fixture
def writer(engine: Engine) -> Iterator[Writer]:
    opened = engine.writer()
    yield opened
    opened.close()


@pytest.fixture
def reader(engine: Engine) -> Iterator[Reader]:
    opened = engine.reader()
    yield opened
    opened.close()


def meter(*rows: Sequence[object]) -> list[Block]:
    return [Block("meter", ("power",), [list(row) for row in rows])]


def values(reader: Reader, name: str = "roof/meter/power") -> list[Value]:
    ids = {one.name: one.id for one in reader.series()}
    return reader.raw(ids[name], 0, 1e11, limit=10**6).values if name in ids else []


def test_the_last_arrival_wins_at_one_time_in_one_commit_and_across_commits(writer: Writer, reader: Reader) -> None:
    writer.write("roof", meter([T0, 1.0], [T0, 2.0]))
    writer.commit({})
    assert values(reader) == [2.0]
    writer.write("roof", meter([T0, 3.0]))
    writer.commit({})
    assert values(reader) == [3.0]
    assert reader.latest([1])[1].value == 3.0


def test_an_absent_value_does_not_replace_the_one_that_arrived_before(writer: Writer, reader: Reader) -> None:
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


def test_the_latest_until_a_time_is_not_the_one_that_came_from_a_clock_that_was_ahead(
    writer: Writer, reader: Reader
) -> None:
    writer.write("roof", meter([T0, 1.0], [T0 + 3600, 3.0], [T0 + 86_400 * 30, 4.0]))
    writer.commit({})
    assert reader.latest([1], T0 + 3599) == {1: (T0, 1.0)}
    assert reader.latest([1], T0 + 3600) == {1: (T0 + 3600, 3.0)}
    assert reader.latest([1], T0 - 0.001) == {}
    assert reader.latest([1]) == {1: (T0 + 86_400 * 30, 4.0)}


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


def test_an_invalid_reading_is_refused_and_the_valid_ones_around_it_are_kept(writer: Writer, reader: Reader) -> None:
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
def test_an_invalid_value_is_refused_and_its_neighbours_are_kept(writer: Writer, reader: Reader, value: object) -> None:
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


def test_units_and_kinds_follow_the_last_declaration(writer: Writer, reader: Reader) -> None:
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


def test_a_delta_does_not_depend_on_where_the_query_begins(writer: Writer, reader: Reader) -> None:
    day = 86_400
    writer.write("roof", meter([T0, 100.0], [T0 + 9 * day, 130.0]))
    writer.commit({})
    assert reader.aggregate(1, [T0 + 8 * day, T0 + 9 * day], ["delta"]) == {"delta": [30.0]}
    assert reader.aggregate(1, [T0, T0 + 8 * day, T0 + 9 * day], ["delta"]) == {"delta": [None, 30.0]}


def test_a_rise_that_ends_on_an_edge_belongs_to_the_bucket_that_ends_there(writer: Writer, reader: Reader) -> None:
    writer.declare("roof", "meter", Info("", {"energy": Channel("kWh", "counter")}))
    rows = [[T0 + n * 3600, float(n)] for n in range(49)]
    writer.write("roof", counter(*rows))
    writer.commit({})
    for _ in range(2):
        assert reader.aggregate(1, [T0, T0 + 3600, T0 + 7200], ["delta"]) == {"delta": [1.0, 1.0]}
        assert reader.aggregate(1, [T0 - 60, T0, T0 + 60], ["delta"]) == {"delta": [None, None]}
        assert reader.aggregate(1, [T0 + 86_400, T0 + 2 * 86_400], ["delta", "n"]) == {"delta": [24.0], "n": [24]}
        assert reader.aggregate(1, [T0 + 3540, T0 + 3600], ["delta"]) == {"delta": [1.0]}
        assert reader.aggregate(1, [T0 + 3600, T0 + 3660], ["delta"]) == {"delta": [None]}
        writer.settle()


def test_progress_is_durable_with_its_readings_and_the_newest_epoch_comes_last(engine: Engine) -> None:
    writer = engine.writer()
    writer.write("roof", meter([T0, 1.0]))
    writer.commit({("roof/bridge", "zz"): Progress(4, 1), ("roof/bridge", "aa"): Progress(1, 0)})
    writer.commit({("roof/bridge", "aa"): Progress(2, 0)})
    writer.close()
    writer = engine.writer()
    assert list(writer.progress().items()) == [
        (("roof/bridge", "zz"), Progress(4, 1)),
        (("roof/bridge", "aa"), Progress(2, 0)),
    ]
    writer.close()


def test_the_newest_epoch_stays_the_newest_when_the_clock_is_set_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = engine.writer()
    writer.commit({("roof/bridge", "old"): Progress(4, 0)})
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    writer.commit({("roof/bridge", "new"): Progress(1, 0)})
    assert [epoch for _, epoch in writer.progress()] == ["old", "new"]
    writer.close()


def test_without_a_synchronised_clock_no_reading_is_from_the_future(engine: Engine) -> None:
    writer = engine.writer(lambda: False)
    assert writer.write("roof", meter([time.time() + 1e6, 1.0])) == []
    assert len(writer.write("roof", meter([1.0, 1.0], [math.inf, 1.0]))) == 2
    writer.close()


def test_the_identity_of_a_store_stays(engine: Engine) -> None:
    first = engine.writer()
    first.close()
    second = engine.writer()
    assert first.identity == second.identity
    second.close()
    engine.drop()
    other = engine.writer()
    assert first.identity != other.identity
    other.close()


def test_uncommitted_readings_are_lost_and_their_names_do_no_harm(engine: Engine, reader: Reader) -> None:
    writer = engine.writer()
    writer.write("roof", [Block("meter", ("lost",), [[T0, "never"]])])
    assert writer.pending == 1
    writer.close()
    writer = engine.writer()
    assert writer.pending == 0
    writer.write("roof", [Block("meter", ("mode", "power"), [[T0, "kept", 1.0]])])
    writer.commit({})
    assert [one.channel for one in reader.series()] == ["mode", "power"]
    assert values(reader, "roof/meter/mode") == ["kept"]
    writer.close()


@pytest.mark.long
def test_a_reader_never_misses_what_was_committed_while_the_writer_continues(writer: Writer, reader: Reader) -> None:
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
        points = reader.raw(mine, 0, 1e11, limit=10**6).values
        assert points == [float(n) for n in range(len(points))]
        assert len(points) >= known
        assert float(str(reader.latest([mine])[mine].value)) >= known - 1
        last = reader.since(2 * (known - 1), 1)[0]
        assert last.values["mode"] == f"text {known - 1}"
        assert reader.aggregate(mine, [T0, T0 + known], ["n"])["n"] == [known]
    thread.join()
    assert not failures


def counter(*rows: Sequence[object]) -> list[Block]:
    return [Block("meter", ("energy",), [list(row) for row in rows])]


def test_a_counter_loses_nothing_when_it_starts_again_rolls_over_or_is_replaced(writer: Writer, reader: Reader) -> None:
    writer.declare("roof", "meter", Info("", {"energy": Channel("kWh", "counter", rollover=1000.0)}))
    rows = [(0, 980.0), (600, 995.0), (1200, 5.0), (1800, 25.0), (2400, 3.0), (3000, 500.0), (3600, 510.0)]
    writer.write("roof", counter(*([T0 + second, value] for second, value in rows)))
    writer.commit({})
    edges = [T0 + second for second in range(0, 4201, 600)]
    for _ in range(2):  # 3.0 is a wrong value, until the replacement is reported
        assert reader.aggregate(1, edges, ["delta"])["delta"] == [15.0, 10.0, 20.0, 0.0, 475.0, 10.0, None]
        writer.settle()
    before = reader.version(T0, T0 + 7200)
    # between 2400 and 3000 there came another meter, which had counted 500 elsewhere; it is reported twice
    writer.replaced(1, T0 + 2500)
    writer.replaced(1, T0 + 3000)
    assert reader.version(T0, T0 + 7200) != before
    for cuts in (edges, [edge + 0.5 for edge in edges]):
        assert sum(float(str(v)) for v in reader.aggregate(1, cuts, ["delta"])["delta"] if v is not None) == 58.0
    assert reader.aggregate(1, [T0, T0 + 7200], ["delta"])["delta"] == [58.0]
    with pytest.raises(KeyError):
        writer.replaced(99, T0)


RISES = [
    ([215.6, 215.7, 215.6, 215.6, 215.7, 215.8], 0.2),
    ([12.0, 11.9, 11.8, 11.9, 12.0], 0.0),
    ([1000.0, 1000.1, 0, 0.1, 0.2], 0.3),
    ([1000.0, 1000.1, 0, 1000.2, 1000.3], 0.3),
    ([1000.0, 1000.1, 0, 1000.2, 0, 1000.3, 0, 0.1], 0.4),
    ([1000.0, 0.5, 1000.1, 0.6, 0.7], 0.8),  # a wrong value, then a reset
    ([100.1, 429496728.0, 100.2, 100.3], 0.2),
    ([0.0, 0.0, 429496728.0, 0.0, 0.1], 0.1),
    ([100.0, 100.1, 0, 0, 100.2], 100.3),  # two wrong values after each other look like a reset
]


def test_a_single_wrong_value_of_a_counter_is_no_reset_wherever_edges_and_cells_are(
    writer: Writer, reader: Reader
) -> None:
    midnight = T0 + 86_400
    times: dict[str, list[float]] = {}
    for number, (values, _) in enumerate(RISES):
        for row, step in ((2, 60), (3, 60), (4, 900)):
            device = f"{number}-{row}"  # whose reading of this row is at midnight, or the first after it
            writer.declare("roof", device, Info("", {"energy": Channel("kWh", "counter")}))
            times[device] = [midnight + (at - row) * step + 7 * (row % 2) for at in range(len(values))]
            rows = [[T0 + at, values[0]] for at in range(240)]  # so many that the day has cells
            rows += [[time, value] for time, value in zip(times[device], values, strict=True)]
            rows += [[midnight + 80_000 + at, values[-1]] for at in range(240)]
            writer.write("roof", [Block(device, ("energy",), rows)])
    writer.commit({})
    for _ in range(2):
        for one in reader.series():
            own = times[one.device]
            rise = RISES[int(one.device.split("-")[0])][1]
            for edges in (
                [T0, midnight + 86_400],
                [midnight + hour * 3600 for hour in range(-3, 4)],
                [midnight + at * 300 for at in range(-24, 25)],
                [T0, *own, midnight + 86_400],
            ):
                deltas = reader.aggregate(one.id, edges, ["delta"])["delta"]
                rises = [float(str(value)) for value in deltas if value is not None]
                assert round(math.fsum(rises), 6) == rise
                assert -0.5 < min(rises) <= max(rises) < 101
            alone = [reader.aggregate(one.id, cut, ["delta"])["delta"][0] for cut in itertools.pairwise(edges)]
            assert alone == deltas
        writer.settle()


@pytest.mark.parametrize("wrong", [0.0, 429496728.0])
def test_a_counter_is_right_again_once_its_wrong_value_is_deleted(writer: Writer, reader: Reader, wrong: float) -> None:
    writer.declare("roof", "meter", Info("", {"energy": Channel("kWh", "counter")}))
    rows = [(0, 1000.0), (60, 1000.1), (120, wrong), (180, 1000.2), (240, 1000.3)]
    writer.write("roof", counter(*([T0 + second, value] for second, value in rows)))
    writer.commit({})
    writer.settle()
    assert writer.delete([1], T0 + 120, T0 + 121) == 1
    for edges in ([T0, T0 + 3600], [T0, T0 + 300]):
        assert reader.aggregate(1, edges, ["delta"])["delta"] == [0.3]
    assert reader.aggregate(1, [T0, T0 + 120, T0 + 180, T0 + 240], ["delta"])["delta"] == [0.1, 0.1, 0.1]


def test_a_replacement_is_known_before_its_first_reading(writer: Writer, reader: Reader) -> None:
    writer.declare("roof", "meter", Info("", {"energy": Channel("kWh", "counter")}))
    writer.write("roof", counter([T0, 100.0]))
    writer.commit({})
    writer.replaced(1, T0 + 60)
    assert reader.aggregate(1, [T0, T0 + 7200], ["delta"])["delta"] == [None]
    writer.write("roof", counter([T0 + 120, 7000.0], [T0 + 180, 7001.0]))
    writer.commit({})
    assert reader.aggregate(1, [T0, T0 + 7200], ["delta"])["delta"] == [1.0]


def test_an_area_is_the_same_from_points_and_from_cells_whatever_the_kind(writer: Writer, reader: Reader) -> None:
    kinds: list[Kind] = ["gauge", "counter", "state"]
    writer.declare("roof", "meter", Info("", {kind: Channel("", kind) for kind in kinds}))
    rows = [[T0 + n * 60, 2.0, float(n), n % 2 == 0] for n in range(24 * 60)]
    writer.write("roof", [Block("meter", tuple(kinds), rows)])
    writer.commit({})
    for _ in range(2):
        for one, hour in ((1, 2.0), (2, 30.0), (3, 0.5)):
            for start in (T0, T0 + 1):
                integrals = reader.aggregate(one, [start, start + 3600], ["integral"])["integral"]
                assert integrals == [pytest.approx(hour, abs=0.1)]
        writer.settle()


def test_a_query_about_the_largest_numbers_has_a_result(writer: Writer, reader: Reader) -> None:
    largest = sys.float_info.max
    writer.write("roof", meter([T0, largest], [T0 + 60, largest], [T0 + 120, -largest], [T0 + 180, -largest]))
    writer.commit({})
    for _ in range(2):
        for start in (T0, T0 + 1):
            for function, column in reader.aggregate(1, [start, start + 3600], FUNCTIONS).items():
                assert not math.isnan(float(str(column[0] or 0.0))), function
        assert values(reader) == [largest, largest, -largest, -largest]
        writer.settle()
