"""The contract between the engine and a target: rows, answers, limits.

Both import this module; neither imports the other.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from heliograph.errors import HeliographError
from heliograph.messages import Kind, Value

RESERVED_REQUESTS = 5  # of each hour, for other programs that use the same key


class MappedChannel(NamedTuple):
    """One channel on its way to one target; `name` is what it is called there."""

    node: str
    device: str
    channel: str
    unit: str
    kind: Kind
    name: str

    @property
    def series(self) -> str:
        """What the channel is called here: node/device/channel."""
        return "/".join(self[:3])


class Row(NamedTuple):
    """Values of one moment (seconds since 1970 UTC), `values[i]` of `outlets[i]`.

    Without averaging a row is one reading of one device; with averaging it is all selected
    channels of one interval. Rows with the same outlets share the tuple, so that a target can
    keep what it made of it. `position` says where the row stands in the source it is from.
    """

    time: float
    outlets: tuple[MappedChannel, ...]
    values: tuple[Value, ...]
    position: float = 0.0


class Answer(NamedTuple):
    """The target took all rows: its own words, and how many seconds it wants to be left alone."""

    said: str = ""
    pause: float = 0.0


class Limits(NamedTuple):
    """What a target takes; 0 is no limit."""

    rows: int = 5_000  # in one batch
    bytes: int = 0  # in one batch, as a guess: halved when the target says it is too large
    seconds: float = 0.0  # between the beginnings of two requests
    per_hour: int = 0  # requests, of which a few are kept for others who use the same key
    age: float = 0.0  # seconds after which a row is refused
    interval: float = 0.0  # of averages, which are then a must; 0: readings as they are
    ordered: bool = False  # a row older than the newest one it has is lost on the target
    overwrites: bool = True  # the same row twice is the same as once


class TargetContext(NamedTuple):
    """What a target is given: the node's name, a folder of its own (not made yet), the channels that it gets.

    `channels` returns those that are selected at this moment, in a steady order; new ones may appear. A target calls
    `while_waiting` between a request and its response: the engine prefetches the next batch in that time.
    """

    node: str
    folder: Path
    channels: Callable[[], tuple[MappedChannel, ...]]
    while_waiting: Callable[[], None] | None = None


class TryLater(HeliographError):
    """The target cannot take it now: the same rows again, after `after` seconds if it said so.

    The first `done` rows were taken. `smaller` asks for a smaller batch instead of patience.
    """

    def __init__(self, said: str, *, after: float | None = None, done: int = 0, smaller: bool = False) -> None:
        super().__init__(said)
        self.after = after
        self.done = done
        self.smaller = smaller


class Refused(HeliographError):
    """The target will never take some of these rows.

    `rows` maps the index of each refused row to why; all others were taken. Empty: it did not
    say which, and may have taken any of them before it stumbled. `values` maps the index of a refused
    row to the places of the values that were refused, where the others of that row were taken.
    """

    def __init__(
        self, said: str, rows: dict[int, str] | None = None, values: dict[int, tuple[int, ...]] | None = None
    ) -> None:
        super().__init__(said)
        self.rows = rows or {}
        self.values = values or {}


class Target(Protocol):
    """One place to upload to; used by one thread.

    It may have a method `prepare(rows) -> None`, which is called with a list of rows that may come next
    while `upload` waits for an answer: what it makes of them is of use only if `upload` is called with the same.
    """

    limits: Limits

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Send rows, oldest first; raise TryLater or Refused."""
        ...

    def newest(self) -> float | None:
        """Return the time of the newest row the target has, None if it has none or cannot say; raise TryLater."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
