"""What an outbox lost to its cap and to damage, and what it is about to lose, in sentences for the status."""

import logging
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from heliograph import durable
from heliograph.clock import Clock
from heliograph.messages import Block
from heliograph.segment import Segment
from heliograph.sender import UnstampedFrame

log = logging.getLogger(__name__)

SHOWN_SECONDS = 7 * 86_400.0  # for how long after a loss it is a problem
SHOWN_FILES = 3
LATEST_SHOWN = 253_402_300_799.0  # 9999-12-31, the last day that a sentence can name


class Loss(msgspec.Struct):
    """Frames and readings that were lost, the times of the first and the last (s UTC; None: not known), and when that was seen.

    `lasts` is true until there is room again. `damaged` has the names of the segments that were damaged, and when that was seen
    (s UTC; 0: the clock was not set yet).
    """

    frames: int = 0
    readings: int = 0
    first: float | None = None
    last: float | None = None
    seen: float = 0.0
    lasts: bool = False
    damaged: dict[str, float] = msgspec.field(default_factory=dict)


class OutboxLosses:
    """Counts what the cap of an outbox costs, and which of its files were damaged, and remembers that over restarts in a file.

    The log has a line at the begin of a loss by the cap, and one at its end.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._kept = durable.KeptFile(file, "a restart forgets what the outbox lost")
        self._clock = clock
        self.loss = self._load()
        self.readings = 0  # since this start

    def drop(self, segment: Segment) -> None:
        """Note that a segment is about to be deleted with all frames that storage does not have; never raises OSError."""
        if not self.loss.lasts and self._clock.now() - self.loss.seen > SHOWN_SECONDS:
            self.loss = Loss(damaged=self.loss.damaged)
        loss, before = self.loss, self.loss.readings
        loss.seen = self._clock.now()
        loss.frames += segment.next - segment.done
        for times in self._times(segment):
            loss.readings += len(times)
            for at in times:
                if not math.isnan(at):
                    loss.first = at if loss.first is None else min(loss.first, at)
                    loss.last = at if loss.last is None else max(loss.last, at)
        self.readings += loss.readings - before
        if not loss.lasts:
            loss.lasts = True
            log.error("the outbox is full: from now on the oldest readings are lost, until storage takes them again")
        self._save()

    def note_space(self) -> None:
        """Note that less than half of the outbox is in use, or that storage has all of it."""
        if self.loss.lasts:
            self.loss.lasts = False
            self._save()
            log.warning("the outbox loses nothing any more: %s", described(self.loss))

    def note_damage(self, path: Path) -> None:
        """Note that frames of a segment are lost by damage, once for each; never raises OSError."""
        if path.name not in self.loss.damaged:
            self.loss.damaged[path.name] = self._clock.now() if self._clock.synchronised else 0.0
            self._save()

    def problems(self) -> list[str]:
        """Return the losses of the last SHOWN_SECONDS, a sentence for each kind."""
        self._kept.write_if_due()
        now = self._clock.now()
        sentences = []
        if self.loss.lasts or now - self.loss.seen <= SHOWN_SECONDS:
            sentences.append(f"the outbox {'is' if self.loss.lasts else 'was'} full: {described(self.loss)}")
        if damaged := self._damaged(now):
            more = f" and {len(damaged) - SHOWN_FILES} more" if len(damaged) > SHOWN_FILES else ""
            sentences.append(
                f"files of the outbox were damaged, frames are lost: {', '.join(damaged[:SHOWN_FILES])}{more}"
            )
        return sentences

    def _damaged(self, now: float) -> list[str]:
        """Return the segments whose damage was seen in the last SHOWN_SECONDS; forget those that are no longer needed."""
        damaged = self.loss.damaged
        if self._clock.synchronised and (unseen := [name for name, seen in damaged.items() if not seen or seen > now]):
            damaged.update(dict.fromkeys(unseen, now))
            self._save()
        shown = [name for name, seen in damaged.items() if not seen or now - seen <= SHOWN_SECONDS]
        gone = [name for name in damaged if name not in shown and not self._file.with_name(name).exists()]
        for name in gone:
            del damaged[name]
        return shown

    def _times(self, segment: Segment) -> Iterator[list[float]]:
        """Return the times (s UTC) of the readings of each frame that storage does not have; nan where one is not known."""
        try:
            with segment.open() as file:
                while record := segment.record(file):
                    if record.sequence >= segment.done:
                        yield self._row_times(record.payload)
        except OSError as error:
            log.warning("%s cannot be read (%s): its readings are not counted among the lost", segment.path, error)

    def _row_times(self, payload: bytes) -> list[float]:
        try:
            if payload.startswith(b"{"):
                frame = msgspec.json.decode(payload, type=UnstampedFrame)
                blocks, start = frame.blocks, self._clock.booted(frame.boot)
            else:
                blocks, start = msgspec.json.decode(payload, type=list[Block]), 0.0
        except msgspec.DecodeError:
            return []
        start = math.nan if start is None else start
        return [start + row[0] for block in blocks for row in block.rows if isinstance(row[0], int | float)]

    def _save(self) -> None:
        self._kept.put(msgspec.json.encode(self.loss))

    def _load(self) -> Loss:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Loss)
        except FileNotFoundError:
            return Loss()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s is not readable (%s): what the outbox lost before is not known", self._file, error)
            return Loss()


def described(loss: Loss) -> str:
    """Return what was lost as a sentence."""
    what = f"{loss.readings} readings ({loss.frames} frames)"
    if loss.first is None or loss.last is None:
        return f"{what} of a time that is not known are lost"
    return f"{what} from {shown(loss.first)} to {shown(loss.last)} are lost"


def filling(waiting: list[Segment], size: int, cap: int, stored: float, now: float) -> str | None:
    """Return a sentence if more than half of an outbox is in use, by segments that wait for storage.

    `stored` is when storage last stored something, as far as this process knows, both times in s UTC.
    """
    if not waiting or 2 * size <= cap:
        return None
    try:
        written = waiting[0].path.stat().st_mtime  # its last frame, which storage does not have
    except OSError:
        written = stored
    since = min(written, stored)
    sentence = (
        f"the outbox is {min(100, 100 * size // cap)} % full: storage has not stored its readings since {shown(since)}"
    )
    grown = sum(segment.size for segment in waiting[1:])
    if size >= cap or grown <= 0 or now - written < 60:
        return sentence
    return f"{sentence}, room for {_duration((cap - size) * (now - written) / grown)} more at this rate"


def shown(at: float) -> str:
    """Return a time in s UTC as text."""
    return f"{datetime.fromtimestamp(min(max(at, 0.0), LATEST_SHOWN), UTC):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    return f"{seconds / 86_400:.1f} days" if seconds >= 86_400 else f"{seconds / 3600:.1f} hours"
