"""The store, asked from the event loop and answered in threads."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from heliograph.errors import StoreAway
from heliograph.store.interface import Reader

T = TypeVar("T")
STOP_SECONDS = 0.5  # a question that takes longer is left alone: it only reads


class _Answer:
    """Puts what is raised inside it into a future, for the one who waits there."""

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


class _Desk(threading.Thread):
    """One thread with a reader of its own, opened when first needed and again after it was away."""

    def __init__(self, name: str, open_reader: Callable[[], Reader]) -> None:
        # A daemon, because the service stops within 2 s whatever it was asked.
        super().__init__(name=name, daemon=True)
        self._open = open_reader
        self._reader: Reader | None = None
        self.questions: SimpleQueue[tuple[Callable[[Reader], Any], Future[Any]] | None] = SimpleQueue()

    def run(self) -> None:
        """Answer until the question is None."""
        while item := self.questions.get():
            question, future = item
            with _Answer(future):
                future.set_result(self._answer(question))
        self._close()

    def _answer(self, question: Callable[[Reader], T]) -> T:
        try:
            if self._reader is None:
                self._reader = self._open()
            return question(self._reader)
        except StoreAway:
            self._close()
            raise

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class History:
    """Readers of the store behind a queue, so that a long question does not stop a short one.

    A context manager: leaving it closes the readers.
    """

    def __init__(self, open_reader: Callable[[], Reader], readers: int = 2) -> None:
        self._desks = [_Desk(f"store {number}", open_reader) for number in range(readers)]
        self._idle: asyncio.Queue[_Desk] = asyncio.Queue()

    def __enter__(self) -> Self:
        for desk in self._desks:
            desk.start()
            self._idle.put_nowait(desk)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for desk in self._desks:
            desk.questions.put(None)
        for desk in self._desks:
            desk.join(STOP_SECONDS)

    async def ask(self, question: Callable[[Reader], T]) -> T:
        """Return what the question returns, asked in a thread; raise StoreAway while there is no store."""
        desk = await self._idle.get()
        answer: Future[T] = Future()
        desk.questions.put((question, answer))
        waiting = asyncio.wrap_future(answer)
        # A cancelled request leaves its thread busy: the desk is free when the thread is.
        waiting.add_done_callback(lambda _: self._idle.put_nowait(desk))
        return await asyncio.shield(waiting)
