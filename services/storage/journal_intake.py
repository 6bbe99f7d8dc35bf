"""Which frames of a producer are taken: scheme W, storage side. Pure; knows neither broker nor disk."""

from collections import Counter
from collections.abc import Mapping
from enum import Enum

from heliograph.messages import Frame, Watermark
from heliograph.store.interface import Progress


class Verdict(Enum):
    """What becomes of a frame."""

    TAKE = "take"
    DUPLICATE = "duplicate"
    GAP = "gap"  # frames before it are missing: it will come again behind them


class Intake:
    """Keeps the progress of every producer's epochs, committed and not yet committed.

    A producer is named node/service.
    """

    def __init__(
        self,
        committed: Mapping[tuple[str, str], Progress],
        storage: str,
        seconds: float,
    ) -> None:
        self._committed = dict(committed)
        self._taken = dict(committed)
        self._newest = dict(committed.keys())
        self._storage = storage
        self._seconds = seconds

    def judge(self, producer: str, frame: Frame) -> Verdict:
        """Say what becomes of a frame; taking it is up to `take`."""
        last = self._taken.get((producer, frame.epoch), Progress(0, 0)).last
        if frame.sequence <= last:
            return Verdict.DUPLICATE
        if frame.sequence == last + 1 or frame.base == frame.sequence:
            return Verdict.TAKE
        return Verdict.GAP

    def take(self, producer: str, frame: Frame) -> int:
        """Note that a frame's readings are in the next commit; return how many frames before it are lost for good."""
        key = (producer, frame.epoch)
        last, lost = self._taken.get(key, Progress(0, 0))
        missing = frame.sequence - last - 1
        self._taken[key] = Progress(frame.sequence, lost + missing)
        self._newest[producer] = frame.epoch
        return missing

    def losses(self) -> dict[str, int]:
        """Return how many frames each producer that lost any has declared lost, in all its time."""
        lost: Counter[str] = Counter()
        for (producer, _), progress in self._taken.items():
            lost[producer] += progress.lost
        return dict(+lost)

    def uncommitted(self) -> dict[tuple[str, str], Progress]:
        """Return the progress that the next commit has to carry."""
        return {key: progress for key, progress in self._taken.items() if self._committed.get(key) != progress}

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Note that this progress is durable."""
        self._committed.update(progress)

    def mark(self, producer: str, epoch: str, *, gap: bool = False) -> Watermark:
        """Return what a producer is told about one of its epochs."""
        key = (producer, epoch)
        return Watermark(
            epoch,
            self._committed.get(key, Progress(0, 0)).last,
            self._taken.get(key, Progress(0, 0)).last + 1,
            self._storage,
            self._seconds,
            gap,
        )

    def marks(self) -> dict[str, Watermark]:
        """Return what every producer is told when storage starts or finds the broker again."""
        return {producer: self.mark(producer, epoch, gap=True) for producer, epoch in self._newest.items()}
