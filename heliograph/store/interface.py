"""What a store promises, whoever implements it. Times are seconds since 1970 UTC, kept to the millisecond."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, get_args

from heliograph.messages import Block, Info, Kind, Value

Function = Literal["n", "mean", "min", "max", "sum", "first", "last", "delta", "integral"]
FUNCTIONS: tuple[Function, ...] = get_args(Function)


class Series(NamedTuple):
    """One channel of one device of one node, over all time."""

    id: int
    node: str
    device: str
    channel: str
    unit: str
    kind: Kind

    @property
    def name(self) -> str:
        """The name of the series: node/device/channel."""
        return f"{self.node}/{self.device}/{self.channel}"


class Point(NamedTuple):
    """One value of one series."""

    time: float
    value: Value


class RawPage(NamedTuple):
    """Points in order of time; `next` is where the following page starts, None if there is none."""

    times: list[float]
    values: list[Value]
    next: float | None


class Arrival(NamedTuple):
    """One reading in order of arrival; `cursor` continues behind it."""

    cursor: int
    node: str
    device: str
    time: float
    values: dict[str, Value]


class Progress(NamedTuple):
    """How far a producer's epoch is stored: the last frame, and how many frames before it were declared lost."""

    last: int
    lost: int


class Refusal(NamedTuple):
    """A reading or value that the store did not take: why, and what it was."""

    why: str
    what: str


class Writer(Protocol):
    """The one process that writes a store."""

    identity: str  # of this store, as long as it exists

    @property
    def pending(self) -> int:
        """How many readings wait for the next commit."""
        ...

    def progress(self) -> Mapping[tuple[str, str], Progress]:
        """Return what is durable: (producer as node/service, epoch) → progress, the newest epoch last."""
        ...

    def declare(self, node: str, device: str, info: Info) -> list[Refusal]:
        """Note units and kinds of a device's channels, durable with the next commit; return what cannot be changed any more."""
        ...

    def write(self, node: str, blocks: list[Block]) -> list[Refusal]:
        """Take readings into the next commit; return what cannot be stored. For equal times the last arrival wins.

        Raises OSError, with none of them taken, if the disk refuses.
        """
        ...

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Make what was written and this progress durable together; raise OSError, with all kept for the next try, if the disk refuses."""
        ...

    def close(self) -> None:
        """Let go of the files; what is not committed is forgotten."""
        ...


class Reader(Protocol):
    """Reads a store while another process writes it; thread-safe. Every method raises StoreAway while there is none."""

    def series(self) -> list[Series]:
        """Return all series, in order of their ids."""
        ...

    def latest(self, ids: Sequence[int]) -> dict[int, Point]:
        """Return the newest point of each of these series that has one."""
        ...

    def raw(
        self,
        series: int,
        start: float,
        end: float,
        *,
        limit: int,
        after: float | None = None,
    ) -> RawPage:
        """Return the points of [start, end), at most `limit` of them, starting at `after` (a page's `next`)."""
        ...

    def aggregate(
        self, series: int, edges: Sequence[float], functions: Sequence[Function]
    ) -> dict[str, list[Value | None]]:
        """Return one value per function and bucket [edges[i], edges[i+1]); None for a bucket without points.

        `delta` is the increase of a counter with resets taken out, `integral` the time
        integral in unit·h; see totals.py.
        """
        ...

    def export(self, ids: Sequence[int], start: float, end: float) -> Iterator[tuple[float, int, Value]]:
        """Yield (time, series, value) of [start, end) in order of time, in bounded memory."""
        ...

    def since(self, cursor: int, limit: int) -> list[Arrival]:
        """Return at most `limit` readings that arrived after a cursor, oldest arrival first; 0 is before the first."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...
