"""A store in memory and a target that answers by a script, for the tests of the engine."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from heliograph.errors import StoreAway
from heliograph.messages import Kind, Value
from heliograph.renames import Renames
from heliograph.store.interface import Arrival, Function, Point, RawPage, Reader, Series
from services.uploader.engine.pipeline import Pipeline
from services.uploader.engine.selection import Selection
from services.uploader.engine.source import ChannelMap
from services.uploader.engine.state import StateFile
from services.uploader.options import Secret, TargetOptions
from services.uploader.target import Answer, Limits, MappedChannel, Row

NOON = 1_763_640_000.0


class Options(TargetOptions, frozen=True, kw_only=True, tag="fake"):
    """A target of kind "fake"."""

    token: Secret = ""


def fake_options(**options: object) -> Options:
    """Return options of a target that begins with the beginning, unless they say otherwise; `start` is `from`."""
    start = options.pop("start", "beginning")
    return msgspec.convert({"kind": "fake", "name": "fake", "from": start, **options}, Options)


class MemoryStore:
    """What arrived, in order; only what readings as they are need of a Reader."""

    def __init__(self) -> None:
        self.arrived: list[Arrival] = []
        self.away = False
        self.renamed = Renames()
        self._series: dict[tuple[str, str, str], Series] = {}

    def arrive(self, moment: float, values: dict[str, Value], device: str = "meter", kind: Kind = "gauge") -> None:
        for channel in values:
            key = ("pi", device, channel)
            self._series.setdefault(key, Series(len(self._series) + 1, *key, "W", kind))
        self.arrived.append(Arrival(len(self.arrived) + 1, "pi", device, moment, tuple(values), tuple(values.values())))

    engine = "memory"

    def series(self) -> list[Series]:
        return list(self._series.values())

    def since(self, cursor: int, limit: int) -> list[Arrival]:
        if self.away:
            raise StoreAway("no store")
        return self.arrived[cursor : cursor + limit]

    def latest(self, ids: Sequence[int], until: float = math.inf) -> dict[int, Point]:
        points: dict[int, Point] = {}
        for arrival in sorted((one for one in self.arrived if one.time <= until), key=lambda one: one.time):
            for channel, value in arrival.values.items():
                series = self._series[(arrival.node, arrival.device, channel)]
                if series.id in ids:
                    points[series.id] = Point(arrival.time, value)
        return points

    def extent(self) -> tuple[float, float] | None:
        times = [arrival.time for arrival in self.arrived]
        return (min(times), max(times)) if times else None

    def raw(self, series: int, start: float, end: float, *, limit: int, after: float | None = None) -> RawPage:
        raise NotImplementedError

    def aggregate(
        self, series: int, edges: Sequence[float], functions: Sequence[Function]
    ) -> dict[str, list[Value | None]]:
        raise NotImplementedError

    def export(self, ids: Sequence[int], start: float, end: float) -> Iterator[tuple[float, int, Value]]:
        raise NotImplementedError

    def version(self, start: float, end: float) -> str:
        raise NotImplementedError

    def renames(self) -> Renames:
        return self.renamed

    def problems(self) -> list[str]:
        return []

    def damaged(self, ids: Sequence[int], start: float, end: float) -> list[str]:
        return []

    def close(self) -> None:
        pass


class FakeTarget:
    """Takes rows; before that it does what is next in `script`: raises it, or calls it with the rows."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits(rows=10)
        self.script: list[object] = []
        self.requests: list[list[Row]] = []
        self.taken: list[Row] = []
        self.known_newest: float | None = None
        self.newest_calls = 0
        self.unusable = ""  # why it cannot be opened

    def upload(self, rows: Sequence[Row]) -> Answer:
        self.requests.append(list(rows))
        step = self.script.pop(0) if self.script else None
        if callable(step):
            step = step(rows)
        if isinstance(step, Exception):
            raise step
        self.taken += rows
        return step if isinstance(step, Answer) else Answer("thank you")

    def newest(self) -> float | None:
        self.newest_calls += 1
        return self.known_newest

    def close(self) -> None:
        pass

    def times(self) -> list[float]:
        return [row.time for row in self.taken]


def is_idle(pipeline: Pipeline) -> bool:
    """Whether no batch has been begun."""
    return pipeline._session is None or pipeline._session.batch is None


class Engine:
    """A course with a state file of its own, which survives `restart`."""

    def __init__(self, folder: Path, store: Reader, target: FakeTarget, **options: object) -> None:
        self.store = store
        self.target = target
        self.now = NOON + 100
        self.state = StateFile(folder / "uploader.db")
        self._options = fake_options(**options)
        self.pipeline = self._course()

    def restart(self, **options: object) -> None:
        """Begin again as after a crash: only what is in the file is known."""
        if options:
            self._options = fake_options(**options)
        self.pipeline = self._course()

    def run(self, steps: int = 200) -> None:
        """Step until there is nothing to do, whatever is to be waited for."""
        for _ in range(steps):
            if self.pipeline.step() > 0 and is_idle(self.pipeline):
                return
            self.pipeline.pause(paused=False)

    def close(self) -> None:
        self.pipeline.close()
        self.state.close()

    def reasons(self) -> list[str]:
        return [letter.reason for letter in self.state.dead_letters("fake", limit=10_000)]

    def lost_times(self) -> list[float]:
        return [letter.row.time for letter in self.state.dead_letters("fake", limit=10_000)]

    def _course(self) -> Pipeline:
        channels = ChannelMap(self.store, Selection(self._options))
        return Pipeline(self._options, self.store, channels, self.state, self._open_target, lambda: self.now)

    def _open_target(self, _: Callable[[], None]) -> FakeTarget:
        if self.target.unusable:
            raise ValueError(self.target.unusable)
        return self.target


def mapped(channel: str = "power", kind: Kind = "gauge") -> MappedChannel:
    return MappedChannel("pi", "meter", channel, "W", kind, channel)
