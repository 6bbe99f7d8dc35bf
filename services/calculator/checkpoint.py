"""The state that survives a restart, so that nothing that was acknowledged is needed again."""

from pathlib import Path

import msgspec

from heliograph import durable
from heliograph.renames import Renames
from services.calculator.grid import Grid, InputChannel
from services.calculator.history import InputHistory

KEPT = 120_000  # ms behind the newest value of all: what can still be corrected after a restart


class InputState(msgspec.Struct, frozen=True):
    """One input: its last points, and the time before which values were discarded."""

    node: str
    device: str
    channel: str
    points: list[tuple[int, float]]
    floor: int | None = None


class CalculatorState(msgspec.Struct, frozen=True):
    """The content of the file."""

    inputs: list[InputState] = msgspec.field(default_factory=list)
    next: dict[str, int] = msgspec.field(default_factory=dict)  # the first open step of each device
    intervals: dict[str, int] = msgspec.field(default_factory=dict)  # ms; `next` counts in them


class CheckpointFile:
    """Keeps a checkpoint in a file that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._newest: dict[InputChannel, int | None] = {}

    @property
    def has_values(self) -> bool:
        """Whether the file has the value of an input."""
        return any(at is not None for at in self._newest.values())

    def load(self, node: str, histories: dict[InputChannel, InputHistory], grids: list[Grid], renames: Renames) -> None:
        """Restore what the file has, also under names from before a rename; `node` is that of the calculated devices.

        Raises OSError if it cannot be read, ValueError if it is not a checkpoint.
        """
        try:
            checkpoint = msgspec.json.decode(self._path.read_bytes(), type=CalculatorState)
        except FileNotFoundError:
            return
        for state in checkpoint.inputs:
            channel = InputChannel(state.node, state.device, state.channel)
            if channel not in histories:
                channel = InputChannel(*renames.present("/".join(channel)).split("/"))
            if channel in histories:
                histories[channel].restore(state.points, state.floor)
        for grid in grids:
            names = [grid.name, *(name.rpartition("/")[2] for name in renames.former(f"{node}/{grid.name}"))]
            name = next((name for name in names if name in checkpoint.next), grid.name)
            if checkpoint.intervals.get(name) == grid.interval and name in checkpoint.next:
                grid.next_step = checkpoint.next[name]
        self._remember(histories)

    def save(self, histories: dict[InputChannel, InputHistory], grids: list[Grid]) -> None:
        """Write what is needed to continue from here; raise OSError if the disk refuses."""
        starts = [(grid, self._start(histories, grid)) for grid in grids]
        inputs = []
        for channel, history in histories.items():
            points = history.since(min(start for grid, start in starts if channel in grid.inputs.values()))
            kept_all = not points or history.since(0)[0] == points[0]
            inputs.append(InputState(*channel, points, history.floor if kept_all else points[0][0]))
        checkpoint = CalculatorState(
            inputs,
            {grid.name: grid.first_open_step for grid in grids if grid.first_open_step is not None},
            {grid.name: grid.interval for grid in grids},
        )
        durable.write(self._path, msgspec.json.encode(checkpoint))
        self._remember(histories)

    def _remember(self, histories: dict[InputChannel, InputHistory]) -> None:
        self._newest = {channel: history.newest for channel, history in histories.items()}

    def _start(self, histories: dict[InputChannel, InputHistory], grid: Grid) -> int:
        """Return the time from which a grid needs its inputs: for its open steps, and for inputs that are behind the others."""
        newest = {channel: at for channel in grid.inputs.values() if (at := histories[channel].newest) is not None}
        moving = [at for channel, at in newest.items() if at != self._newest.get(channel)]
        if grid.first_open_step is None or not newest:
            return 0
        return max(0, min(max(newest.values()) - KEPT, grid.first_open_step * grid.interval, *moving))
