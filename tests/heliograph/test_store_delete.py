"""Values that are deleted: afterwards a store is as if they had never been stored."""

from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from heliograph.messages import Block, Channel, Info
from heliograph.store import folder, history, open_reader
from heliograph.store.interface import Arrival, Keep, Reader, Writer
from heliograph.store.writer import SqliteWriter
from tests.heliograph.engines import Engine
from tests.heliograph.meter import Clock, query_results
from tests.heliograph.plain_list import DAY, T0

INFO = Info(
    "Meter",
    {
        "power": Channel("W"),
        "energy": Channel("kWh", "counter"),
        "mode": Channel("", "text"),
        "on": Channel("", "state"),
    },
)
CHANNELS = tuple(INFO.channels)
START = datetime(2025, 12, 31, tzinfo=UTC).timestamp()
DAYS = 2
Row = list[float | str | bool | None]


def readings(every: float) -> list[Row]:
    """Readings over New Year; some lack a value."""
    return [
        [
            START + n * every,
            None if n % 11 == 0 else n * 7919 % 1000 / 10,
            round(n % 5000 * 0.1, 1),
            f"mode {n // 50 % 3}" if n % 3 else None,
            n % 7 < 3,
        ]
        for n in range(int(DAYS * DAY / every))
    ]


def without(rows: list[Row], channels: Iterable[str], start: float, end: float) -> list[Row]:
    """The readings as they are without some values."""
    gone = {CHANNELS.index(channel) + 1 for channel in channels}
    return [
        [None if start <= float(str(row[0])) < end and index in gone else value for index, value in enumerate(row)]
        for row in rows
    ]


def fill(writer: Writer, every_row: list[Row]) -> None:
    for device, rows in (("meter", every_row), ("other", every_row[::20])):
        writer.declare("roof", device, INFO)
        for first in range(0, len(rows), 5000):
            assert writer.write("roof", [Block(device, CHANNELS, rows[first : first + 5000])]) == []
            writer.commit({})


def values(arrivals: list[Arrival]) -> list[tuple[int, str, float, dict[str, object]]]:
    """Readings in order of arrival that have a value."""
    return [(one.cursor, one.device, one.time, dict(one.values)) for one in arrivals if one.values]


def everything(reader: Reader) -> dict[str, object]:
    known = {one.id for one in reader.series() if reader.latest([one.id])}
    results: dict[str, object] = {"since": values(reader.since(0, 10**6)), "known": known}
    if len(known) == len(reader.series()):
        results |= query_results(reader, START - DAY, START + (DAYS + 1) * DAY)
    return results


spans = st.tuples(st.integers(-3600, DAYS * 86_400 + 3600), st.integers(-3600, DAYS * 86_400 + 3600)).map(sorted)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    span=spans | st.sampled_from([[0, 86_400], [43_200, 2 * 86_400], [86_400 - 30, 86_400 + 1]]),
    channels=st.sets(st.sampled_from(CHANNELS), min_size=1),
    every=st.sampled_from([300.0, 1800.0]),
    months=st.sampled_from([0, 2, 14]),
    late=st.booleans(),
)
@example(span=[50_000, 2 * 86_400], channels={"power", "energy"}, every=29.0, months=14, late=False)
@example(span=[86_400, 2 * 86_400], channels=set(CHANNELS), every=300.0, months=2, late=True)
def test_a_store_is_as_if_deleted_values_had_never_been_stored(
    tmp_path_factory: pytest.TempPathFactory,
    span: list[int],
    channels: set[str],
    every: float,
    months: int,
    late: bool,
) -> None:
    start, end = START + span[0], START + span[1]
    rows = readings(every)
    clock = Clock(START + DAYS * DAY + months * 31 * DAY)
    stores = []
    for kept in (rows, without(rows, channels, start, end)):
        data = tmp_path_factory.mktemp("data")
        stores.append(data)
        with closing(SqliteWriter(folder(data), lambda: True, now=clock)) as writer:
            fill(writer, kept)
            if not late:
                writer.settle()
            if kept is rows:
                with closing(open_reader(data)) as reader:
                    ids = [one.id for one in reader.series() if one.channel in channels]
                    count = sum(len(reader.raw(sid, start, end, limit=10**6).times) for sid in ids)
                assert writer.delete(ids, start, end) == count
                assert writer.delete(ids, start, end) == 0
            writer.settle()
            assert writer.problems() == []
    with closing(open_reader(stores[0])) as deleted, closing(open_reader(stores[1])) as never:
        one, other = everything(deleted), everything(never)
        assert [name for name in one if one[name] != other[name]] == []
        assert deleted.problems() == []


def test_both_stores_delete_alike(engine: Engine) -> None:
    now = START + 10 * DAY
    with closing(engine.writer(now=lambda: now)) as writer, closing(engine.reader()) as reader:
        fill(writer, readings(300.0))
        writer.settle()
        ids = {f"{one.device}/{one.channel}": one.id for one in reader.series()}
        latest, version = reader.latest(list(ids.values())), reader.version(START, now)
        chosen = [ids["meter/power"], ids["meter/energy"]]
        start, end = START + 0.5 * DAY, START + 1.5 * DAY
        before = {sid: reader.raw(sid, 0, 1e11, limit=10**6) for sid in ids.values()}
        count = sum(start <= time < end for sid in chosen for time in before[sid].times)
        assert writer.delete(chosen, start, end) == count
        assert writer.delete(chosen, start, end) == 0
        writer.settle()
        assert reader.version(START, now) != version
        for sid, page in before.items():
            kept = [
                (time, value)
                for time, value in zip(page.times, page.values, strict=True)
                if sid not in chosen or not start <= time < end
            ]
            now_there = reader.raw(sid, 0, 1e11, limit=10**6)
            assert list(zip(now_there.times, now_there.values, strict=True)) == kept
            assert reader.aggregate(sid, [START, START + DAYS * DAY], ["n"])["n"] == [len(kept)]
        assert reader.latest(list(ids.values())) == latest
        assert not any(
            one.device == "meter" and start <= one.time < end and {"power", "energy"} & one.values.keys()
            for one in reader.since(0, 10**6)
        )
        writer.write("roof", [Block("meter", ("power",), [[START, 1.0]])])
        with pytest.raises(ValueError, match="commit"):
            writer.delete(chosen, start, end)


def test_a_year_of_a_clock_that_was_ahead_is_deleted_with_its_file(tmp_path: Path) -> None:
    ahead = datetime(2045, 6, 1, tzinfo=UTC).timestamp()
    with closing(SqliteWriter(folder(tmp_path), lambda: False, now=lambda: T0)) as writer:
        for time in (T0, ahead):
            writer.write("roof", [Block("meter", ("power",), [[time, 2719.0]])])
            writer.commit({})
        writer.settle()
    with closing(SqliteWriter(folder(tmp_path), lambda: True, now=lambda: T0)) as writer:
        writer.maintain()
        assert [problem for problem in writer.problems() if "history-2045.db" in problem]
        assert writer.delete([1], datetime(2045, 1, 1, tzinfo=UTC).timestamp(), 4e9) == 1
        assert list(history.files(folder(tmp_path))) == [2025]
    with closing(SqliteWriter(folder(tmp_path), lambda: True, now=lambda: T0)) as writer:
        writer.maintain()
        assert writer.problems() == []
    with closing(open_reader(tmp_path)) as reader:
        assert reader.latest([1])[1].time == T0
        assert reader.extent() == (T0, T0)


def test_of_days_that_have_only_cells_whole_days_are_deleted(tmp_path: Path) -> None:
    start = datetime(2024, 3, 1, tzinfo=UTC).timestamp()
    clock = Clock(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    with closing(SqliteWriter(folder(tmp_path), lambda: True, Keep(raw_years=1), clock)) as writer:
        rows = [[start + n * 20, n * 104_729 % 100_003 / 7] for n in range(3 * 4320)]
        writer.write("roof", [Block("meter", ("power",), [*rows, [clock.now - 300 * DAY, 1.0]])])
        writer.commit({})
        writer.settle()
        while writer.maintain():
            pass
        assert history.is_bare(history.files(folder(tmp_path))[2024])
        with pytest.raises(ValueError, match="2024-03-01 only cells"):
            writer.delete([1], start + 3600, start + DAY)
        assert writer.delete([1], start, start + DAY) == 4320
        with closing(open_reader(tmp_path)) as reader:
            assert reader.aggregate(1, [start, start + DAY, start + 2 * DAY, start + 3 * DAY], ["n"])["n"] == [
                0,
                4320,
                4320,
            ]
        assert writer.delete([1], start + 2.5 * DAY, start + 3 * DAY) == 2160  # the newest day has its points
        assert writer.delete([1], start + DAY, start + 3 * DAY) == 6480
        assert 2024 not in history.files(folder(tmp_path))
