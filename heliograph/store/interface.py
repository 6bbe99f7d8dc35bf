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
    rollover: float = 0.0  # at which value the counter begins again at zero; 0: unknown

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
    """One reading in order of arrival, `row[i]` of `channels[i]`; `cursor` continues behind it.

    Values that a later arrival of the same time has replaced may be missing from the earlier one.
    """

    cursor: int
    node: str
    device: str
    time: float
    channels: tuple[str, ...]
    row: tuple[Value, ...]

    @property
    def values(self) -> dict[str, Value]:
        """The values by channel."""
        return dict(zip(self.channels, self.row, strict=True))


class Progress(NamedTuple):
    """How far a producer's epoch is stored: the last frame, and how many frames before it were declared lost."""

    last: int
    lost: int


class Keep(NamedTuple):
    """How long a store keeps what; 0 is for ever.

    After `raw_years` full years the points of a year go, after `years` everything of it.
    Beyond `gigabytes` the oldest points go, then the oldest years, but never this year's.
    """

    years: float = 0.0
    raw_years: float = 0.0
    gigabytes: float = 0.0


FOR_EVER = Keep()


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

    def replaced(self, series: int, time: float) -> None:
        """Note that the device behind a counter was replaced: whatever it jumped by at this time was not counted.

        Durable at once. Raises KeyError for a series that there is not, OSError if the disk refuses.
        """
        ...

    def maintain(self) -> bool:
        """Do one piece of the housekeeping that is due, well below a second; return whether more is due.

        What is committed is moved into its final form, checked, and let go when it is older than
        what is kept. Answers do not change by it. Raises OSError if the disk refuses; nothing is lost.
        """
        ...

    def settle(self) -> None:
        """Do all housekeeping now that would be due some day: after an import, before a copy."""
        ...

    def problems(self) -> list[str]:
        """Return what is damaged, a sentence each; empty is good."""
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
        """Return at most `limit` readings that arrived after a cursor, oldest arrival first; 0 is before the first.

        Late readings come when they arrived, whatever their time. A cursor stays good for ever.
        """
        ...

    def extent(self) -> tuple[float, float] | None:
        """Return the times of the oldest and the newest point of all; None if there is none."""
        ...

    def version(self, start: float, end: float) -> str:
        """Return a text that is another one whenever an answer about [start, end) may have changed."""
        ...

    def problems(self) -> list[str]:
        """Return which parts cannot be read, a sentence each; answers come without them."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...
