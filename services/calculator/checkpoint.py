"""What must survive a restart, so that nothing that was acknowledged is asked for again."""

from pathlib import Path

import msgspec

from heliograph import durable
from services.calculator.grid import Grid, Source
from services.calculator.history import History

KEPT = 120_000  # ms behind the newest value of all: what can still be corrected after a restart


class Input(msgspec.Struct, frozen=True):
    """One source: its last points, and what is forgotten before them."""

    node: str
    device: str
    channel: str
    points: list[tuple[int, float]]
    floor: int | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """The content of the file."""

    inputs: list[Input] = msgspec.field(default_factory=list)
    next: dict[str, int] = msgspec.field(default_factory=dict)
    intervals: dict[str, int] = msgspec.field(default_factory=dict)  # ms; `next` counts in them


class File:
    """Keeps a checkpoint in a file that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._newest: dict[Source, int | None] = {}

    def load(self, histories: dict[Source, History], grids: list[Grid]) -> None:
        """Go on where the file says; raise OSError if it cannot be read, ValueError if it is no checkpoint."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=Checkpoint)
        except FileNotFoundError:
            return
        for one in found.inputs:
            source = Source(one.node, one.device, one.channel)
            if source in histories:
                histories[source].restore(one.points, one.floor)
        for grid in grids:
            if found.intervals.get(grid.name) == grid.interval and grid.name in found.next:
                grid.next = found.next[grid.name]
        self._remember(histories)

    def save(self, histories: dict[Source, History], grids: list[Grid]) -> None:
        """Write what it takes to go on from here; raise OSError if the disk refuses."""
        starts = [(grid, self._start(histories, grid)) for grid in grids]
        inputs = []
        for source, history in histories.items():
            points = history.since(min(start for grid, start in starts if source in grid.inputs.values()))
            kept_all = not points or history.since(0)[0] == points[0]
            inputs.append(Input(*source, points, history.floor if kept_all else points[0][0]))
        content = Checkpoint(
            inputs,
            {grid.name: grid.open for grid in grids if grid.open is not None},
            {grid.name: grid.interval for grid in grids},
        )
        durable.write(self._path, msgspec.json.encode(content))
        self._remember(histories)

    def _remember(self, histories: dict[Source, History]) -> None:
        self._newest = {source: history.newest for source, history in histories.items()}

    def _start(self, histories: dict[Source, History], grid: Grid) -> int:
        """Return from when on a grid needs its inputs: what is not calculated yet, and what those that are behind will ask for."""
        newest = {source: at for source in grid.inputs.values() if (at := histories[source].newest) is not None}
        moving = [at for source, at in newest.items() if at != self._newest.get(source)]
        if grid.open is None or not newest:
            return 0
        return max(0, min(max(newest.values()) - KEPT, grid.open * grid.interval, *moving))
