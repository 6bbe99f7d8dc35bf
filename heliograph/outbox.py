"""The frames of a producer that storage has not committed yet, on disk.

Sequences count up from 1 without a gap within an epoch. An epoch is a random name; a new
one begins when the machine has booted, when the end of the last segment is damaged, and when
storage reports more of it than is in the outbox: frames that storage already has may then be
missing, and their sequences must not be used again.
"""

import errno
import logging
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BufferedReader
from pathlib import Path

from heliograph import durable
from heliograph.lock import Lock
from heliograph.segment import Segment, SegmentRecord, packed

log = logging.getLogger(__name__)

SEGMENT_BYTES = 1 << 20
CAP_BYTES = 256 << 20
NUMBER = "[0-9]" * 10  # the segments' names, in order; those set aside keep theirs


class Outbox:
    """A queue of frames that survives the process; one process at a time may open it, others get `lock.Taken`.

    Not thread-safe. `dropped` counts frames lost to the cap, `damaged` the segments of
    which a part could not be read. The sender declares both to storage, except for the
    damaged end of an epoch: how many frames it held is not known.
    """

    def __init__(
        self,
        folder: Path,
        boot: str,
        *,
        cap_bytes: int = CAP_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        drop: Callable[[Segment], object] = lambda _: None,
        note: Callable[[Path], object] = lambda _: None,
    ) -> None:
        """`drop` is called with a segment before the cap deletes it, `note` with the path of a damaged one; they must not raise."""
        self.folder = folder
        self.dropped = self.damaged = 0
        self._boot = boot
        self.cap = cap_bytes
        self._segment_bytes = segment_bytes
        self._drop = drop
        self._note = note
        self._file = -1  # of the segment that is written; opened by the first append
        self._number = 0  # of the newest segment, set aside or not
        self._unsynced = durable.Unsynced(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(folder / "lock", "outbox")
        self.segments: list[Segment] = []
        clean = self._load()
        last = self.segments[-1] if self.segments else None
        continues = clean and last is not None and last.boot == boot
        self.epoch, self.next = (last.epoch, last.next) if last and continues else (uuid.uuid4().hex[:16], 1)
        if last and clean and not continues and last.next == last.first:
            self._forget(last)

    def close(self) -> None:
        """Close the outbox, so that another process can open it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._lock.release()

    @property
    def size(self) -> int:
        """How many bytes the outbox holds on disk."""
        return sum(segment.size for segment in self.segments)

    def append(self, payload: bytes) -> int:
        """Write one frame and return its sequence; raise OSError, with nothing written, if the disk refuses it.

        A frame that was appended survives the death of this process at any moment. Raises
        ValueError if it is too long for any segment.
        """
        record = packed(self.next, payload)
        segment = self._writable()
        written = 0
        try:
            written = os.write(self._file, record)
            if written < len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(segment.path))
        finally:
            if written < len(record):
                os.ftruncate(self._file, segment.size)
        segment.size += len(record)
        segment.next = self.next = self.next + 1
        self._unsynced.note()
        while self.size > self.cap and len(self.segments) > 1:
            oldest = self.segments[0]
            if lost := oldest.next - oldest.done:
                self.dropped += lost
                self._drop(oldest)
                oldest.done = oldest.next
            if not self._forget(oldest):
                break
        return self.next - 1

    def sync(self, older_than: float) -> None:
        """Force frames to the disk that storage has not committed for `older_than` seconds, against a power cut."""
        if self._unsynced.seconds > older_than:
            try:
                self.force()
            except OSError as error:
                log.error("outbox: a power cut would cost readings: %s", error)
                self._unsynced.postpone()

    def force(self) -> None:
        """Force all frames that storage has not committed to the disk; raise OSError if it refuses."""
        for segment in self.segments:
            segment.force_refused()
        self._unsynced.force(partial(self.segments[-1].force, self._file) if self._file >= 0 else None)

    def trim(self, epoch: str, committed: int) -> None:
        """Delete the segments that storage has committed, but for the newest of them.

        That one stays so that a storage that was restored from a recent backup finds its frames again.
        Epochs before this one are committed: only then does the sender start the next one.
        """
        mine = [index for index, segment in enumerate(self.segments, 1) if segment.epoch == epoch]
        done: list[Segment] = []
        for segment in self.segments[: max(mine, default=0)]:
            if segment.epoch == epoch and segment.next > committed + 1:
                segment.done = max(segment.done, committed + 1)
                break
            segment.done = segment.next
            done.append(segment)
        for segment in done[:-1]:
            self._forget(segment)
        if epoch == self.epoch and committed + 1 >= self.next:
            self._unsynced.forget()

    def first(self, epoch: str) -> int:
        """Return the lowest sequence of an epoch that can still be read, or one that is never reached."""
        return next((s.first for s in self.segments if s.epoch == epoch and s.next > s.first), 1 << 63)

    def renew(self) -> None:
        """Begin a new epoch: storage has frames of this one that are missing here."""
        log.error("outbox: storage has frames of epoch %s that are lost here; starting a new epoch", self.epoch)
        self.epoch = uuid.uuid4().hex[:16]
        self.next = 1

    def note_damage(self, segment: Segment) -> None:
        """Count a segment of which a part cannot be read, once."""
        if not segment.damaged:
            segment.damaged = True
            self._count_damaged(segment.path, "is damaged: frames are lost")

    def give_up(self, segment: Segment, sequence: int) -> None:
        """Note that a segment cannot be read from a sequence on; the frames from there on are lost."""
        self.note_damage(segment)
        segment.next = sequence

    def _count_damaged(self, path: Path, what: str) -> None:
        self.damaged += 1
        log.error("outbox: %s %s", path, what)
        self._note(path)

    def _writable(self) -> Segment:
        last = self.segments[-1] if self.segments else None
        if last is None or last.epoch != self.epoch or not last.takes(self.next, self._segment_bytes):
            self._start_segment()
        if self._file < 0:
            self._file = os.open(self.segments[-1].path, os.O_WRONLY | os.O_APPEND)
        return self.segments[-1]

    def _start_segment(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            try:
                with suppress(FileNotFoundError):  # it was removed: the next one takes what follows
                    self.segments[-1].force(file)
            finally:
                os.close(file)
        path = self.folder / f"{self._number + 1:010}.segment"
        self.segments.append(Segment.create(path, self.epoch, self._boot, self.next))
        self._unsynced.note_name()
        self._number += 1

    def _forget(self, segment: Segment) -> bool:
        """Delete a segment, and return whether it is gone; one that stays is deleted next time."""
        if not segment.delete():
            return False
        self.segments.remove(segment)
        return True

    def _load(self) -> bool:
        """Read all segments; return whether the newest one is whole, so that its epoch may continue.

        Files are left as they are: if a damaged end were cut off, the next start would not notice it.
        """
        clean = True
        for path in sorted(self.folder.glob(f"{NUMBER}.*")):
            self._number = int(path.name[:10])
            if path.suffix in (".segment", ".damaged"):
                clean = path.suffix == ".segment" and self._load_one(path)
        return clean

    def _load_one(self, path: Path) -> bool:
        try:
            segment = Segment.load(path)
        except PermissionError:
            raise
        except (ValueError, OSError) as error:
            self._count_damaged(path, f"is not readable ({error}); it is set aside")
            path.replace(path.with_suffix(".damaged"))
            return False
        self.segments.append(segment)
        if segment.damaged:
            self._count_damaged(path, "is damaged: frames are lost")
        if path.stat().st_size == segment.size:
            return True
        log.warning("outbox: %s ends in a torn or damaged record", path)
        return False


class OutboxReader:
    """A position in an outbox: the frame that is to be sent next."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._segment: Segment | None = None
        self._file: BufferedReader | None = None
        self._next = 0
        self._peeked: SegmentRecord | None = None

    def rewind(self, epoch: str, sequence: int) -> None:
        """Go to a sequence of an epoch, or to the first frame after it that is still there."""
        segments = self._outbox.segments
        mine = [index for index, segment in enumerate(segments) if segment.epoch == epoch]
        if not mine:
            self.start()
            return
        behind = [index for index in mine if segments[index].next > sequence]
        segment = segments[behind[0] if behind else mine[-1]]
        self._enter(segment)
        while (record := self.peek()) and record.epoch == epoch and record.sequence < sequence:
            self.advance()

    def start(self) -> None:
        """Go to the oldest frame that is there."""
        self._leave()

    def peek(self) -> SegmentRecord | None:
        """Return the next frame without leaving it, or None if there is none (yet)."""
        while self._peeked is None:
            segment = self._segment
            if segment is None or self._file is None:
                if not self._outbox.segments:
                    return None
                self._enter(self._outbox.segments[0])
            elif segment in self._outbox.segments and self._next < segment.next:
                record = segment.record(self._file)
                if record is None or not self._next <= record.sequence < segment.next:
                    self._outbox.give_up(segment, self._next)
                    continue
                if record.sequence > self._next:
                    self._outbox.note_damage(segment)
                self._peeked = record
            elif not self._enter_next(segment):
                return None
        return self._peeked

    def advance(self) -> None:
        """Leave the frame that was peeked at."""
        if self._peeked:
            self._next = self._peeked.sequence + 1
            self._peeked = None

    def _enter_next(self, left: Segment) -> bool:
        number = int(left.path.stem)
        for segment in self._outbox.segments:
            if int(segment.path.stem) > number:
                self._enter(segment)
                return True
        return False

    def _enter(self, segment: Segment) -> None:
        self._leave()
        self._segment = segment
        self._file = segment.open()
        self._next = segment.first

    def _leave(self) -> None:
        if self._file:
            self._file.close()
        self._segment = self._file = self._peeked = None
