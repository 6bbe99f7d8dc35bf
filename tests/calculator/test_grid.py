"""Results are a function of readings and times, however often and in whatever order they come."""

import random
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.messages import Value
from heliograph.renames import Rename, Renames
from services.calculator.checkpoint import CheckpointFile
from services.calculator.grid import Grid, InputChannel
from services.calculator.history import DISCARDED_POINTS, MAX_POINTS, InputHistory
from services.calculator.options import CalculatedChannel, CalculatedDevice

GRID, SUN = InputChannel("pi", "grid", "power"), InputChannel("pi", "sun", "power")
SUM = "grid.power + sun.power"


class Arrival(NamedTuple):
    channel: InputChannel
    at: int
    value: float


def options(formula: str = SUM, *, interval: float = 10, max_age: float = 25, wait: float = 5) -> CalculatedDevice:
    return CalculatedDevice(
        channels={"sum": CalculatedChannel(formula=formula)}, interval=interval, max_age=max_age, wait=wait
    )


class Site:
    """A grid, its inputs, and what the store has in the end."""

    def __init__(self, device: CalculatedDevice, stored: dict[int, dict[str, Value]] | None = None) -> None:
        self.histories: dict[InputChannel, InputHistory] = {}
        self.grid = Grid("house", device, "pi", self.histories)
        self.stored = {} if stored is None else stored

    def feed(self, arrivals: Iterable[Arrival]) -> list[int]:
        """Add readings together; return the times of the results."""
        for channel, at, value in arrivals:
            history = self.histories[channel]
            if not history.is_too_old(at) and history.add(at, value):
                self.grid.input_changed(channel, at)
        results = list(self.grid.results())
        for result in results:
            self.stored.setdefault(result.at, {}).update(result.values)
        return [result.at for result in results]


def expected(arrivals: list[Arrival], device: CalculatedDevice) -> dict[int, dict[str, Value]]:
    """The sums at all grid times that are complete, by definition."""
    interval, age, wait = (round(seconds * 1000) for seconds in (device.interval, device.max_age, device.wait))
    known: dict[InputChannel, dict[int, float]] = {GRID: {}, SUN: {}}
    for channel, at, value in arrivals:
        known[channel][at] = value
    newest = [max(points) for points in known.values() if points]
    complete = max(max(newest) - wait, min(newest) if len(newest) == 2 else 0)
    sums: dict[int, dict[str, Value]] = {}
    for at in range(0, complete + 1, interval):
        values = []
        for points in known.values():
            before = [then for then in points if then <= at]
            if before and at - max(before) <= age:
                values.append(points[max(before)])
        if len(values) == 2:
            sums[at] = {"sum": float(f"{sum(values):.12g}")}
    return sums


def line(channel: InputChannel, start: int, end: int, step: int, first: float = 0.0) -> list[Arrival]:
    return [Arrival(channel, at, first + at / 1000) for at in range(start, end, step)]


def test_every_input_has_its_newest_value_at_a_grid_time() -> None:
    site = Site(options())
    site.feed([Arrival(GRID, 1_000, 100), Arrival(SUN, 2_000, 5), Arrival(GRID, 9_999, 200), Arrival(SUN, 10_001, 7)])
    assert site.stored == {}
    site.feed([Arrival(GRID, 10_000, 300)])
    assert site.stored == {10_000: {"sum": 305}}


def test_a_time_is_calculated_once_all_inputs_have_passed_it() -> None:
    site = Site(options(wait=1000))
    site.feed([Arrival(SUN, 0, 1), *line(GRID, 0, 60_000, 5_000)])
    assert sorted(site.stored) == [0]
    assert site.feed([Arrival(SUN, 20_000, 1)]) == [10_000, 20_000]


def test_an_input_that_is_behind_is_waited_for_only_so_long() -> None:
    site = Site(options(wait=5))
    site.feed([Arrival(SUN, 0, 1), Arrival(GRID, 0, 1)])
    assert site.feed([Arrival(GRID, 14_999, 2)]) == []
    assert site.feed([Arrival(GRID, 15_000, 2)]) == [10_000]


def test_a_late_value_corrects_the_results_that_it_would_have_changed() -> None:
    site = Site(options())
    site.feed([*line(GRID, 0, 100_000, 5_000), Arrival(SUN, 38_000, 1), Arrival(SUN, 60_000, 2)])
    before = {at: dict(values) for at, values in site.stored.items()}
    assert site.feed([Arrival(SUN, 45_000, 50)]) == [50_000]
    changed = {at for at in site.stored if site.stored[at] != before.get(at)}
    assert changed == {50_000}
    assert site.grid.revised == 1
    assert site.feed([Arrival(SUN, 45_000, 50)]) == []


def test_an_input_that_is_too_old_has_no_value() -> None:
    site = Site(options(max_age=25))
    site.feed([Arrival(SUN, 0, 1), *line(GRID, 0, 200_000, 5_000)])
    assert sorted(site.stored) == [0, 10_000, 20_000]
    assert not site.grid.is_fresh
    assert site.grid.missing_inputs == ["sun.power"]
    assert site.grid.without_value > 10


def test_an_outage_of_years_is_skipped() -> None:
    site = Site(options())
    year = 365 * 86_400_000
    site.feed([*line(GRID, 0, 30_000, 5_000), *line(SUN, 0, 30_000, 5_000)])
    site.feed([Arrival(source, at * year + 1, 1) for at in range(1, 50) for source in (GRID, SUN)])
    site.feed([Arrival(source, 50 * year, 1) for source in (GRID, SUN)])
    assert len(site.stored) < 200
    assert max(site.stored) == 50 * year


def test_a_channel_can_use_another_of_its_device() -> None:
    device = CalculatedDevice(
        channels={
            "share": CalculatedChannel(formula="100 * sun.power / house.total", unit="%"),
            "total": CalculatedChannel(formula=SUM, unit="W"),
            "exports": CalculatedChannel(formula="grid.power < 0", kind="state"),
        },
        interval=10,
    )
    site = Site(device)
    site.feed([Arrival(GRID, 0, 300), Arrival(SUN, 0, 100)])
    assert site.stored == {0: {"total": 400, "share": 25, "exports": False}}


def test_a_channel_without_a_result_does_not_keep_the_others_from_theirs() -> None:
    device = CalculatedDevice(
        channels={
            "ratio": CalculatedChannel(formula="grid.power / sun.power"),
            "total": CalculatedChannel(formula=SUM),
        },
        interval=10,
    )
    site = Site(device)
    site.feed([Arrival(GRID, 0, 300), Arrival(SUN, 0, 0)])
    assert site.stored == {0: {"total": 300}}
    assert site.grid.without_value == 1


def test_results_have_no_traces_of_binary_fractions() -> None:
    site = Site(options())
    site.feed([Arrival(GRID, 0, 0.1), Arrival(SUN, 0, 0.2)])
    assert site.stored == {0: {"sum": 0.3}}


def test_an_interval_of_a_tenth_of_a_second_is_exact() -> None:
    site = Site(options(interval=0.1, max_age=1))
    begin = 1_795_240_880_000
    site.feed([Arrival(source, begin + step * 100, step) for step in range(600) for source in (GRID, SUN)])
    assert sorted(site.stored) == [begin + step * 100 for step in range(600)]
    assert site.stored[begin + 700] == {"sum": 14}


MOMENTS = st.builds(
    Arrival,
    st.sampled_from([GRID, SUN]),
    st.integers(0, 200).map(lambda half_seconds: half_seconds * 500),
    st.integers(-50, 50).map(lambda tenths: tenths / 10),
)
DEVICES = st.builds(
    options,
    interval=st.sampled_from([0.5, 3.0, 10.0]),
    max_age=st.sampled_from([0.5, 7.0, 25.0, 500.0]),
    wait=st.sampled_from([0.0, 4.0, 1000.0]),
)


def unique(arrivals: list[Arrival]) -> list[Arrival]:
    """One value per source and time: which of several is the last depends on the order."""
    return list({(source, at): Arrival(source, at, value) for source, at, value in arrivals}.values())


@given(st.lists(MOMENTS, min_size=1, max_size=40).map(unique), DEVICES, st.data())
def test_results_do_not_depend_on_order_batches_and_repetition(
    arrivals: list[Arrival], device: CalculatedDevice, data: st.DataObject
) -> None:
    site = Site(device)
    again = data.draw(st.lists(st.sampled_from(arrivals), max_size=10))
    shuffled = data.draw(st.permutations([*arrivals, *again]))
    while shuffled:
        size = data.draw(st.integers(1, 10))
        site.feed(shuffled[:size])
        shuffled = shuffled[size:]
    assert site.stored == expected(arrivals, device)


@given(
    st.lists(MOMENTS, min_size=1, max_size=40).map(unique),
    st.randoms(use_true_random=False),
    DEVICES,
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=4),
)
def test_a_crash_at_any_moment_changes_no_result(
    arrivals: list[Arrival], random: random.Random, device: CalculatedDevice, lives: list[tuple[int, int]]
) -> None:
    random.shuffle(arrivals)
    stored: dict[int, dict[str, Value]] = {}
    begin = 0  # what was acknowledged
    with tempfile.TemporaryDirectory() as folder:
        for safe, lost in [*lives, (len(arrivals), 0)]:
            site, file = Site(device, stored), CheckpointFile(Path(folder) / "checkpoint.json")
            file.load(site.histories, [site.grid])
            for arrival in arrivals[begin : begin + safe]:
                site.feed([arrival])
            file.save(site.histories, [site.grid])
            begin += safe
            for arrival in arrivals[begin : begin + lost]:
                site.feed([arrival])
    assert stored == expected(arrivals, device)


@pytest.mark.parametrize("known_after", [51, 55, 70])
def test_a_checkpoint_is_continued_under_the_names_of_a_rename(tmp_path: Path, known_after: int) -> None:
    """Case Y18: the renames of a database that is away at the start are known later: what the checkpoint had was dropped."""
    arrivals = [
        one for pair in zip(line(GRID, 0, 300_000, 5_000), line(SUN, 0, 300_000, 5_000), strict=True) for one in pair
    ]
    device, stored = options(), dict[int, dict[str, Value]]()
    before, file = Site(device, stored), CheckpointFile(tmp_path / "checkpoint.json")
    before.feed(arrivals[:51])
    file.save(before.histories, [before.grid])
    histories: dict[InputChannel, InputHistory] = {}
    grid = Grid("home", options("main.power + sun.power"), "gamma", histories)
    renames = Renames([Rename("pi", "gamma"), Rename("gamma/grid", "gamma/main"), Rename("gamma/house", "gamma/home")])
    file.load(histories, [grid])
    after = Site(device, stored)
    after.histories, after.grid = histories, grid
    now = {GRID: InputChannel("gamma", "main", "power"), SUN: InputChannel("gamma", "sun", "power")}
    after.feed(one._replace(channel=now[one.channel]) for one in arrivals[51:known_after])
    file.save(histories, [grid])
    file = CheckpointFile(tmp_path / "checkpoint.json")  # once more before the store is there
    histories.clear()
    grid = after.grid = Grid("home", options("main.power + sun.power"), "gamma", histories)
    file.load(histories, [grid])
    assert file.is_waiting
    file.follow("gamma", histories, [grid], renames)
    assert not file.is_waiting
    after.feed(one._replace(channel=now[one.channel]) for one in arrivals[known_after:])
    assert stored == expected(arrivals, device)


def test_inputs_of_which_one_is_half_an_hour_ahead_lose_nothing_by_restarts(tmp_path: Path) -> None:
    device = options(max_age=25)
    ahead, behind = line(GRID, 0, 3_000_000, 5_000), line(SUN, 0, 3_000_000, 5_000)
    together = [[*ahead[2 * index : 2 * index + 2], behind[index]] for index in range(600)]
    stored: dict[int, dict[str, Value]] = {}
    for begin in range(0, 600, 20):
        site, file = Site(device, stored), CheckpointFile(tmp_path / "checkpoint.json")
        file.load(site.histories, [site.grid])
        for arrivals in together[begin : begin + 20]:
            site.feed(arrivals)
        file.save(site.histories, [site.grid])
    assert stored == expected([*ahead, *behind], device)


def test_a_checkpoint_stays_small_when_an_input_is_gone(tmp_path: Path) -> None:
    site, file = Site(options()), CheckpointFile(tmp_path / "checkpoint.json")
    site.feed([Arrival(SUN, 0, 1), Arrival(GRID, 0, 1)])
    file.save(site.histories, [site.grid])
    for begin in range(5_000, 5_000_000, 500_000):
        site.feed(line(GRID, begin, begin + 500_000, 5_000))
        file.save(site.histories, [site.grid])
    file.save(site.histories, [site.grid])
    assert (tmp_path / "checkpoint.json").stat().st_size < 2_000


def test_memory_is_bounded_and_older_values_are_refused() -> None:
    history = InputHistory()
    for at in range(3 * MAX_POINTS):
        assert history.add(at, at)
    assert MAX_POINTS - DISCARDED_POINTS <= len(history.since(0)) <= MAX_POINTS
    oldest = history.since(0)[0][0]
    assert history.floor == oldest
    assert history.is_too_old(oldest - 1)
    assert not history.add(oldest - 1, 5)
    assert history.as_of(oldest - 1, 10) is None
    assert history.as_of(oldest, 10) == oldest
