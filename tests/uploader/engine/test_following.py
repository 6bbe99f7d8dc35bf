"""A rename in the store: targets continue under the new name, or under the old one, and nothing is sent twice."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from heliograph import store
from heliograph.messages import Block, Channel, Info
from heliograph.renames import Rename, Uploads
from heliograph.store import open_reader, open_writer
from heliograph.store.interface import Reader
from services.uploader.target import Limits, Refused, Row
from tests.uploader.engine.fakes import NOON, Engine, FakeTarget

NAMES = "${node}.${device}.${channel}"


def arrive(data: Path, name: str, first: int, count: int) -> None:
    node, device = name.split("/")
    with closing(open_writer(data)) as writer:
        writer.declare(node, device, Info("Meter", {"power": Channel("W")}))
        writer.write(node, [Block(device, ("power",), [[NOON + n, float(n)] for n in range(first, first + count)])])
        writer.commit({})
        writer.settle()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    arrive(tmp_path, "alpha/meter", 0, 20)
    with closing(open_reader(tmp_path)) as opened:
        yield opened


def sent(target: FakeTarget) -> list[tuple[float, str]]:
    return [(row.time - NOON, mapped.name) for row in target.taken for mapped in row.channels]


@pytest.mark.parametrize("uploads", ["new", "old"])
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("patterns", [("alpha/*/*",), ("gamma/*/*",), ("*/*/*",)])
def test_each_reading_is_sent_once_under_the_chosen_name(
    tmp_path: Path, reader: Reader, uploads: Uploads, patterns: tuple[str, ...], *, joined: bool
) -> None:
    """Whether a target's patterns have the old name, as in a config.toml that was not changed, or the new one."""
    target = FakeTarget(Limits(overwrites=False))
    engine = Engine(tmp_path, reader, target, channels=patterns, name_template=NAMES)
    with closing(engine):
        engine.run()
        before = sent(target)
        assert before == ([] if patterns == ("gamma/*/*",) else [(n, "alpha.meter.power") for n in range(20)])
        if joined:
            arrive(tmp_path, "gamma/meter", 20, 5)
        store.rename(tmp_path, Rename("alpha", "gamma", uploads))
        engine.restart(channels=patterns, name_template=NAMES)
        engine.run()
        arrive(tmp_path, "gamma/meter", 30, 5)
        engine.run()
    name = "alpha.meter.power" if uploads == "old" else "gamma.meter.power"
    new = [*(range(20, 25) if joined else ()), *range(30, 35)]
    if patterns == ("gamma/*/*",):  # the cursor is behind what the target did not want before
        assert sent(target)[-len(new) :] == [(n, name) for n in new]
    else:
        assert sent(target) == before + [(n, name) for n in new]


@pytest.mark.parametrize("uploads", ["new", "old"])
def test_dead_letters_and_what_is_known_of_devices_follow(tmp_path: Path, reader: Reader, uploads: Uploads) -> None:
    def refuses(rows: list[Row]) -> Exception | None:
        return Refused("bad", None) if any(row.time == NOON + 7 for row in rows) else None

    target = FakeTarget(Limits(ordered=True))
    target.script = [refuses] * 20
    engine = Engine(tmp_path, reader, target, name_template=NAMES)
    with closing(engine):
        engine.run()
        assert engine.lost_times() == [NOON + 7]
        store.rename(tmp_path, Rename("alpha/meter", "alpha/main", uploads))
        engine.restart(name_template=NAMES)
        engine.run()
        device = "meter" if uploads == "old" else "main"
        state = engine.state.delivery_state("fake")
        assert state is not None
        assert state.newest_by_device == {f"alpha/{device}": NOON + 19}
        (letter,) = engine.state.dead_letters("fake")
        assert (letter.row.channels[0].series, letter.row.channels[0].name) == (
            f"alpha/{device}/power",
            f"alpha.{device}.power",
        )
        assert len(target.taken) == 19


def test_a_former_name_that_something_else_has_is_no_former_name(tmp_path: Path, reader: Reader) -> None:
    target = FakeTarget()
    store.rename(tmp_path, Rename("alpha/meter", "alpha/main", "old"))
    arrive(tmp_path, "alpha/meter", 40, 2)
    engine = Engine(tmp_path, reader, target, name_template=NAMES)
    with closing(engine):
        engine.run()
    assert set(sent(target)) == {(n, "alpha.main.power") for n in range(20)} | {
        (n, "alpha.meter.power") for n in (40, 41)
    }
