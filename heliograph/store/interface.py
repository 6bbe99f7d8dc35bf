"""The contract of a store, for all implementations. Times are seconds since 1970 UTC, kept to the millisecond."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, get_args

from heliograph.messages import Block, Info, Kind, Value
from heliograph.renames import Renames

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
    """One reading in order of arrival, `row[i]` of `channels[i]`; `cursor` continues after it.

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
    """How far a producer's epoch is stored: the last frame, and the number of frames before it that were declared lost."""

    last: int
    lost: int


class Keep(NamedTuple):
    """How long a store keeps points and cells; 0 is without a limit.

    After `raw_years` full years the points of a year are dropped where its cells take less room, after `years` all of
    it. Beyond `gigabytes` the oldest points are dropped, then the oldest years, but never the current year.
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

    def renames(self) -> Renames:
        """Return the renames of nodes, devices and channels, oldest first; there are no others while the store is open."""
        ...

    def declare(self, node: str, device: str, info: Info) -> list[Refusal]:
        """Note units and kinds of a device's channels, durable with the next commit; return the changes that are refused."""
        ...

    def by_stored_names(self) -> None:
        """From now on, take channels under the names that they have in the store, which those of a device whose unit changed do not.

        Who declares a channel then gives it the unit of the series that there is: that is not compared any more.
        """
        ...

    def write(self, node: str, blocks: list[Block]) -> list[Refusal]:
        """Take readings into the next commit; return what cannot be stored. For equal times the last arrival wins.

        Raises OSError if the disk refuses; then no reading was taken.
        """
        ...

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Make the readings and this progress durable together.

        Raises OSError if the disk refuses; everything is kept for the next call.
        """
        ...

    def replaced(self, series: int, time: float) -> None:
        """Note that the device behind a counter was replaced: its jump at this time is not part of its rise.

        Durable at once. Raises KeyError if the series is unknown, OSError if the disk refuses.
        """
        ...

    def delete(self, series: Sequence[int], start: float, end: float) -> int:
        """Delete the points of series in [start, end); return how many there were.

        Durable when it returns; if it is interrupted, a part is deleted, and the same call deletes the rest. Raises
        ValueError, before anything is deleted, while readings wait for the commit, or for a part of a day of which only cells
        are kept; OSError if the disk refuses.
        """
        ...

    def maintain(self) -> bool:
        """Do one piece of the housekeeping that is due, well below a second (rewriting a closed year takes more).

        Return whether more is due.

        Committed readings are moved into their final form and checked; what is older than `Keep` allows is
        dropped. Other answers do not change by it. Raises OSError if the disk refuses; nothing is lost.
        """
        ...

    def settle(self) -> None:
        """Do all housekeeping now, also what is due later: after an import, before a copy."""
        ...

    def problems(self) -> list[str]:
        """Return what is damaged, or too large, a sentence each; nothing if all is well."""
        ...

    def dropped(self) -> list[str]:
        """Return what retention has dropped, with span and size, a sentence each, the newest last."""
        ...

    def close(self) -> None:
        """Close the files; readings that are not committed are discarded."""
        ...


class Reader(Protocol):
    """Reads a store while another process writes it; thread-safe. Every method raises StoreAway while there is no store."""

    @property
    def engine(self) -> str:
        """The program that keeps the store, and its version: SQLite 3.40.1."""
        ...

    def series(self) -> list[Series]:
        """Return all series, in order of their ids."""
        ...

    def latest(self, ids: Sequence[int], until: float = math.inf) -> dict[int, Point]:
        """Return the newest point, not later than `until`, of each of these series that has one."""
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

        `delta` is the increase of a counter with resets taken out, up to and including a point at edges[i+1]
        (rises.py), `integral` the time integral in unit·h; see totals.py.
        """
        ...

    def export(self, ids: Sequence[int], start: float, end: float) -> Iterator[tuple[float, int, Value]]:
        """Yield (time, series, value) of [start, end) in order of time, in bounded memory."""
        ...

    def since(self, cursor: int, limit: int) -> list[Arrival]:
        """Return at most `limit` readings that arrived after a cursor, oldest arrival first; 0 is before the first.

        Late readings come in order of arrival, whatever their time. A cursor stays valid forever.
        """
        ...

    def extent(self) -> tuple[float, float] | None:
        """Return the times of the oldest and the newest point of all series; None without points."""
        ...

    def version(self, start: float, end: float) -> str:
        """Return a text that changes whenever an answer about [start, end) may have changed."""
        ...

    def renames(self) -> Renames:
        """Return which nodes, devices and channels got other names, so that a reader that keeps names can follow."""
        ...

    def problems(self) -> list[str]:
        """Return which parts cannot be read, a sentence each; answers do not include them."""
        ...

    def damaged(self, ids: Sequence[int], start: float, end: float) -> list[str]:
        """Return what answers about these series in [start, end) may lack, because it could not be read; a sentence each."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...
