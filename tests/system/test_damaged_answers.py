"""Bytes of a year are overwritten: every answer is that of the sound store, or what it may lack is reported."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.messages import Block, Channel, Info
from heliograph.store import folder, history, open_reader, open_writer
from heliograph.store.interface import FUNCTIONS, Keep, Reader
from tests.system.io_faults import folder_in_memory

DAY = 86_400.0
START = 1_703_808_000.0  # 2023-12-29 00:00 UTC
DAYS = 6  # three of each year
CHANNELS = {"power": Channel("W"), "energy": Channel("kWh", "counter"), "mode": Channel("", "text")}
END = START + DAYS * DAY
LATER = START + 800 * DAY  # in 2026: both years are closed
FILES = ("history-2023.db", "history-2024.db")


class Overwritten(NamedTuple):
    """Random bytes at a place of a file, as shares of its size, or so many of them."""

    file: str
    begin: float
    size: int
    seed: int

    def apply(self, store: Path) -> None:
        path = next(path for path in store.glob("history-*.db") if path.name[:12] == self.file[:12])
        content = bytearray(path.read_bytes())
        begin = int(len(content) * self.begin)
        size = min(self.size, len(content) - begin)
        content[begin : begin + size] = random.Random(self.seed).randbytes(size)
        path.write_bytes(content)


class Question(NamedTuple):
    """A question to a reader, the series and the time that it is about."""

    name: str
    ask: Callable[[Reader], object]
    series: Sequence[int]
    start: float
    end: float


def written(data: Path, *, now: float, per_day: int) -> None:
    """The meter has cells of all grains if there are enough readings a day, the tank only points."""
    chance = random.Random(7)
    with closing(open_writer(data, lambda: False, now=lambda: now)) as writer:
        for device, count in (("meter", per_day), ("tank", 40)):
            writer.declare("roof", device, Info("", CHANNELS))
            for day in range(DAYS):
                rows = [
                    [
                        START + (day + n / count) * DAY,
                        chance.randrange(5000) / 7,
                        (day * count + n) / 8,
                        f"mode {n % 3}",
                    ]
                    for n in range(count)
                ]
                assert writer.write("roof", [Block(device, tuple(CHANNELS), rows)]) == []
                writer.commit({})
        writer.settle()
        while writer.maintain():
            pass


def without_points(data: Path) -> None:
    with closing(open_writer(data, lambda: False, keep=Keep(raw_years=1), now=lambda: LATER)) as writer:
        writer.write("roof", [Block("meter", ("power",), [[LATER, 0.5]])])
        writer.commit({})
        writer.settle()
        while writer.maintain():
            pass
    assert any(map(history.is_bare, history.files(folder(data)).values()))


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[str, Path]]:
    """A store whose months are open, one whose years are closed, and one without the points of 2023."""
    with folder_in_memory() as memory:
        written(memory / "open", now=END, per_day=300)
        written(memory / "closed", now=LATER, per_day=300)
        written(memory / "bare", now=LATER, per_day=2880)
        without_points(memory / "bare")
        yield {name: memory / name for name in ("open", "closed", "bare")}


def edges(start: float, end: float, step: float, odd: float = 0.0) -> list[float]:
    return [start + odd + n * step for n in range(int((end - start) / step) + 1)]


def questions(ids: list[int]) -> Iterator[Question]:
    for sid in ids:
        for start, end in ((START, END), (START + DAY, START + 2 * DAY), (END - DAY, END)):
            yield Question("raw", partial(raw, sid, start, end), [sid], start, end)
            for step, odd in ((300.0, 0.0), (3600.0, 0.0), (DAY, 0.0), (7200.0, 0.25)):
                bounds = edges(start, end, step, odd)
                if len(bounds) < 500:
                    yield Question(f"buckets of {step} s", partial(buckets, sid, bounds), [sid], start, end)
        yield Question("latest", partial(latest, sid), [sid], START, END)
        yield Question("export", partial(exported, sid), [sid], START, END)
    for cursor in (0, 700):
        yield Question("since", partial(since, cursor), ids, START, END)
    yield Question("extent", extent, ids, START, END)


def raw(sid: int, start: float, end: float, reader: Reader) -> object:
    return reader.raw(sid, start, end, limit=10**6)


def buckets(sid: int, bounds: list[float], reader: Reader) -> object:
    return reader.aggregate(sid, bounds, FUNCTIONS)


def latest(sid: int, reader: Reader) -> object:
    return reader.latest([sid])


def exported(sid: int, reader: Reader) -> object:
    return list(reader.export([sid], START, END))


def since(cursor: int, reader: Reader) -> object:
    return reader.since(cursor, 10**6)


def extent(reader: Reader) -> object:
    return reader.extent()


class Sound(NamedTuple):
    """The questions to a store, and its answers."""

    questions: list[Question]
    answers: list[str]


@pytest.fixture(scope="module")
def sound(stores: dict[str, Path]) -> dict[str, Sound]:
    known = {}
    for name, data in stores.items():
        with closing(open_reader(data)) as reader:
            asked = list(questions([one.id for one in reader.series()]))
            known[name] = Sound(asked, [repr(question.ask(reader)) for question in asked])
            assert reader.problems() == []
    return known


def assert_equal_or_reported(data: Path, known: Sound, chosen: random.Random) -> None:
    """Each question has a reader of its own: what one has noticed is no help for another."""
    for index in chosen.sample(range(len(known.questions)), 12):
        question = known.questions[index]
        with closing(open_reader(data)) as reader:
            try:
                answer = repr(question.ask(reader))
                if answer != known.answers[index]:
                    assert reader.damaged(question.series, question.start, question.end), question.name
                    assert reader.problems(), question.name
            except (StoreAway, StoreDamaged):
                continue


OVERWRITTEN = st.builds(
    Overwritten,
    st.sampled_from(FILES),
    st.floats(0, 0.999),
    st.sampled_from([1, 2, 8, 64, 300, 512, 3000, 4096, 9000]),
    st.integers(0, 1 << 32),
)


@pytest.mark.timeout(1800)
def test_every_answer_is_sound_or_its_damage_is_reported(
    stores: dict[str, Path], sound: dict[str, Sound], request: pytest.FixtureRequest
) -> None:
    @settings(
        max_examples=2000 if request.config.getoption("--full") else 40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    @given(st.sampled_from(["open", "closed", "bare"]), OVERWRITTEN)
    def check(name: str, overwritten: Overwritten) -> None:
        with folder_in_memory() as memory:
            shutil.copytree(stores[name], memory / "data")
            overwritten.apply(folder(memory / "data"))
            assert_equal_or_reported(memory / "data", sound[name], random.Random(overwritten.seed))

    check()
