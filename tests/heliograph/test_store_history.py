"""Random histories of a store, compared with a plain list that keeps every arrival."""

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
        writer = self.engine.writer(now=lambda: self.now)
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
