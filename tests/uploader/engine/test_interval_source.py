import logging
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.messages import Block, Channel, Info, Value
from heliograph.store import buckets, open_reader, open_writer
from heliograph.store.interface import Reader, Writer
from services.uploader.engine.interval_source import IntervalSource, means
from services.uploader.engine.pipeline import Pipeline
from services.uploader.engine.selection import Selection
from services.uploader.engine.source import ChannelMap
from services.uploader.engine.state import StateFile
from services.uploader.target import Limits, TryLater
from tests.uploader.engine.fakes import FakeTarget, fake_options, is_idle

START = 1_763_596_800.0  # 2025-11-20 00:00 UTC
CHANNELS = {
    "power": Channel("W"),
    "energy": Channel("Wh", "counter"),
    "relay": Channel("", "state"),
    "mode": Channel("", "text"),
}


class Site:
    """A store that is written to, and a target that gets averages of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.writer: Writer = open_writer(folder)
        self.writer.declare("pi", "meter", Info("meter", CHANNELS))
        self.reader: Reader = open_reader(folder)
        self.state = StateFile(folder / "uploader.db")
        self.target = FakeTarget(Limits(rows=100))
        self.now = START

    def write(self, readings: Mapping[float, Mapping[str, Value]]) -> None:
        for time, values in readings.items():
            self.writer.write("pi", [Block("meter", tuple(values), [[time, *values.values()]])])
        self.writer.commit({})

    def pipeline(self, **options: object) -> Pipeline:
        chosen = fake_options(**{"interval": 60.0, "grace": 0.0, **options})
        channels = ChannelMap(self.reader, Selection(chosen))
        return Pipeline(chosen, self.reader, channels, self.state, lambda _: self.target, lambda: self.now)

    def source(self, interval: float = 60.0, **options: object) -> IntervalSource:
        chosen = fake_options(**options)
        return IntervalSource(self.reader, ChannelMap(self.reader, Selection(chosen)), chosen, interval, 0, {})

    def run(self, pipeline: Pipeline, until: float) -> None:
        self.now = until
        for _ in range(500):
            if pipeline.step() > 0 and is_idle(pipeline):
                return
            pipeline.pause(paused=False)

    def sent(self) -> list[tuple[float, dict[str, Value]]]:
        """What the target was sent: seconds since START, values by channel."""
        return [
            (row.time - START, {mapped.channel: value for mapped, value in zip(row.channels, row.values, strict=True)})
            for row in self.target.taken
        ]

    def close(self) -> None:
        self.writer.close()
        self.reader.close()
        self.state.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def test_a_mean_is_weighted_with_the_time_for_which_a_value_held() -> None:
    assert means([0, 10, 60], [100.0, 0.0, 0.0], [0, 60]) == [pytest.approx(500 / 60)]


def test_lines_are_cut_at_the_edges_and_nothing_is_assumed_in_a_gap() -> None:
    assert means([30, 90], [0.0, 60.0], [0, 60, 120]) == [pytest.approx(15.0), pytest.approx(45.0)]
    assert means([30, 5000], [10.0, 90.0], [0, 60, 4980, 5040]) == [10.0, None, 90.0]
    assert means([], [], [0, 60]) == [None]
    assert means([0, 2000], [10.0, 90.0], [0, 3600]) == [50.0]


def test_gauges_are_averaged_counters_and_states_have_their_last_value(site: Site) -> None:
    site.write(
        {
            START + 0: {"power": 100.0, "energy": 1000.0, "relay": True, "mode": "sun"},
            START + 30: {"power": 100.0, "energy": 1001.0, "relay": False, "mode": "rain"},
            START + 60: {"power": 100.0, "energy": 1002.0},
        }
    )
    site.run(site.pipeline(), START + 61)
    assert site.sent() == [(0.0, {"energy": 1001.0, "mode": "rain", "power": 100.0, "relay": False})]


def test_an_interval_is_sent_when_it_is_over_and_had_time_to_arrive(site: Site) -> None:
    site.write({START + index: {"power": 1.0} for index in range(0, 130, 10)})
    pipeline = site.pipeline(grace=30.0)
    site.run(pipeline, START + 89)
    assert site.sent() == []
    site.run(pipeline, START + 90)
    assert [moment for moment, _ in site.sent()] == [0]


def test_stamps_are_starts_or_ends(site: Site) -> None:
    site.write({START + index: {"power": 1.0} for index in range(0, 130, 10)})
    site.run(site.pipeline(timestamp="end"), START + 120)
    assert [moment for moment, _ in site.sent()] == [60, 120]


def test_rises_of_counters_in_the_interval_or_since_local_midnight(site: Site) -> None:
    readings = {START - 120 + index * 60.0: {"energy": 10.0 * index} for index in range(6)}
    site.write(readings)
    site.run(site.pipeline(counters="delta"), START + 240)
    assert site.sent() == [(moment, {"energy": 10.0}) for moment in (-120, -60, 0, 60, 120)]
    site.target.taken.clear()
    site.state.forget("fake")
    site.run(site.pipeline(counters="today"), START + 240)
    assert [(moment, values["energy"]) for moment, values in site.sent()] == [
        (-120, 10.0),
        (-60, 20.0),
        (0, 10.0),
        (60, 20.0),
        (120, 30.0),
    ]


ZONES = ("UTC", "Asia/Kathmandu", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York")


@settings(max_examples=8)
@given(
    st.lists(st.integers(0, 40), min_size=20, max_size=60),
    st.sampled_from([300.0, 900.0, 3600.0, 21_600.0, 86_400.0]),
    st.sampled_from(ZONES),
    st.sampled_from(["2025-11-20", "2025-10-26", "2025-03-30", "2025-11-02", "2026-04-05"]),
    st.booleans(),
    st.sets(st.integers(1, 58)),
    st.sampled_from([0.0, 429496728.0]),
)
def test_api_cells_and_uploads_agree_on_the_rise_of_a_local_day(
    steps: list[int], interval: float, zone: str, date: str, is_sealed: bool, wrong: set[int], value: float
) -> None:
    day = datetime.fromisoformat(date).replace(tzinfo=ZoneInfo(zone))
    midnight = day.timestamp()
    rises = list(accumulate(steps))
    half = len(rises) // 2
    clusters = [midnight - 7200 + index * 900.0 for index in range(half)]
    clusters += [midnight + 79_200 + index * 900.0 for index in range(len(rises) - half)]
    at = {time: rise / 10 for time, rise in zip(clusters, rises, strict=True)}
    readings = {time: {"energy": right} for time, right in at.items()}
    alone = {index for index in wrong if not wrong & {index - 2, index - 1} and index + 1 < len(rises)}
    for index in alone - {half - 1, half}:
        readings[clusters[index]] = {"energy": value}
        del at[clusters[index]]
    with tempfile.TemporaryDirectory() as folder, closing(Site(Path(folder))) as site:
        site.write(readings)
        if is_sealed:
            site.writer.settle()
        (energy,) = [one.id for one in site.reader.series() if one.channel == "energy"]
        start, end = buckets.edges(midnight, midnight + 3600, "1d", zone)
        hours = buckets.edges(start, end, "1h", zone)
        (of_day,) = site.reader.aggregate(energy, [start, end], ["delta"])["delta"]
        of_hours = site.reader.aggregate(energy, hours, ["delta"])["delta"]
        before, last = (max(time for time in at if time <= edge) for edge in (start, end))
        true = round(at[last] - at[before], 6)
        assert round(float(of_day or 0.0), 6) == true
        assert round(math.fsum(float(rise or 0.0) for rise in of_hours), 6) == true
        sent: dict[str, list[float]] = {}
        for counters in ("delta", "today"):
            pipeline = site.pipeline(
                interval=interval, counters=counters, timezone=zone, start=date, channels=("*/*/energy",)
            )
            site.run(pipeline, end)
            sent[counters] = [float(row.values[0]) for row in site.target.taken if start <= row.time < end]
            site.target.taken.clear()
            site.state.forget("fake")
        assert round(math.fsum(sent["delta"]), 6) == true
        assert sent["today"][-1:] == [true][: len(sent["today"])]  # to the last digit: nothing is added up in floats


@pytest.mark.parametrize("wrong", [0.0, 3.0, 429496728.0])
@pytest.mark.parametrize("counters", ["delta", "today"])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_wrong_value_that_is_the_newest_is_corrected_where_it_was_sent(
    site: Site, wrong: float, counters: str, restarts: bool
) -> None:
    pipeline = site.pipeline(counters=counters)
    values = [1000.0, 1000.1, 1000.2, wrong, 1000.4, 1000.5, 1000.6]
    for index, value in enumerate(values):
        site.write({START + 30 + index * 60: {"energy": value}})
        site.run(pipeline, START + (index + 1) * 60)
        if restarts:
            pipeline.close()
            pipeline = site.pipeline(counters=counters)
    at_last = dict(site.sent())  # what is sent again replaces what there was
    rises = [at_last[moment]["energy"] for moment in range(60, 60 * len(values), 60)]
    in_all = 0.6 if counters == "today" else math.fsum(map(float, rises))
    assert round(in_all, 6) == 0.6
    assert [round(float(rise), 6) for rise in rises] == (
        [0.1, 0.1, 0.0, 0.2, 0.1, 0.1] if counters == "delta" else [0.1, 0.2, 0.2, 0.4, 0.5, 0.6]
    )
    assert len(site.sent()) <= len(values) + 2 * 2


@pytest.mark.parametrize(
    ("zone", "interval", "starts"),
    [
        ("Asia/Kathmandu", 86_400.0, ["2025-11-19T18:15", "2025-11-20T18:15"]),
        ("Asia/Kathmandu", 3600.0, ["2025-11-19T18:15", "2025-11-19T19:15"]),
        ("Asia/Kathmandu", 300.0, ["2025-11-19T18:15", "2025-11-19T18:20"]),
        ("Europe/Berlin", 86_400.0, ["2025-11-19T23:00", "2025-11-20T23:00"]),
    ],
)
def test_intervals_are_parts_of_local_days(site: Site, zone: str, interval: float, starts: list[str]) -> None:
    begin = datetime.fromisoformat(f"{starts[0]}+00:00").timestamp()
    site.write({begin + index * 150.0: {"power": 1.0} for index in range(2 * 576 + 2)})
    site.run(site.pipeline(interval=interval, timezone=zone), begin + 2 * 86_400.0)
    sent = [datetime.fromtimestamp(row.time, UTC).strftime("%Y-%m-%dT%H:%M") for row in site.target.taken]
    assert sent[:2] == starts


def test_a_day_on_which_the_clock_changes_is_one_interval(site: Site) -> None:
    begin = datetime.fromisoformat("2025-10-25T22:00+00:00").timestamp()
    site.write({begin + index * 600.0: {"energy": float(index)} for index in range(6 * 25 + 1)})
    site.run(site.pipeline(interval=86_400.0, timezone="Europe/Berlin", counters="delta"), begin + 30 * 3600.0)
    assert [(row.time, row.values) for row in site.target.taken] == [(begin, (150.0,))]


def test_late_data_of_a_local_day_has_that_day_sent_again(site: Site) -> None:
    begin = datetime.fromisoformat("2025-10-25T22:00+00:00").timestamp()  # a day of 25 hours in Berlin
    pipeline = site.pipeline(interval=86_400.0, timezone="Europe/Berlin", counters="delta")
    site.write({begin + index * 3600.0: {"energy": float(index)} for index in range(60)})
    site.run(pipeline, begin + 60 * 3600.0)
    site.target.taken.clear()
    site.write({begin + 25 * 3600.0: {"energy": 25.5}})  # its end, and the beginning of the next
    site.run(pipeline, begin + 60 * 3600.0)
    assert [(row.time - begin, row.values) for row in site.target.taken] == [
        (0.0, (25.5,)),
        (25 * 3600.0, (23.5,)),
    ]


def test_another_time_zone_of_days_never_counts_a_rise_twice(site: Site) -> None:
    site.write({START + index * 3600.0: {"energy": float(index)} for index in range(24 * 5)})
    for zone in ("UTC", "Asia/Tokyo", "America/New_York", "UTC"):
        site.run(site.pipeline(interval=86_400.0, timezone=zone, counters="delta"), site.now + 86_400.0)
    spans = sorted((row.time, row.time + 86_400.0) for row in site.target.taken)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert len(spans) >= 2


def test_a_lost_state_sends_no_rise_twice_and_reports_what_is_sent_again(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site.write({START + index * 60.0: {"energy": float(index), "power": 1.0} for index in range(181)})
    site.run(site.pipeline(interval=300.0, counters="delta"), START + 6000.0)
    site.target.known_newest = site.target.taken[-1].time
    before = len(site.target.taken)
    site.state.forget("fake")
    site.run(site.pipeline(interval=600.0, counters="delta"), START + 10_800.0)
    again = site.target.taken[before:]
    assert min(row.time for row in again) >= site.target.known_newest + 300.0
    site.state.forget("fake")
    site.target.taken.clear()
    assert "sent again" not in caplog.text
    site.run(site.pipeline(interval=300.0, start="now"), START + 10_800.0)
    assert min(row.time for row in site.target.taken) == site.target.known_newest - 3600.0
    assert (
        caplog.text.count(
            "target fake has rows up to 2025-11-20T01:35:00+00:00: those of the hour before are sent again"
        )
        == 1
    )


def test_late_data_has_its_interval_sent_again(site: Site) -> None:
    pipeline = site.pipeline(start="now")
    site.run(pipeline, START)
    site.write({START + 0: {"power": 10.0}, START + 60: {"power": 10.0}, START + 120: {"power": 10.0}})
    site.run(pipeline, START + 181)
    assert [moment for moment, _ in site.sent()] == [0, 60, 120]
    site.target.taken.clear()
    site.write({START + 90: {"power": 40.0}})
    site.run(pipeline, START + 182)
    assert [moment for moment, _ in site.sent()] == [60]
    assert site.sent()[0][1]["power"] == 25.0


def test_an_interval_that_is_not_sent_yet_is_not_sent_twice_for_what_comes_late(site: Site) -> None:
    site.write({START + index * 30.0: {"power": 1.0} for index in range(61)})
    pipeline = site.pipeline(order="live", batch_size=5)
    site.now = START + 1800.0
    pipeline.step()  # the newest intervals first
    assert [moment for moment, _ in site.sent()] == [1200.0, 1260.0, 1320.0, 1380.0, 1440.0]
    site.write({START + 190.0: {"power": 5.0}})
    site.run(pipeline, site.now)
    assert sorted(moment for moment, _ in site.sent()) == [index * 60.0 for index in range(30)]


def test_only_intervals_that_are_sent_are_late_when_a_counter_falls(site: Site) -> None:
    site.write({START + at: {"energy": value} for at, value in ((30, 1000.0), (90, 1000.1), (150, 3.0))})
    options = fake_options(counters="delta")
    channels = ChannelMap(site.reader, Selection(options))
    for done, late in ((60.0, [60.0]), (120.0, [60.0, 120.0])):
        source = IntervalSource(site.reader, channels, options, 60.0, 0, {})
        assert source.late(START + done) == [START + end for end in late]


def test_late_intervals_survive_a_restart(site: Site) -> None:
    pipeline = site.pipeline(start="now")
    site.run(pipeline, START)
    site.write({START + index: {"power": 10.0} for index in range(0, 300, 10)})
    site.run(pipeline, START + 300)
    site.write({START + 95: {"power": 99.0}, START + 215: {"power": 99.0}})
    site.target.taken.clear()
    site.target.script = [TryLater("away")]
    pipeline.step()
    site.run(site.pipeline(start="now"), START + 301)
    assert sorted(moment for moment, _ in site.sent()) == [60, 180]


def test_late_data_is_not_sent_again_to_a_target_that_would_add_it(site: Site) -> None:
    site.target.limits = Limits(rows=100, overwrites=False)
    pipeline = site.pipeline(start="now")
    site.run(pipeline, START)
    site.write({START + 0: {"power": 10.0}, START + 60: {"power": 10.0}})
    site.run(pipeline, START + 121)
    site.write({START + 30: {"power": 40.0}})
    site.run(pipeline, START + 122)
    assert [moment for moment, _ in site.sent()] == [0, 60]


def test_intervals_without_readings_are_left_out_and_the_backlog_continues_after_them(site: Site) -> None:
    site.write({START + 10: {"power": 1.0}, START + 50_000: {"power": 2.0}})
    site.run(site.pipeline(), START + 60_000)
    assert site.sent() == [(0, {"power": 1.0}), (49_980, {"power": 2.0})]


def test_a_target_that_must_have_averages_gets_them(site: Site) -> None:
    site.target.limits = Limits(rows=100, interval=300)
    site.write({START + index: {"power": 5.0} for index in range(0, 660, 30)})
    site.run(site.pipeline(interval=0.0), START + 660)
    assert site.sent() == [(0, {"power": 5.0}), (300, {"power": 5.0})]


def test_intervals_of_a_device_begin_where_the_target_has_none_of_it(site: Site) -> None:
    class Ordered(FakeTarget):
        def newest_by_device(self) -> dict[str, float]:
            return {"pi/meter": START + 240.0}

    site.target = Ordered(Limits(rows=100, ordered=True))
    site.writer.declare("pi", "grid", Info("grid", {"power": Channel("W")}))
    for second in range(0, 600, 30):
        site.writer.write("pi", [Block("grid", ("power",), [[START + second, 2.0]])])
    site.write({START + second: {"power": 1.0} for second in range(0, 600, 30)})
    pipeline = site.pipeline()
    site.run(pipeline, START + 600)
    devices = {row.time - START: sorted(mapped.device for mapped in row.channels) for row in site.target.taken}
    assert devices == {at * 60.0: ["grid"] if at < 5 else ["grid", "meter"] for at in range(10)}
    pipeline._looked = -math.inf
    pipeline.step()
    assert pipeline.facts()["passed_over"] == 5


def test_what_a_whole_target_has_is_passed_over_and_counted(site: Site) -> None:
    site.target = FakeTarget(Limits(rows=100, overwrites=False))
    site.target.known_newest = START + 240.0
    site.write({START + second: {"power": 1.0} for second in range(0, 600, 30)})
    pipeline = site.pipeline()
    site.run(pipeline, START + 600)
    assert [moment for moment, _ in site.sent()] == [300, 360, 420, 480, 540]
    pipeline._looked = -math.inf
    pipeline.step()
    assert pipeline.facts()["passed_over"] == 5


def test_a_trial_sends_the_newest_interval_that_has_readings(site: Site) -> None:
    site.write({START + at: {"power": float(at)} for at in (0, 60, 120)})
    site.now = START + 600.0
    pipeline = site.pipeline()
    assert pipeline.test().ok
    assert site.sent() == [(120, {"power": 120.0})]


def test_another_interval_continues_where_the_last_one_was(site: Site) -> None:
    site.write({START + index: {"power": 5.0} for index in range(0, 1000, 10)})
    site.run(site.pipeline(), START + 600)
    site.target.taken.clear()
    site.run(site.pipeline(interval=300.0), START + 1200)
    assert [moment for moment, _ in site.sent()] == [300, 600, 900]


def backlog_of(pipeline: Pipeline) -> tuple[int, float | None]:
    """Return what the status says of the backlog, looked at now."""
    pipeline._looked = -math.inf
    pipeline.pause(paused=True)
    pipeline.step()
    facts = pipeline.facts()
    pipeline.pause(paused=False)
    return facts["backlog"], facts["oldest"]


def test_the_backlog_counts_intervals_that_have_readings(site: Site) -> None:
    site.write({START + at: {"power": 1.0} for at in (10, 70, 5000, 50_000)})
    site.now = START + 60_000
    pipeline = site.pipeline()
    site.target.script = [TryLater("away")]
    pipeline.step()
    assert backlog_of(pipeline) == (4, START)
    site.run(pipeline, site.now)
    assert backlog_of(pipeline) == (0, None)
    site.write({START + 3: {"power": 2.0}, START + 50_003: {"power": 2.0}})
    site.target.script = [TryLater("away")]
    pipeline.step()
    assert backlog_of(pipeline) == (2, START)
    site.run(pipeline, site.now)
    assert backlog_of(pipeline) == (0, None)


def test_of_a_long_backlog_days_without_readings_do_not_count(site: Site) -> None:
    day = 86_400.0
    site.write({START + index * 60.0: {"power": 1.0} for index in range(1440)})
    site.write({START + 40 * day + index * 60.0: {"power": 1.0} for index in range(1440)})
    site.now = START + 50 * day
    pipeline = site.pipeline()
    site.target.script = [TryLater("away")]
    pipeline.step()
    assert backlog_of(pipeline) == (2880, START)


@pytest.mark.parametrize("ordered", [True, False])
def test_after_a_month_away_every_interval_goes_in_order(site: Site, ordered: bool) -> None:
    site.target.limits = Limits(rows=100, ordered=ordered)
    pipeline = site.pipeline(interval=3600.0)
    site.write({START: {"power": 0.0}})
    site.run(pipeline, START)
    site.write({START + hour * 3600.0 + 1: {"power": float(hour)} for hour in range(720)})
    site.target.script = [TryLater("away")] * 500
    site.now = START + 720 * 3600.0
    for _ in range(20):
        pipeline.step()
        pipeline.pause(paused=False)
    assert site.sent() == []
    site.target.script.clear()
    site.run(pipeline, START + 720 * 3600.0)
    assert [moment for moment, _ in site.sent()] == [hour * 3600.0 for hour in range(720)]
    assert site.state.count("fake") == 0


HOUR, DAY = 3600.0, 86_400.0


def values_of(source: IntervalSource, after: float, upto: float, limit: int = 1000) -> list[tuple[float, Value]]:
    """Return time, in s since START, and first value of the rows between two times after START."""
    page = source.read(START + after, START + upto, limit)
    return [(row.time - START, row.values[0]) for row in page.rows]


def test_a_page_ends_with_the_last_interval_that_it_has(site: Site) -> None:
    site.write({START + at: {"power": 1.0} for at in range(0, 300, 30)})
    source = site.source()
    page = source.read(START, START + 300, 3)
    assert ([row.position for row in page.rows], page.after, page.upto) == (
        [START + 60, START + 120, START + 180],
        START,
        START + 180,
    )
    assert source.read(START, START + DAY, 10_000).upto == START + 720 * 60
    assert source.read(START, START + 60, 10).upto == START + 60
    assert source.read(START, START, 10) == (START, START, [], 0)


def test_live_data_begin_ten_intervals_before_the_newest_that_is_over(site: Site) -> None:
    source = site.source(grace=30.0)
    assert source.head(START + 89) == START
    assert source.head(START + 90) == START + 60
    assert source.live_from(START) == START - 600


def test_where_the_first_interval_begins_that_has_readings(site: Site) -> None:
    source = site.source()
    assert (source.is_empty(), source.beginning(START + 30), source.newest()) == (True, START, None)
    site.write({START + 90: {"power": 1.0}, START + 300: {"energy": 1.0}, START + 200: {"relay": True}})
    assert (source.is_empty(), source.beginning(START), source.beginning(START + 130)) == (
        False,
        START + 60,
        START + 120,
    )
    newest = source.newest()
    assert newest is not None
    assert (newest.time, newest.values) == (START + 300, (1.0,))


def test_of_a_long_time_each_day_counts_as_many_intervals_as_it_has_at_most(site: Site) -> None:
    for day in (0, 40):
        site.write({START + day * DAY + at * 600.0: {"power": 1.0} for at in range(144)})
    source = site.source(HOUR)
    assert source.count(START, START + 50 * DAY) == (48, START)
    assert source.count(START + 18 * HOUR, START + 40 * DAY + 6 * HOUR) == (12, START + 18 * HOUR)
    assert source.count(START + DAY, START + 50 * DAY) == (24, START + 40 * DAY)
    assert source.count(START + 18 * HOUR, START + 23 * HOUR) == (5, START + 18 * HOUR)
    assert source.count(START + 2 * DAY, START + 39 * DAY) == (0, None)
    rows, first = source.count(START - 2000 * DAY, START + 60 * DAY)  # three days together: an estimate
    assert (rows, first) == (2 * 72, START - 2 * DAY)


def test_of_what_comes_late_only_intervals_that_are_done_are_sent_again_and_once(site: Site) -> None:
    source = site.source(channels=("*/*/energy",), counters="delta")
    site.write({START + 30 + at * 60: {"power": 9.0 - at, "energy": float(at), "mode": "sun"} for at in range(5)})
    assert source.late(START + 120) == [START + 60, START + 120]
    assert source.late(START + 600) == []
    site.write({START + 95: {"power": 1.0}})
    assert source.late(START + 600) == []  # a channel that the target does not get
    site.write({START + 35: {"energy": 0.4}})
    assert source.late(START + 600) == [START + 60]  # which is no fall
    site.write({START + 215: {"energy": 0.5}})
    assert source.late(START + 600) == [START + 240]
    site.write({START + 600: {"energy": 9.0}, START + 720: {"energy": 10.0}})
    assert source.late(START + 660) == [START + 600, START + 660]
    site.write({START + 620: {"mode": "rain", "energy": 9.5}})
    assert source.late(START + 600) == []


def test_a_fall_of_a_counter_has_the_intervals_of_the_two_readings_before_it_sent_again(site: Site) -> None:
    source = site.source(channels=("*/*/energy", "*/*/power"), counters="delta")
    late = []
    for at, energy in ((0, 100.0), (600, 101.0), (1200, 102.0), (1800, 0.5), (3000, 103.0), (4800, 2.0)):
        site.write({START + at + 30: {"mode": "sun", "power": 5000.0 / (at + 1), "energy": energy}})
        late.append([end - START for end in source.late(START + 9000)])
    assert late == [[60], [660], [1260], [660, 1260, 1860], [1260, 1860, 3060], [3060, 4860]]
    assert site.source(counters="last").late(START + 9000) == [START + at for at in (60, 660, 1260, 1860, 3060, 4860)]


def test_a_counter_that_falls_back_to_zero_may_have_been_wrong_before(site: Site) -> None:
    source = site.source(counters="delta")
    late = []
    for at, energy in ((0, 0.0), (600, 5000.0), (1200, 0.0)):
        site.write({START + at + 30: {"energy": energy}})
        late.append([end - START for end in source.late(START + 9000)])
    assert late == [[60], [660], [60, 660, 1260]]


def test_a_fall_that_is_in_an_interval_that_is_not_done_has_only_those_before_it_sent_again(site: Site) -> None:
    source = site.source(counters="delta")
    site.write({START + at: {"energy": energy} for at, energy in ((30, 100.0), (100, 101.0), (200, 2.0))})
    assert source.late(START + 60) == [START + 60]
    site.write({START + 260: {"energy": 102.0}})
    assert source.late(START + 120) == [START + 120]


@pytest.mark.parametrize("zone", ["UTC", "America/Havana"])  # where midnight comes twice, on this day
def test_since_midnight_is_since_the_first_moment_of_the_day(site: Site, zone: str) -> None:
    midnight = datetime(2025, 11, 2, tzinfo=ZoneInfo(zone)).timestamp()
    readings = [(-3600.0, 1.0), (-60.0, 3.0), (0.0, 5.0), (0.5, 6.0), (30.0, 7.0), (1800.0, 8.0), (5400.0, 10.0)]
    readings += [(at * HOUR + 600, 10.0 + at) for at in (2, 3, 5)]
    site.write({midnight + at: {"energy": energy} for at, energy in readings})
    source = site.source(HOUR, timezone=zone, counters="today")

    def today(first: float, last: float) -> list[tuple[float, Value]]:
        return values_of(source, midnight - START + first * HOUR, midnight - START + last * HOUR)

    at = midnight - START
    day = [(0, 3.0), (1, 5.0), (2, 7.0), (3, 8.0), (5, 10.0)]
    assert today(0, 6) == [(at + hour * HOUR, value) for hour, value in day]
    assert today(5, 6) == [(at + 5 * HOUR, 10.0)]
    assert today(-1, 3) == [(at - HOUR, 4.0), *((at + hour * HOUR, value) for hour, value in day[:3])]


def test_a_mean_takes_the_points_on_both_sides_of_a_page_into_account(site: Site) -> None:
    site.write(
        {START + at: {"power": power} for at, power in ((-890.0, 0.0), (8.0, 898.0), (3590.0, 7.0), (4480.0, 897.0))}
    )
    assert dict(values_of(site.source(60.0), 0.0, 60.0)) == pytest.approx({0.0: 894.0})
    mean = values_of(site.source(HOUR), 0.0, HOUR)
    assert dict(mean) == pytest.approx({0.0: (8 * 894.0 + 10 * 12.0) / 18})
    assert values_of(site.source(HOUR), 0.0, 2 * HOUR)[:1] == mean
    assert values_of(site.source(HOUR), -HOUR, HOUR)[1:] == mean
