"""Which frames of a producer are accepted: scheme W, storage side. Pure; knows neither broker nor disk."""

from collections import Counter
from collections.abc import Mapping
from enum import Enum

from heliograph.messages import LARGEST_COUNT, Frame, Watermark
from heliograph.store.interface import Progress


class Verdict(Enum):
    """What becomes of a frame."""

    ACCEPT = "accept"
    DUPLICATE = "duplicate"
    GAP = "gap"  # frames before it are missing: the producer sends it again after them


class JournalIntake:
    """Keeps the progress of every producer's epochs, committed and not yet committed.

    A producer is named node/service.
    """

    def __init__(self, committed: Mapping[tuple[str, str], Progress], storage: str, seconds: float) -> None:
        """`storage` identifies the store and this start of storage, `seconds` is its commit interval."""
        self._committed = dict(committed)
        self._accepted = dict(committed)
        self._newest_epochs = dict(committed.keys())
        self._storage = storage
        self._seconds = seconds

    def classify(self, producer: str, frame: Frame) -> Verdict:
        """Return what becomes of a frame; `accept` notes it."""
        last = self._accepted.get((producer, frame.epoch), Progress(0, 0)).last
        if frame.sequence <= last:
            return Verdict.DUPLICATE
        if frame.sequence == last + 1 or frame.base == frame.sequence:
            return Verdict.ACCEPT
        return Verdict.GAP

    def accept(self, producer: str, frame: Frame) -> int:
        """Note that a frame's readings are in the next commit; return how many frames before it are lost for good."""
        key = (producer, frame.epoch)
        last, lost = self._accepted.get(key, Progress(0, 0))
        missing = frame.sequence - last - 1
        self._accepted[key] = Progress(frame.sequence, lost + missing)
        self._newest_epochs[producer] = frame.epoch
        return missing

    def losses(self) -> dict[str, int]:
        """Return how many frames each producer has declared lost, over all epochs; producers without losses are left out."""
        lost: Counter[str] = Counter()
        for (producer, _), progress in self._accepted.items():
            lost[producer] += progress.lost
        return dict(+lost)

    def uncommitted(self) -> dict[tuple[str, str], Progress]:
        """Return the progress that the next commit has to carry."""
        return {key: progress for key, progress in self._accepted.items() if self._committed.get(key) != progress}

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Note that this progress is durable."""
        self._committed.update(progress)

    def watermark(self, producer: str, epoch: str, *, gap: bool = False) -> Watermark:
        """Return the watermark of a producer's epoch."""
        key = (producer, epoch)
        return Watermark(
            epoch,
            self._committed.get(key, Progress(0, 0)).last,
            min(self._accepted.get(key, Progress(0, 0)).last + 1, LARGEST_COUNT),
            self._storage,
            self._seconds,
            gap,
        )

    def watermarks(self) -> dict[str, Watermark]:
        """Return the watermark of every producer's newest epoch, as it is sent at the start and after a reconnect."""
        return {producer: self.watermark(producer, epoch, gap=True) for producer, epoch in self._newest_epochs.items()}
