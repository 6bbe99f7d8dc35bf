"""A pool of threads that query the store for the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from heliograph.errors import StoreAway
from heliograph.store.interface import Reader

T = TypeVar("T")
Purpose = Literal["present", "history", "export"]
STOP_SECONDS = 0.5  # a query that takes longer is abandoned: it only reads


class _FailureOf:
    """Passes an exception raised inside it on to a future."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            self._future.set_exception(error)
        return isinstance(error, Exception)


class _ReaderThread(threading.Thread):
    """A thread with a reader of its own, opened by the first query, and again after the store was away."""

    def __init__(self, name: str, open_reader: Callable[[], Reader]) -> None:
        # A daemon, because the service stops within 2 s whatever the query.
        super().__init__(name=name, daemon=True)
        self._open = open_reader
        self._reader: Reader | None = None
        self.queries: SimpleQueue[tuple[Callable[[Reader], Any], Future[Any]] | None] = SimpleQueue()

    def run(self) -> None:
        """Run queries until the query is None."""
        while item := self.queries.get():
            query, future = item
            with _FailureOf(future):
                future.set_result(self._run(query))
        self._close()

    def _run(self, query: Callable[[Reader], T]) -> T:
        try:
            if self._reader is None:
                self._reader = self._open()
            return query(self._reader)
        except StoreAway:
            self._close()
            raise

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class ReaderPool:
    """Several readers of the store, so that a long query does not delay a short one.

    Queries of the history leave one reader free for those of the present, and those of exports another one for history
    that someone looks at. A context manager: leaving it closes the readers.
    """

    def __init__(self, open_reader: Callable[[], Reader], readers: int = 3) -> None:
        self._threads = [_ReaderThread(f"store {number}", open_reader) for number in range(readers)]
        self._idle: asyncio.Queue[_ReaderThread] = asyncio.Queue()
        history, exports = asyncio.Semaphore(max(1, readers - 1)), asyncio.Semaphore(max(1, readers - 2))
        self._limits: dict[Purpose, list[asyncio.Semaphore]] = {
            "present": [],
            "history": [history],
            "export": [exports, history],
        }

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
            self._idle.put_nowait(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for thread in self._threads:
            thread.queries.put(None)
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    async def run(self, query: Callable[[Reader], T], purpose: Purpose = "present") -> T:
        """Run a query in a thread, and return what it returns; raise StoreAway while there is no store."""
        with ExitStack() as held:
            for limit in self._limits[purpose]:
                await limit.acquire()
                held.callback(limit.release)
            thread = await self._idle.get()
            held.callback(self._idle.put_nowait, thread)
            result: Future[T] = Future()
            thread.queries.put((query, result))
            waiting = asyncio.wrap_future(result)
            # A cancelled request leaves its thread busy: the reader is idle again when the query ends.
            ended = held.pop_all()
            waiting.add_done_callback(lambda _: ended.close())
        return await asyncio.shield(waiting)
