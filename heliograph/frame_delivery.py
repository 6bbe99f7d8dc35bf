"""The way of a service's frames to storage: its outbox, the sender, and the bus between them."""

import logging
from pathlib import Path

from heliograph import topics
from heliograph.bus import Bus
from heliograph.clock import Clock
from heliograph.messages import Watermark
from heliograph.outbox import SEGMENT_BYTES, Outbox
from heliograph.outbox_losses import OutboxLosses, filling
from heliograph.sender import Sender

log = logging.getLogger(__name__)

STALLED_SECONDS = 120.0  # longer than storage's commits and the pauses between attempts take
SYNC_SECONDS = 10.0  # as long as storage's commit interval: what a power cut may take


class FrameDelivery:
    """Sends the frames of an outbox to storage. Not thread-safe: its owner holds a lock."""

    def __init__(
        self,
        bus: Bus,
        node: str,
        service: str,
        folder: Path,
        clock: Clock,
        *,
        cap_bytes: int,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Open the outbox in a folder; raise OSError if it is in use or out of reach."""
        self._bus = bus
        self._journal, self._replay = (topics.service(node, service, kind) for kind in ("journal", "replay"))
        self._clock = clock
        self._connects = -1
        self._losses = OutboxLosses(folder / "losses.json", clock)
        self.outbox = Outbox(
            folder,
            clock.boot,
            cap_bytes=cap_bytes,
            segment_bytes=segment_bytes,
            drop=self._losses.drop,
            note=self._losses.note_damage,
        )
        self._sender = Sender(self.outbox, clock, self._publish)

    def send(self) -> float:
        """Send what may be sent; return for how many seconds there is nothing to do unless a frame or message comes."""
        if not self._bus.connected:
            self._sender.disconnect()
            self._connects = -1
        elif self._bus.connects != self._connects:
            self._connects = self._bus.connects
            self._sender.connect()
        wait = self._sender.pump()
        self.outbox.sync(SYNC_SECONDS)
        return wait

    def watermark(self, mark: Watermark) -> None:
        """Act on a report of storage's progress."""
        self._sender.watermark(mark)
        if not self._sender.backlog or 2 * self.outbox.size <= self.outbox.cap:
            self._losses.note_space()

    def force(self) -> bool:
        """Force the outbox to the disk; return False, with a line in the log, if it refuses."""
        try:
            self.outbox.force()
        except OSError as error:
            log.error("outbox: the disk does not confirm readings: %s", error)
            return False
        return True

    def close(self) -> None:
        """Force the outbox to the disk and close it."""
        self.outbox.sync(-1)
        self._sender.close()
        self.outbox.close()

    def counters(self) -> dict[str, int]:
        """Return the counters of frames for the status."""
        return {
            "frames_backlog": self._sender.backlog,
            "frames_resent": self._sender.resent,
            "frames_dropped": self.outbox.dropped,
            "readings_dropped": self._losses.readings,
            "outbox_bytes": self.outbox.size,
            "outbox_damaged": self.outbox.damaged,
            "readings_unstamped": self._sender.unstamped,
        }

    def facts(self) -> dict[str, object]:
        """Return where delivery stands: the epoch, the last frame in the outbox, the last one committed.

        `not_stored_since`, in seconds since 1970 UTC, is there while storage has not committed anything for long.
        `outbox_problems` are sentences: more than half of the outbox is in use, or it lost readings in the last seven days, by its cap or by damage,
        or its files were removed or moved away.
        """
        seconds = self._sender.seconds_not_stored
        facts: dict[str, object] = {
            "epoch": self.outbox.epoch,
            "last": self.outbox.next - 1,
            "committed": self._sender.committed if self._sender.epoch == self.outbox.epoch else 0,
            "waits_for_clock": self._sender.waits_for_clock,
            "outbox_problems": self._problems(seconds),
        }
        if seconds > STALLED_SECONDS and not self._sender.waits_for_clock:
            facts["not_stored_since"] = round(self._clock.now() - seconds)
        return facts

    def _problems(self, not_stored: float) -> list[str]:
        waiting = [segment for segment in self.outbox.segments if segment.next > segment.done]
        now = self._clock.now()
        is_filling = filling(waiting, self.outbox.size, self.outbox.cap, now - not_stored, now)
        folder = self.outbox.folder
        removed = f"the files of the outbox are gone from {folder}: readings are only in memory; restart the service"
        return [
            *[removed for segment in self.outbox.segments[-1:] if not segment.path.exists()],
            *([is_filling] if is_filling else []),
            *self._losses.problems(),
        ]

    def _publish(self, news: bool, frames: bytes) -> bool:
        return self._bus.publish(self._journal if news else self._replay, frames, qos=1)
