"""The contract between the engine and a target: rows, answers, limits.

Both import this module; neither imports the other.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from heliograph.errors import HeliographError
from heliograph.messages import Kind, Value

RESERVED_REQUESTS = 5  # of each hour, for other programs that use the same key


class MappedChannel(NamedTuple):
    """One channel of the store as one target gets it; `name` is its name there."""

    node: str
    device: str
    channel: str
    unit: str
    kind: Kind
    name: str

    @property
    def series(self) -> str:
        """Its name in the store: node/device/channel."""
        return "/".join(self[:3])


class Row(NamedTuple):
    """Values of one moment (seconds since 1970 UTC), `values[i]` of `channels[i]`.

    Without averaging a row is one reading of one device; with averaging it has all selected
    channels of one interval. Rows with the same channels share the tuple, so that a target can
    keep what it derived from it. `position` is the row's position in its source.
    """

    time: float
    channels: tuple[MappedChannel, ...]
    values: tuple[Value, ...]
    position: float = 0.0


class Answer(NamedTuple):
    """The target accepted all rows: its response, and for how many seconds it wants no request."""

    response: str = ""
    pause: float = 0.0


class Limits(NamedTuple):
    """What a target takes; 0 is no limit."""

    rows: int = 5_000  # in one batch
    bytes: int = 0  # in one batch, as a guess: halved when the target says it is too large
    seconds: float = 0.0  # between the beginnings of two requests
    per_hour: int = 0  # requests, of which RESERVED_REQUESTS are left to others
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
    """The target cannot take it now: the same rows again, after `after` seconds if it asks for them.

    The first `done` rows were accepted. `smaller` asks for a smaller batch instead of patience.
    """

    def __init__(self, reason: str, *, after: float | None = None, done: int = 0, smaller: bool = False) -> None:
        super().__init__(reason)
        self.after = after
        self.done = done
        self.smaller = smaller


class Refused(HeliographError):
    """The target will never take some of these rows.

    `rows` maps the index of each refused row to the reason; all others were accepted. Empty: it did not
    say which, and may have accepted any of them before it stumbled. `values` maps the index of a refused
    row to the indexes of the values that were refused, where the others of that row were accepted. With `later` that holds
    for the first `later.done` rows only, of which some were refused: it is why those after them have to wait.
    """

    def __init__(
        self,
        reason: str,
        rows: dict[int, str] | None = None,
        values: dict[int, tuple[int, ...]] | None = None,
        later: TryLater | None = None,
    ) -> None:
        super().__init__(reason)
        self.rows = rows or {}
        self.values = values or {}
        self.later = later


def interrupted(error: TryLater, done: int, refused: Mapping[int, str]) -> TryLater | Refused:
    """Return what a target raises that cannot take the rows from the index `done` on now; of those before it, some are `refused`."""
    error.done = done
    if not (before := {index: reason for index, reason in refused.items() if index < done}):
        return error
    return Refused(next(iter(before.values())), before, later=error)


class Target(Protocol):
    """One place to upload to; used by one thread. `KnowsNewest`, `Preparing`, `Checking` and `Quoting` are what it may do besides."""

    limits: Limits

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Send rows, oldest first; raise TryLater or Refused."""
        ...

    def close(self) -> None:
        """Close connections; `upload` may open them again."""
        ...


@runtime_checkable
class KnowsNewest(Protocol):
    """A target that can be asked what it has: after a loss of the state nothing is sent twice, and nothing left out."""

    def newest(self) -> float | None:
        """Return the time of the newest row the target has, None if it has none or does not say; raise TryLater."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A target that prepares the next batch while it waits for a response."""

    def prepare(self, rows: Sequence[Row]) -> None:
        """Prepare a list of rows that may come next; `upload` is not always called with them."""
        ...


@runtime_checkable
class Checking(Protocol):
    """A target that can look for mistakes in its options without a write."""

    def check(self) -> str:
        """Return what is known of the server and of where rows go, "" if nothing; raise TryLater."""
        ...


@runtime_checkable
class Quoting(Protocol):
    """A target that knows what it was answered last, for the log of an unexpected error."""

    @property
    def last_answer(self) -> str:
        """Return the last answer in the server's own words, cut to a few hundred characters; "" if there was none."""
        ...


@runtime_checkable
class KnowsNewestByDevice(Protocol):
    """A target that can be asked for the newest row of each device: one with newer rows hides no history of another."""

    def newest_by_device(self) -> dict[str, float]:
        """Return the times (s UTC) of the newest rows of those devices, node/device, that have any there; raise TryLater."""
        ...


def newest_by_device(target: Target) -> dict[str, float]:
    """Return the times of the newest rows by device, or under "*" that of all; nothing if the target has none or cannot say."""
    if isinstance(target, KnowsNewestByDevice):
        return target.newest_by_device()
    newest = newest_of(target)
    return {} if newest is None else {"*": newest}


def newest_of(target: Target) -> float | None:
    """Return the time of the newest row a target has, None if it has none or cannot say; raise TryLater."""
    return target.newest() if isinstance(target, KnowsNewest) else None
