"""Readings on their way into the outbox; they wait in memory while the disk refuses them."""

import logging
import math
import time
from collections import deque

import msgspec

from heliograph.outbox import Outbox
from heliograph.pending import Pending, SetAside, columnar, same_boot
from heliograph.sender import UnstampedFrame

log = logging.getLogger(__name__)

FRAME_READINGS = 10
LINGER_SECONDS = 0.1  # how long a reading waits for others in its frame
DISK_RETRY_SECONDS = 1.0
MEMORY_READINGS = 10_000  # kept while the disk refuses them


class FrameWriter:
    """Collects readings into frames, and appends these to the outbox. Not thread-safe.

    `lost` counts the readings that were dropped because the disk refused more than MEMORY_READINGS.
    """

    def __init__(self, outbox: Outbox, set_aside: SetAside) -> None:
        self._outbox = outbox
        self._set_aside = set_aside
        self._since = 0.0  # when the oldest pending reading came, by time.monotonic()
        self._disk_refused_until = -math.inf
        self.pending: deque[Pending] = deque()
        self.lost = 0

    def add(self, reading: Pending) -> None:
        """Take a reading; `write_if_due` writes it."""
        if not self.pending:
            self._since = time.monotonic()
        self.pending.append(reading)

    def write_if_due(self, *, hurry: bool = False) -> None:
        """Write what is pending if it fills a frame or has waited long enough; with `hurry` in any case."""
        if hurry:
            self._disk_refused_until = -math.inf
        age = time.monotonic() - self._since
        if self.pending and (hurry or len(self.pending) >= FRAME_READINGS or age >= LINGER_SECONDS):
            self._write()

    def _write(self) -> None:
        """Move what is pending into the outbox, or leave it where it is while the disk refuses it."""
        if time.monotonic() < self._disk_refused_until:
            while len(self.pending) > MEMORY_READINGS:
                self.pending.popleft()
                self.lost += 1
            return
        count = FRAME_READINGS
        while self.pending:
            boot = self.pending[0].boot
            batch = same_boot(self.pending, count)
            blocks = columnar(batch)
            try:
                self._outbox.append(msgspec.json.encode(UnstampedFrame(boot, blocks) if boot else blocks))
            except OSError as error:
                log.error("the outbox cannot be written (%s); readings wait in memory", error)
                self._disk_refused_until = time.monotonic() + DISK_RETRY_SECONDS
                return
            except ValueError as error:
                if len(batch) > 1:
                    count = 1
                    continue
                self._set_aside(str(error), "", batch[0].device)
            count = FRAME_READINGS
            for _ in batch:
                self.pending.popleft()
