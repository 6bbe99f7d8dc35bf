"""Random histories of a store, compared with a plain list that keeps every arrival."""

import itertools
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliograph.errors import StoreAway
from heliograph.messages import Block, Channel, Info, Kind
from heliograph.store import housekeeping, tiers
from heliograph.store.interface import Reader, Writer
from tests.heliograph.engines import Embedded, Engine, Postgres
from tests.heliograph.plain_list import DAY, INFO, T0, Follower, Model, blocks, compare, edges, times
from tests.heliograph.postgres_server import Server

pytestmark = pytest.mark.slow

NODES = ("roof", "shed")
DEVICES = ("meter", "boiler")
MOST_STEPS = 24


class Write(NamedTuple):
    node: str
    blocks: list[Block]


class Again(NamedTuple):
    which: int


class Maintain(NamedTuple):
    day: int
    pieces: int


class Declare(NamedTuple):
    node: str
    device: str
    channel: str
    meaning: Channel


class Replaced(NamedTuple):
    which: int
    time: float


class Poll(NamedTuple):
    limit: int


Step = Write | Again | Maintain | Declare | Replaced | Poll | str

kinds: st.SearchStrategy[Kind] = st.sampled_from(["gauge", "counter", "state"])
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Write, st.sampled_from(NODES), st.lists(blocks(), max_size=3)),
    st.builds(Write, st.sampled_from(NODES), st.lists(blocks(), min_size=1, max_size=3)),
    st.builds(Again, st.integers(0, 20)),
    st.sampled_from(["commit", "commit", "reopen", "ask", "settle"]),
    st.builds(Maintain, st.sampled_from([0, 2, 20, 60, 400]), st.integers(1, 5)),
    st.builds(
        Declare,
        st.sampled_from(NODES),
        st.sampled_from(DEVICES),
        st.sampled_from(["power", "heating", "energy"]),
        st.builds(
            lambda kind, rollover: Channel("", kind, rollover=rollover), kinds, st.sampled_from([0.0, 0.0, 1000.0])
        ),
    ),
    st.builds(Replaced, st.integers(0, 20), times),
    st.builds(Poll, st.integers(1, 7)),
)
histories = st.lists(steps, max_size=MOST_STEPS)


class Run:
    """A store and a list that execute the same steps."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = T0
        self.model = Model()
        self.meanings = {(node, device): dict(INFO.channels) for node in NODES for device in DEVICES}
        self.written: list[Write] = []
        self.follower = Follower()
        self.reader: Reader = engine.reader()
        with pytest.raises(StoreAway):
            self.reader.series()
        self.writer = self.opened()

    def opened(self) -> Writer:
        writer = self.engine.writer(lambda: False, now=lambda: self.now)  # readings may be later than its clock
        for (node, device), channels in self.meanings.items():
            assert writer.declare(node, device, Info("Model", channels)) == []
        writer.commit({})
        return writer

    def write(self, step: Write) -> None:
        assert self.writer.write(step.node, step.blocks) == []
        for block in step.blocks:
            self.model.write(step.node, block)

    def do(self, step: Step, cuts: list[float], limit: int) -> None:
        match step:
            case Write():
                self.written.append(step)
                self.write(step)
            case Again(which) if self.written:
                self.write(self.written[which % len(self.written)])
            case Maintain(day, pieces):
                self.now = T0 + day * DAY
                for _ in range(pieces):
                    self.writer.maintain()
            case Declare(node, device, channel, meaning):
                self.meanings[node, device][channel] = meaning
                assert self.writer.declare(node, device, Info("", {channel: meaning})) == []
                self.commit()
            case Replaced(which, time):
                known = self.reader.series()
                one = known[which % len(known)]
                self.writer.replaced(one.id, time)
                self.model.replaced(one.name, time)
            case Poll(most):
                self.follower.poll(self.reader, most)
            case "commit":
                self.commit()
            case "reopen":
                self.writer.close()
                self.model.forget_uncommitted()
                self.writer = self.opened()
            case "settle":
                self.writer.settle()
            case "ask":
                compare(self.reader, self.model, cuts, limit)

    def commit(self) -> None:
        self.writer.commit({})
        self.model.commit()

    def finish(self, cuts: list[float], limit: int) -> None:
        """Compare once more: as it is, after everything is sealed, and after the writer was closed; then open it again."""
        self.commit()
        compare(self.reader, self.model, cuts, limit)
        self.writer.settle()
        assert not self.writer.maintain()
        compare(self.reader, self.model, cuts, limit)
        while self.follower.poll(self.reader, limit):
            pass
        wanted = {(one.name, time): value for one in self.reader.series() for time, value in self.model.points(one)}
        assert {key: self.follower.known.get(key) for key in wanted} == wanted
        self.writer.close()
        compare(self.reader, self.model, cuts, limit)
        self.writer = self.opened()


def live_through(engine: Engine, history: list[Step], cuts: list[float], limit: int) -> None:
    run = Run(engine)
    try:
        for step in history:
            run.do(step, cuts, limit)
        run.finish(cuts, limit)
    finally:
        run.writer.close()
        run.reader.close()


@pytest.mark.parametrize("least", ["as it is", "one point"])
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(history=histories, cuts=edges, limit=st.integers(1, 7))
def test_any_history_reads_like_a_plain_list(least: str, history: list[Step], cuts: list[float], limit: int) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        if least == "one point":  # every day has cells, and what is sealed at once is little
            patch.setattr(tiers, "GRAINS", tuple(grain._replace(least=1) for grain in tiers.GRAINS))
            patch.setattr(housekeeping, "SEAL_FRAMES", 5)
        live_through(Embedded(Path(name)), history, cuts, limit)


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(history=histories, cuts=edges, limit=st.integers(1, 7))
def test_any_history_of_a_server_reads_like_a_plain_list(
    server: Server, history: list[Step], cuts: list[float], limit: int
) -> None:
    engine = Postgres(server.url())
    engine.drop()
    live_through(engine, history, cuts, limit)


MIDNIGHT = T0 + DAY
# what a counter may show that now and then is wrong, read once a minute and more rarely, around midnight
shown = st.lists(
    st.tuples(
        st.sampled_from([60, 300, 600, 900, 901]),
        st.sampled_from([1000.0, 1000.0, 1000.1, 1000.3, 950.5, 899.9, 0.0, 0.5, 0.6, 42949672.8]),
    ),
    min_size=4,
    max_size=40,
)
close_edges = st.lists(st.integers(-24, 24), min_size=2, max_size=12, unique=True).map(
    lambda numbers: [MIDNIGHT + number * 300 for number in sorted(numbers)]
) | st.lists(st.integers(-7200, 7200), min_size=2, max_size=6, unique=True).map(
    lambda numbers: [MIDNIGHT + number for number in sorted(numbers)]
)
meters = st.lists(st.integers(-7200, 7200).map(lambda second: MIDNIGHT + second), max_size=2)


def show(engine: Engine, readings: list[tuple[int, float]], cuts: list[float], replaced: list[float]) -> None:
    writer, reader, model = engine.writer(), engine.reader(), Model()
    try:
        start = MIDNIGHT - sum(step for step, _ in readings) // 2 // 60 * 60
        seconds = itertools.accumulate(step for step, _ in readings)
        rows = [[start + second, value] for second, (_, value) in zip(seconds, readings, strict=True)]
        writer.declare("roof", "meter", INFO)
        for part in (rows[::2], rows[1::2]):  # the second half arrives late
            writer.write("roof", [Block("meter", ("energy",), part)])
            model.write("roof", Block("meter", ("energy",), part))
            writer.commit({})
            model.commit()
            for _ in range(2):
                compare(reader, model, cuts, 1000)
                writer.settle()
        (energy,) = [one for one in reader.series() if one.channel == "energy"]
        for time in replaced:
            writer.replaced(energy.id, time)
            model.replaced(energy.name, time)
            compare(reader, model, cuts, 1000)
    finally:
        writer.close()
        reader.close()


@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(shown, close_edges, meters)
def test_a_counter_with_wrong_values_rises_like_a_plain_list(
    readings: list[tuple[int, float]], cuts: list[float], replaced: list[float]
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiers, "GRAINS", tuple(grain._replace(least=1) for grain in tiers.GRAINS))
        show(Embedded(Path(name)), readings, cuts, replaced)


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(shown, close_edges, meters)
def test_a_counter_with_wrong_values_rises_like_a_plain_list_on_a_server(
    server: Server, readings: list[tuple[int, float]], cuts: list[float], replaced: list[float]
) -> None:
    engine = Postgres(server.url())
    engine.drop()
    show(engine, readings, cuts, replaced)
