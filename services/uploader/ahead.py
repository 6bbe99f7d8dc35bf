"""What comes next, read and made ready while a target is busy with what came before."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from services.uploader.outgoing import Row
from services.uploader.source import Parcel, Source
from services.uploader.work import Work

Prepare = Callable[[Sequence[Row]], None]


class _Asked(NamedTuple):
    after: float
    upto: float
    rows: int
    work: Future[Work]


class Ahead:
    """Reads one parcel ahead on a thread of its own, which there is only once there is a backlog."""

    def __init__(self, source: Source, prepare: Prepare | None) -> None:
        """`prepare` is what the target does with rows that may come next."""
        self._source = source
        self._prepare = prepare
        self._thread: ThreadPoolExecutor | None = None
        self._asked: _Asked | None = None

    def begin(self, after: float, upto: float, rows: int) -> None:
        """Read what comes after a position, in the background."""
        if self._asked is None:
            self._thread = self._thread or ThreadPoolExecutor(1, "reading ahead")
            self._asked = _Asked(after, upto, rows, self._thread.submit(self._read, after, upto, rows))

    def take(self, after: float, upto: float, rows: int) -> Work | None:
        """Return what was read, None if it was something else; raises what reading raised."""
        asked, self._asked = self._asked, None
        if asked is None:
            return None
        work = asked.work.result()
        return work if (asked.after, asked.rows) == (after, rows) and asked.upto <= upto else None

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._thread = None

    def _read(self, after: float, upto: float, rows: int) -> Work:
        work = made(self._source.parcel(after, upto, rows))
        if self._prepare is not None and work.pieces:
            work.prepared = [item.row for item in work.pieces[0]]
            self._prepare(work.prepared)
        return work


def made(parcel: Parcel) -> Work:
    """Return the work of bringing a parcel to the target."""
    return Work("range", parcel, parcel.items)
