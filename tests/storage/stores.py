"""What the tests of `heliograph store` share: the command in this process, and what is in a store afterwards."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from click.testing import CliRunner, Result

from heliograph import store
from heliograph.messages import Block, Channel, Info, Value
from heliograph.store.interface import Progress
from services.storage.cli.main import main

Points = list[tuple[float, Value]]
ALWAYS = (0.0, 4_102_444_800.0)


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def done(*arguments: object) -> str:
    """The output of a command that must succeed."""
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def everything(data: Path) -> dict[str, Points]:
    """All points of a store, by name of the series."""
    with closing(store.open_reader(data)) as reader:
        series = {one.id: one.name for one in reader.series()}
        points: dict[str, Points] = {name: [] for name in series.values()}
        for time, number, value in reader.export(list(series), *ALWAYS):
            points[series[number]].append((time, value))
    return points


def difference(actual: Mapping[str, Sequence[object]], expected: Mapping[str, Sequence[object]]) -> object:
    """The first difference of two large stores; pytest would show all of it."""
    if actual.keys() != expected.keys():
        return sorted(actual.keys() ^ expected.keys())
    for name, points in expected.items():
        for index, pair in enumerate(zip(actual[name], points, strict=False)):
            if pair[0] != pair[1]:
                return name, index, pair
        if len(actual[name]) != len(points):
            return name, len(actual[name]), len(points)
    return None


def meanings(data: Path) -> dict[str, tuple[str, str, float]]:
    """Unit, kind and rollover by name of the series."""
    with closing(store.open_reader(data)) as reader:
        return {one.name: (one.unit, one.kind, one.rollover) for one in reader.series()}


def make(
    data: Path,
    blocks: list[Block],
    channels: dict[str, Channel] | None = None,
    progress: dict[tuple[str, str], Progress] | None = None,
    node: str = "roof",
) -> None:
    """Write blocks of one node into a store, with one commit."""
    with closing(store.open_writer(data)) as writer:
        if channels:
            assert writer.declare(node, blocks[0].device, Info("model", channels)) == []
        assert writer.write(node, blocks) == []
        writer.commit(progress or {})


def progress(data: Path) -> dict[tuple[str, str], Progress]:
    with closing(store.open_writer(data)) as writer:
        return dict(writer.progress())


def settle(data: Path) -> None:
    """Bring a store into its final form."""
    with closing(store.open_writer(data)) as writer:
        writer.settle()
