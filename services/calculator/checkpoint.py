"""The state that survives a restart, so that nothing that was acknowledged is needed again."""

from pathlib import Path

import msgspec

from heliograph import durable
from heliograph.renames import Renames
from services.calculator.grid import Grid, InputChannel
from services.calculator.history import InputHistory

LATEST = 1 << 62  # ms: never
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
    """Keeps a checkpoint in a file that is replaced as a whole.

    What it has under names that are no input, and no calculated device, is kept until the renames are known.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = CalculatorState()
        self._loaded: dict[str, int] = {}  # the first open steps, of devices that are called as they were
        self._newest: dict[InputChannel, int | None] = {}

    @property
    def has_values(self) -> bool:
        """Whether the file has the value of an input."""
        return any(at is not None for at in self._newest.values())

    @property
    def is_waiting(self) -> bool:
        """Whether it has inputs or devices that nothing is called as; `follow` restores them."""
        return bool(self._waiting.inputs or self._waiting.next)

    def load(self, histories: dict[InputChannel, InputHistory], grids: list[Grid]) -> None:
        """Restore what the file has; raise OSError if it cannot be read, ValueError if it is not a checkpoint."""
        try:
            checkpoint = msgspec.json.decode(self._path.read_bytes(), type=CalculatorState)
        except FileNotFoundError:
            return
        waiting = []
        for state in checkpoint.inputs:
            channel = InputChannel(state.node, state.device, state.channel)
            if channel in histories:
                histories[channel].restore(state.points, state.floor)
            else:
                waiting.append(state)
        for grid in grids:
            if checkpoint.intervals.get(grid.name) == grid.interval and grid.name in checkpoint.next:
                grid.next_step = self._loaded[grid.name] = checkpoint.next[grid.name]
        names = {grid.name for grid in grids}
        others = {name: step for name, step in checkpoint.next.items() if name not in names}
        self._waiting = CalculatorState(waiting, others, {name: checkpoint.intervals.get(name, 0) for name in others})
        self._remember(histories)

    def follow(
        self, node: str, histories: dict[InputChannel, InputHistory], grids: list[Grid], renames: Renames
    ) -> None:
        """Restore what waited for the renames, and calculate once more what was calculated without it; nothing waits afterwards.

        `node` is that of the calculated devices.
        """
        for state in self._waiting.inputs:
            name = renames.present(f"{state.node}/{state.device}/{state.channel}")
            if history := histories.get(InputChannel(*name.split("/"))):
                for at, value in state.points:
                    history.add(at, value)
                history.forget_before(state.floor)
        for grid in grids:
            names = [former.rpartition("/")[2] for former in renames.former(f"{node}/{grid.name}")]
            steps = [self._waiting.next[name] for name in names if self._waiting.intervals.get(name) == grid.interval]
            if grid.name in self._loaded:
                steps.append(self._loaded[grid.name])
            if steps:
                grid.begin_at(min(steps))
        self._waiting = CalculatorState()

    def save(self, histories: dict[InputChannel, InputHistory], grids: list[Grid]) -> None:
        """Write what is needed to continue from here; raise OSError if the disk refuses."""
        starts = [(grid, min(self._start(histories, grid), self._waiting_from(grid))) for grid in grids]
        inputs = []
        for channel, history in histories.items():
            points = history.since(min(start for grid, start in starts if channel in grid.inputs.values()))
            kept_all = not points or history.since(0)[0] == points[0]
            inputs.append(InputState(*channel, points, history.floor if kept_all else points[0][0]))
        steps = {grid.name: grid.first_open_step for grid in grids if grid.first_open_step is not None}
        if self.is_waiting:  # what is calculated without these inputs is calculated again
            steps |= {name: min(step, self._loaded.get(name, step)) for name, step in steps.items()}
        checkpoint = CalculatorState(
            [*inputs, *self._waiting.inputs],
            self._waiting.next | steps,
            self._waiting.intervals | {grid.name: grid.interval for grid in grids},
        )
        durable.write(self._path, msgspec.json.encode(checkpoint))
        self._remember(histories)

    def _remember(self, histories: dict[InputChannel, InputHistory]) -> None:
        self._newest = {channel: history.newest for channel, history in histories.items()}

    def _waiting_from(self, grid: Grid) -> int:
        """Return the time (ms) from which a grid may be calculated again once the renames are known; never if nothing waits."""
        if not self.is_waiting:
            return LATEST
        others = [step * self._waiting.intervals[name] for name, step in self._waiting.next.items()]
        own = [self._loaded[grid.name] * grid.interval] if grid.name in self._loaded else []
        return max(0, min([*others, *own], default=LATEST) - KEPT)

    def _start(self, histories: dict[InputChannel, InputHistory], grid: Grid) -> int:
        """Return the time from which a grid needs its inputs: for its open steps, and for inputs that are behind the others."""
        newest = {channel: at for channel in grid.inputs.values() if (at := histories[channel].newest) is not None}
        moving = [at for channel, at in newest.items() if at != self._newest.get(channel)]
        if grid.first_open_step is None or not newest:
            return 0
        return max(0, min(max(newest.values()) - KEPT, grid.first_open_step * grid.interval, *moving))
