import itertools
import math
import statistics
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph import rules
from heliograph.bus import Bus
from heliograph.clock import Clock
from heliograph.config import Broker
from heliograph.errors import ConfigError
from heliograph.filters import Deadband, Spikes, Stuck
from heliograph.messages import Block, Channel, Info, Kind, Value
from heliograph.outbox import Outbox, OutboxReader
from heliograph.pending import Pending
from heliograph.producer import Producer
from heliograph.quality import Quality
from heliograph.rules import HEARTBEAT_SECONDS, Rules
from tests.conftest import Processes


def read(text: str) -> dict[str, rules.Rule]:
    return rules.read(tomllib.loads(text), Path("config.toml"))


class Edge:
    """A producer's rules, and the readings that passed them."""

    def __init__(self, text: str, **kinds: Kind) -> None:
        self.aside: list[tuple[str, str, str]] = []
        self.out: list[tuple[float, dict[str, Value]]] = []
        self.latest = math.inf
        self.quality = Quality(read(text), lambda *item: self.aside.append(item), lambda: self.latest)
        if kinds:
            self.quality.described("meter", Info("", {name: Channel("", kind) for name, kind in kinds.items()}))

    def apply(self, at: float, values: dict[str, Value], boot: str = "") -> list[tuple[float, dict[str, Value]]]:
        passed = self.quality.apply(Pending("meter", boot, at, values, at + 100))
        assert all(one.device == "meter" and one.boot == boot and one.shown == one.time + 100 for one in passed)
        self.out += [(one.time, one.values) for one in passed]
        return [(one.time, one.values) for one in passed]

    def all(self, *values: Value, channel: str = "power", every: float = 10.0) -> list[tuple[float, Value]]:
        """Return what the rules pass of a value every ten seconds, with what they release at the end."""
        for number, value in enumerate(values):
            self.apply(number * every, {channel: value})
        self.out += [(one.time, one.values) for one in self.quality.release()]
        return [(at, passed[channel]) for at, passed in self.out if channel in passed]


def test_a_value_is_scaled_without_the_traces_of_binary_fractions() -> None:
    edge = Edge('[quality."meter/temperature"]\nscale = 0.1\noffset = -40')
    assert edge.apply(0, {"temperature": 603, "power": 603}) == [(0, {"temperature": 20.3, "power": 603})]
    assert edge.apply(1, {"temperature": 3}) == [(1, {"temperature": -39.7})]


@given(
    st.floats(-1e6, 1e6),
    st.floats(-1e3, 1e3).filter(lambda scale: scale == 0 or abs(scale) > 1e-9),
    st.floats(-1e3, 1e3),
)
def test_scaling_is_multiplying_and_adding(value: float, scale: float, offset: float) -> None:
    if not scale:
        return
    edge = Edge(f'[quality."meter/power"]\nscale = {scale!r}\noffset = {offset!r}')
    (_, scaled) = edge.apply(0, {"power": value})[0]
    assert scaled["power"] == pytest.approx(value * scale + offset, rel=1e-9, abs=1e-6)


def test_a_scaled_value_that_is_too_large_for_a_number_is_set_aside() -> None:
    edge = Edge('[quality."meter/power"]\nscale = 1e200')
    assert edge.apply(0, {"power": 1e300, "voltage": 230.0}) == [(0, {"voltage": 230.0})]
    assert edge.apply(1, {"power": 10**308}) == []
    assert [where for _, _, where in edge.aside] == ["meter/power"] * 2


def test_a_value_out_of_its_range_is_set_aside_and_its_neighbours_are_kept() -> None:
    edge = Edge('[quality."meter/temp*"]\nmin = -40\nmax = 85')
    assert edge.apply(0, {"temp1": 85, "temp2": 85.01, "power": 1000}) == [(0, {"temp1": 85, "power": 1000})]
    assert edge.apply(1, {"temp1": -127}) == []
    assert edge.aside == [
        ("not between -40 and 85", "85.01", "meter/temp2"),
        ("not between -40 and 85", "-127", "meter/temp1"),
    ]
    assert edge.quality.counters()["quality_out_of_range"] == 2


def test_the_range_is_that_of_the_scaled_value() -> None:
    edge = Edge('[quality."meter/power"]\nscale = -1\nmax = 0')
    assert edge.all(5, -5) == [(0, -5)]


def test_a_lone_spike_is_left_out() -> None:
    edge = Edge('[quality."meter/temp"]\nspike = 5')
    passed = edge.all(20, 20.1, 20.2, 85, 20.3, 20.2, 20.1, channel="temp")
    assert [value for _, value in passed] == [20, 20.1, 20.2, 20.3, 20.2, 20.1]
    assert edge.aside == [("a spike", "85", "meter/temp")]
    assert edge.quality.counters()["quality_spikes"] == 1


@pytest.mark.parametrize("wrong", [0.0, 429496728.0])
def test_a_single_wrong_value_of_a_counter_is_left_out(wrong: float) -> None:
    edge = Edge('[quality."meter/energy"]\nspike = 10', energy="counter")
    passed = edge.all(1000.0, 1000.1, wrong, 1000.2, 1000.3, channel="energy")
    assert passed == [(0, 1000.0), (10, 1000.1), (30, 1000.2), (40, 1000.3)]


def test_two_spikes_after_each_other_are_left_out() -> None:
    edge = Edge('[quality."meter/temp"]\nspike = 5')
    assert [value for _, value in edge.all(20, 20, 20, 85, 85, 20, 20, channel="temp")] == [20] * 5
    assert edge.quality.counters()["quality_spikes"] == 2


def test_a_step_comes_through_with_the_third_reading_and_nothing_of_it_is_lost() -> None:
    edge = Edge('[quality."meter/power"]\nspike = 100')
    before = [10, 12, 11, 10, 12, 11]
    for number, value in enumerate(before):
        edge.apply(number, {"power": value})
    assert edge.apply(6, {"power": 2000}) == []
    assert edge.apply(7, {"power": 2010}) == []
    assert edge.apply(8, {"power": 2005}) == [(6, {"power": 2000}), (7, {"power": 2010}), (8, {"power": 2005})]
    assert edge.quality.counters()["quality_spikes"] == 0


def test_a_spike_right_before_a_step_is_left_out_and_the_step_is_not() -> None:
    edge = Edge('[quality."meter/power"]\nspike = 100')
    passed = edge.all(10, 10, 10, 10, 9000, 2000, 2000, 2000, 2000)
    assert passed == [(0, 10), (10, 10), (20, 10), (30, 10), (50, 2000), (60, 2000), (70, 2000), (80, 2000)]


def test_a_ramp_that_is_steeper_than_the_threshold_comes_through() -> None:
    edge = Edge('[quality."meter/power"]\nspike = 10')
    values = [number * 100 for number in range(20)]
    passed = [value for _, value in edge.all(*values)]
    assert len(passed) >= 17  # the last values, which still wait, are not among them
    assert passed == values[: len(passed)]


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.sampled_from([3, 4, 5, 9]), st.floats(0.1, 1e6))
def test_every_value_goes_out_once_and_in_order_or_was_a_spike(
    values: list[float], count: int, threshold: float
) -> None:
    spikes = Spikes(threshold, count)
    out, left = [], []
    for number, value in enumerate(values):
        good, bad = spikes.take(number, value)
        out += good
        left += bad
        assert len(spikes.waiting) <= count // 2
        window = values[max(0, number - count + 1) : number + 1]
        if len(window) > 2 and abs(value - statistics.median_high(window)) <= threshold:
            assert good[-1] == (number, value)
    assert out == sorted(out)
    assert sorted([*out, *left, *spikes.waiting]) == list(enumerate(values))


def test_a_value_that_hardly_changes_is_left_out_and_the_last_one_before_a_change_is_not() -> None:
    edge = Edge('[quality."meter/power"]\ndeadband = 5\nheartbeat = 60')
    passed = edge.all(100, 101, 99, 104, 200, 201, 199)
    assert passed == [(0, 100), (30, 104), (40, 200), (60, 199)]  # 199 at the end, for nothing comes after it
    assert edge.quality.counters()["quality_held_back"] == 3


def test_a_value_that_does_not_change_is_published_with_the_heartbeat() -> None:
    edge = Edge('[quality."meter/power"]\nheartbeat = 60')
    assert edge.all(*[7] * 14) == [(0, 7), (60, 7), (120, 7), (130, 7)]


def test_a_gap_in_the_readings_is_not_bridged() -> None:
    edge = Edge('[quality."meter/power"]\nheartbeat = 60')
    for at in (0, 10, 20):
        edge.apply(at, {"power": 7})
    assert edge.apply(5000, {"power": 7}) == [(20, {"power": 7}), (5000, {"power": 7})]


def test_the_dead_band_counts_from_what_was_published_so_a_drift_is_seen() -> None:
    edge = Edge('[quality."meter/power"]\ndeadband = 5')
    passed = edge.all(*range(20), every=1)
    assert [value for _, value in passed] == [0, 5, 6, 11, 12, 17, 18, 19]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.sampled_from([0.0, 1.0, 4.0]))
def test_lines_between_what_is_published_are_never_further_off_than_the_dead_band(
    values: list[int], width: float
) -> None:
    band = Deadband(width, 1e9)
    out = [one for at, value in enumerate(values) for one in band.take(float(at), value)] + band.release()
    times = [at for at, _ in out]
    assert times == sorted(set(times))
    assert (times[0], times[-1]) == (0.0, len(values) - 1)
    for (t0, v0), (t1, v1) in itertools.pairwise(out):
        for at in range(int(t0), int(t1) + 1):
            line = float(v0) + (float(v1) - float(v0)) * (at - t0) / (t1 - t0)
            assert abs(line - values[at]) <= 2 * width + 1e-9
    assert band.left_out == len(values) - len(out)


def test_a_counter_rises_by_as_much_as_without_a_dead_band() -> None:
    edge = Edge('[quality."meter/energy"]\ndeadband = 0', energy="counter")
    passed = edge.all(100, 100, 100, 107, 107, 107, 3, 3, 5, channel="energy")
    assert passed == [(0, 100), (20, 100), (30, 107), (50, 107), (60, 3), (70, 3), (80, 5)]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("state", [True, True, False, False, True], [(0, True), (10, True), (20, False), (30, False), (40, True)]),
        ("state", [0, 0, 1, 1, 1], [(0, 0), (10, 0), (20, 1), (40, 1)]),
        ("text", ["a", "a", "a", "b"], [(0, "a"), (20, "a"), (30, "b")]),
    ],
)
def test_states_and_texts_are_published_on_change_whatever_the_dead_band(
    kind: Kind, values: list[Value], expected: list[tuple[float, Value]]
) -> None:
    edge = Edge('[quality."meter/mode"]\nscale = 2\nmax = 1\nspike = 0.1\ndeadband = 500\nstuck = 10', mode=kind)
    if kind == "state" and values[0] is not True:
        edge = Edge('[quality."meter/mode"]\ndeadband = 500\nstuck = 10', mode=kind)
    assert edge.all(*values, channel="mode") == expected
    assert edge.quality.facts()["stuck"] == []


def test_channels_of_one_reading_are_held_back_each_on_its_own() -> None:
    edge = Edge('[quality."meter/*"]\ndeadband = 1')
    edge.apply(0, {"a": 1, "b": 1})
    assert edge.apply(10, {"a": 1, "b": 5}) == [(10, {"b": 5})]
    assert edge.apply(20, {"a": 1, "b": 5}) == []
    assert edge.apply(30, {"a": 9, "b": 9}) == [(20, {"a": 1, "b": 5}), (30, {"a": 9, "b": 9})]


def test_a_value_that_never_changes_is_stuck_until_it_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    edge = Edge('[quality."meter/temp"]\nstuck = 30')
    assert len(edge.all(*[20.5] * 8, channel="temp")) == 8
    assert edge.quality.facts()["stuck"] == ["meter/temp"]
    edge.apply(90, {"temp": 20.6})
    assert edge.quality.facts()["stuck"] == []
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_device_that_was_silent_is_not_stuck() -> None:
    stuck = Stuck(30)
    for at in (0.0, 10.0, 5000.0, 5010.0):
        stuck.take(at, 1)
        assert not stuck.stuck


def test_late_readings_and_those_without_a_time_are_scaled_and_checked_and_no_more() -> None:
    edge = Edge('[quality."meter/power"]\nscale = 2\nmax = 1000\nspike = 10\ndeadband = 5\nstuck = 10')
    assert edge.apply(100, {"power": 1}) == [(100, {"power": 2})]
    assert edge.apply(50, {"power": 1}) == [(50, {"power": 2})]
    assert edge.apply(100, {"power": 400}) == [(100, {"power": 800})]
    assert edge.apply(60, {"power": 501}) == []
    for _ in range(5):
        assert edge.apply(7, {"power": 300}, boot="b") == [(7, {"power": 600})]
    assert edge.apply(110, {"power": 1}) == []
    assert edge.quality.facts()["stuck"] == ["meter/power"]


def at_the_clock(edge: Edge, now: float, ahead: float, value: float) -> list[tuple[float, dict[str, Value]]]:
    """Apply a reading that arrives now, and is stamped by a clock that is ahead."""
    edge.latest = now
    return edge.apply(now + ahead, {"power": value})


AHEAD = st.lists(st.integers(0, 600), min_size=3, max_size=30)


@settings(max_examples=40)
@given(AHEAD, st.integers(-30, 86_400).map(lambda seconds: seconds + 0.5))
def test_a_time_in_the_future_does_not_switch_the_filters_off(ahead: list[int], set_back: float) -> None:
    """Neither do readings that were stamped while the clock was ahead, once it is set back."""
    edge = Edge('[quality."*/*"]\nspike = 50\nspike_readings = 3\ndeadband = 2\nheartbeat = 1e6\nstuck = 1e6')
    start = 1_700_000_000.0 + set_back
    passed = [at_the_clock(edge, start + 10 * n, each, 5) for n, each in enumerate(ahead)]
    assert [len(each) for each in passed] == [1] + [0] * (len(ahead) - 1)
    later = start + 10 * len(ahead) - set_back
    assert at_the_clock(edge, later, 0, 1000) == []
    for n in range(1, 5):
        assert at_the_clock(edge, later + 10 * n, 0, 5) == []
    assert edge.quality.counters()["quality_spikes"] == 1
    assert at_the_clock(edge, later + 60, 0, 20)[-1] == (later + 60, {"power": 20})


@settings(max_examples=40)
@given(AHEAD)
def test_a_heartbeat_comes_in_time_after_a_time_in_the_future(ahead: list[int]) -> None:
    edge = Edge('[quality."*/*"]\ndeadband = 2\nheartbeat = 60\nstuck = 60')
    for n, each in enumerate(ahead):
        at_the_clock(edge, 10 * n, each, 5)
    end = 10 * len(ahead)
    later = [passed for n in range(7) for passed in at_the_clock(edge, end + 10 * n, 0, 5)]
    assert any(end <= at <= end + 60 for at, _ in later)
    assert edge.quality.facts()["stuck"] == ["meter/power"]


def test_a_late_reading_passes_by_the_filters_after_one_from_the_future_too() -> None:
    edge = Edge('[quality."*/*"]\ndeadband = 2\nheartbeat = 1e6')
    at_the_clock(edge, 100, 0, 5)
    at_the_clock(edge, 110, 600, 5)
    assert at_the_clock(edge, 120, -60, 5) == [(60, {"power": 5})]
    assert at_the_clock(edge, 130, 0, 5) == []


def test_a_reading_without_a_rule_is_not_changed() -> None:
    edge = Edge('[quality."other/*"]\nscale = 2')
    values: dict[str, Value] = {"power": 1, "mode": "on", "load": True}
    for at in range(3):
        reading = Pending("meter", "", at, values, at)
        assert list(edge.quality.apply(reading)) == [reading]
    assert not Quality({}, lambda *_: None, lambda: math.inf)
    assert Quality({}, lambda *_: None, lambda: math.inf).counters() == {}


def test_rules_that_nothing_has_matched_are_shown() -> None:
    edge = Edge('[quality."meter/power"]\nscale = 2\n[quality."metre/*"]\nscale = 2\n[quality."*/temp"]\nmax = 1')
    assert edge.quality.facts()["quality_unmatched"] == ["meter/power", "metre/*", "*/temp"]
    edge.apply(0, {"power": 1})
    assert edge.quality.facts()["quality_unmatched"] == ["metre/*", "*/temp"]


def test_later_rules_count_more_option_by_option() -> None:
    merged = Rules(
        read(
            '[quality."*/*"]\ndeadband = 1\nheartbeat = 600\n[quality."emontx/temp*"]\nmin = -40\nmax = 85\n'
            '[quality."emontx/temp3"]\nmax = 120\ndeadband = 0.5'
        )
    )
    rule = merged.of("emontx", "temp3")
    assert rule
    assert (rule.deadband, rule.heartbeat, rule.min, rule.max, rule.scale) == (0.5, 600, -40, 120, None)
    other = merged.of("emontx", "power1")
    assert other
    assert (other.deadband, other.max) == (1, None)


def test_rules_that_leave_no_range_set_everything_aside_and_nothing_breaks() -> None:
    edge = Edge('[quality."*/*"]\nmin = 0\n[quality."meter/temp"]\nmax = -5')
    assert edge.apply(0, {"temp": -10}) == []
    assert edge.aside


@pytest.mark.parametrize(
    ("pattern", "device", "channel", "matches"),
    [
        ("*/*", "a-b", "c", True),
        ("emon*/power*", "emontx", "power12", True),
        ("emon*/power*", "xemontx", "power12", False),
        ("*/temp", "a", "temp1", False),
        ("a/b", "a", "b", True),
        ("a/b", "a", "bb", False),
        ("*-*/p", "pump-1", "p", True),
    ],
)
def test_a_star_stands_for_any_part_of_one_name(pattern: str, device: str, channel: str, matches: bool) -> None:
    rule = Rules(read(f'[quality."{pattern}"]\nscale = 2')).of(device, channel)
    assert (rule is not None) == matches


def test_heartbeat_0_publishes_everything_again() -> None:
    rule = Rules(read('[quality."*/*"]\ndeadband = 1\n[quality."meter/power"]\nheartbeat = 0')).of("meter", "power")
    assert rule
    assert not rule.on_change


INFO = Info(
    "Meter", {"power": Channel("W", label="P"), "energy": Channel("Wh", "counter", "", 1000.0, (0, 5))}, 10.0, "poller"
)


def test_the_info_of_a_device_describes_the_values_after_the_rules() -> None:
    text = '[quality."meter/energy"]\nscale = 0.001\nunit = "kWh"\nlabel = "Energy"'
    info = Edge(text).quality.described("meter", INFO)
    assert info.channels["energy"] == Channel("kWh", "counter", "Energy", 1.0, None)
    assert info.channels["power"] == INFO.channels["power"]
    assert (info.interval, info.model) == (10.0, "Meter")


def test_a_device_of_which_only_changes_are_published_is_expected_with_the_heartbeat() -> None:
    info = Edge('[quality."meter/power"]\ndeadband = 5').quality.described("meter", INFO)
    assert info.interval == HEARTBEAT_SECONDS
    assert Edge('[quality."other/power"]\ndeadband = 5').quality.described("meter", INFO) is INFO


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[quality."meter"]\nscale = 2', 'expected [quality."DEVICE/CHANNEL"]'),
        ("[quality.meter.power]\nscale = 2", 'expected [quality."DEVICE/CHANNEL"]'),
        ('[quality."Meter/power"]\nscale = 2', "'Meter/power': expected"),
        ('[quality."roof/meter/power"]\nscale = 2', "expected"),
        ('[quality."meter/power"]\nscale = "2"', "meter/power.scale: expected float, found '2'"),
        ('[quality."meter/power"]\nfactor = 2', "no such option: factor; there are scale, offset"),
        ('[quality."meter/power"]\nscale = 0', "scale: 0 would make every value 0"),
        ('[quality."meter/power"]\nscale = nan', "scale: nan is not a number"),
        ('[quality."meter/power"]\nspike = -1', "spike: -1 is less than 0"),
        ('[quality."meter/power"]\nspike_readings = 2', "spike_readings: 2 is not between 3 and 101"),
        ('[quality."meter/power"]\nmin = 5\nmax = 4', "min: 5 is more than max, which is 4"),
        ('[quality."meter/power"]\nunit = "Watt"', "unknown unit 'Watt'"),
        ("quality = 5", "expected object, found 5"),
        ('[quality]\n"meter/power" = 5', "meter/power: expected object, found 5"),
    ],
)
def test_a_wrong_rule_is_reported_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text)
    assert str(error.value).startswith("config.toml: [quality]")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


VALUES = st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), st.booleans())


@given(st.lists(st.tuples(st.integers(0, 100), st.dictionaries(st.sampled_from("abc"), VALUES)), max_size=30))
def test_the_rules_pass_only_finite_values_and_no_empty_reading(
    readings: list[tuple[int, dict[str, Any]]],
) -> None:
    edge = Edge(
        '[quality."*/*"]\nscale = 1e3\noffset = 1\nspike = 5\ndeadband = 2\nheartbeat = 20\nstuck = 10\n'
        '[quality."*/b"]\nmin = -5\nmax = 1e12\nspike_readings = 3'
    )
    for at, values in readings:
        edge.apply(at, values)
    edge.out += [(one.time, one.values) for one in edge.quality.release()]
    for _, values in edge.out:
        assert values or {} in [original for _, original in readings]
        assert all(isinstance(value, int | float) and math.isfinite(value) for value in values.values())


class Rig:
    """A producer with rules whose broker is not there."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder / "outbox"
        self.clock = Clock("trust", folder)
        self.bus = Bus(Broker(port=1), "pi", "meter")
        quality = Quality(read(text), lambda *_: None, self.clock.latest)
        self.producer = Producer(self.bus, "pi", "meter", self.folder, self.clock, lambda *_: None, quality=quality)

    def kept(self) -> list[tuple[float, dict[str, Value]]]:
        outbox = Outbox(self.folder, self.clock.boot)
        reader = OutboxReader(outbox)
        readings = []
        while record := reader.peek():
            for block in msgspec.json.decode(record.payload, type=list[Block]):
                readings += [(row[0], dict(zip(block.channels, row[1:], strict=True))) for row in block.rows]
            reader.advance()
        reader.start()
        outbox.close()
        return readings


def test_a_producer_stores_what_the_rules_pass_and_at_its_end_what_they_held_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path, '[quality."meter/power"]\nscale = 10\nmax = 100\ndeadband = 5')
    with rig.bus, rig.producer:
        for number, value in enumerate([1, 1, 1, 50, 1, 2, 2]):
            rig.producer.publish("meter", {"power": value, "voltage": 230.5}, 1_700_000_000 + number)
        assert rig.producer.flush()
        assert rig.producer.counters()["readings"] == 8
    readings = rig.kept()
    assert [values["voltage"] for _, values in readings if "voltage" in values] == [230.5] * 7
    powers = {at - 1_700_000_000: values["power"] for at, values in readings if "power" in values}
    assert powers == {0: 10, 4: 10, 5: 20, 6: 20}


def test_without_rules_a_producer_stores_what_is_published(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "")
    with rig.bus, rig.producer:
        for number in range(5):
            rig.producer.publish("meter", {"power": 1}, 1_700_000_000 + number)
    assert rig.kept() == [(1_700_000_000 + number, {"power": 1}) for number in range(5)]


def test_a_service_with_a_wrong_rule_ends_with_one_line_before_anything_connects(
    tmp_path: Path, processes: Processes
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[node]\nname = "pi"\n[quality."meter/power"]\nspike = -1\n')
    assert processes.start("services.sensor_reader", "--check", str(file)).wait(60) == 1
    assert processes.output() == f"sensor_reader: {file}: [quality] meter/power: spike: -1 is less than 0\n"


def test_the_rules_in_the_documentation_are_rules() -> None:
    text = (Path(rules.__file__).parents[1] / "docs/quality.md").read_text()
    first = text.split("```toml\n")[1].split("```")[0]
    assert len(read(first)) == 3
