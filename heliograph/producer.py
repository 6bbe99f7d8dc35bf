"""How a service publishes readings: live for everyone, and durably for storage."""

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from heliograph import topics
from heliograph.announcements import Announcements
from heliograph.bus import Bus, Message
from heliograph.clock import Clock
from heliograph.errors import MessageError
from heliograph.live import Live
from heliograph.messages import (
    Availability,
    Info,
    Reading,
    Value,
    Watermark,
    decode,
)
from heliograph.outbox import CAP_BYTES, Outbox
from heliograph.pending import Pending, columnar, finite, is_good, same_boot, shown
from heliograph.quality import Quality
from heliograph.sender import Held, Sender

log = logging.getLogger(__name__)

FRAME_READINGS = 10
LINGER_SECONDS = 0.1  # how long a reading waits for company in its frame
DISK_RETRY_SECONDS = 1.0
KNOWN_CHANNELS = 10_000
MEMORY_READINGS = 10_000  # kept while the disk refuses them
LATEST = 1 << 40  # seconds; what is absurd is for storage to decide, but this must be a number
SYNC_SECONDS = 10.0  # as long as storage's commit interval: what a power cut may take

SetAside = Callable[[str, str, str], None]  # why, what, where


class Producer:
    """Publishes what devices say; thread-safe.

    A reading that `flush` has returned for is in the outbox and will be stored exactly
    once, whatever dies in between; others get there within LINGER_SECONDS.
    """

    def __init__(
        self,
        bus: Bus,
        node: str,
        service: str,
        folder: Path,
        clock: Clock,
        set_aside: SetAside,
        *,
        quality: Quality | None = None,
        cap_bytes: int = CAP_BYTES,
    ) -> None:
        self._bus = bus
        self._node = node
        self._service = service
        self._clock = clock
        self._set_aside = set_aside
        self._outbox = Outbox(folder, clock.boot, cap_bytes=cap_bytes)
        self._sender = Sender(self._outbox, clock, self._publish_frame)
        self._live = Live(self._publish_state)
        self._channels: set[str] = set()
        self._pending: deque[Pending] = deque()
        self._pending_since = 0.0
        self._disk_refused_until = -math.inf
        self._announcements = Announcements(bus, node)
        self._quality = quality or None  # one without rules is none
        self._inbox: deque[Pending] = deque()  # what publish() hands to the thread
        self._lingers = False  # whether the thread looks into the inbox soon anyway
        self._wake = threading.Event()
        self._flushes: deque[queue.SimpleQueue[bool]] = deque()
        self._lock = threading.Lock()
        self._stopping = False
        self._connects = -1
        self.readings = 0
        self.lost_in_memory = 0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def __enter__(self) -> "Producer":
        """Start handing frames to storage."""
        self._bus.subscribe(topics.service(self._node, self._service, "committed"), self._committed)
        self._bus.on_connect(self._connected)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Put everything into the outbox and stop; devices are offline while nobody reads them."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._announcements.goodbye()

    def declare(self, device: str, info: Info) -> None:
        """Say what a device is, as the [quality] rules have it; raise ValueError if a name would change the topic tree."""
        topics.name(device)
        for channel in info.channels:
            if not topics.is_channel(channel):
                raise ValueError(f"{channel[:80]!r} is not the name of a channel: lower-case letters, digits and _ are")
        self._announcements.declare(
            device, self._quality.described(device, info) if self._quality is not None else info
        )

    def availability(self, device: str, state: Availability) -> None:
        """Say whether a device answers; said again on every connect."""
        self._announcements.availability(device, state)

    def publish(self, device: str, values: Mapping[str, Value], at: float | None = None) -> None:
        """Publish one reading of a device, read now or at a time in seconds since 1970 UTC.

        Values that no channel can have (NaN, infinity, long texts, hostile names) are set
        aside one by one; the good ones around them are kept.
        """
        if device not in self._announcements and not topics.is_name(device):
            self._set_aside("not the name of a device", shown(device), "")
            return
        if at is not None and not 0 <= at <= LATEST:
            self._set_aside("not a time", shown(at), device)
            return
        good = dict(values)
        if not (self._channels.issuperset(good) and finite(good)):
            good = self._vetted(device, values)
        if not good:
            return
        said = round(self._clock.now() if at is None else at, 3)
        if at is not None or self._clock.synchronised:
            self._inbox.append(Pending(device, "", said, good, said))
        else:
            since_boot = round(self._clock.since_boot(), 3)
            self._inbox.append(Pending(device, self._clock.boot, since_boot, good, said))
        waiting = len(self._inbox)
        if ((waiting == 1 and not self._lingers) or waiting >= FRAME_READINGS) and not self._wake.is_set():
            self._wake.set()

    def flush(self) -> bool:
        """Wait until everything published so far is in the outbox; return False if the disk refuses it."""
        answer: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._flushes.append(answer)
        self._wake.set()
        while self._thread.is_alive():
            try:
                return answer.get(timeout=1)
            except queue.Empty:
                continue
        return not self._inbox and not self._pending

    def counters(self) -> dict[str, int]:
        """Return what the status shows of the outbox."""
        with self._lock:
            return {
                "readings": self.readings,
                "frames_backlog": self._sender.backlog,
                "frames_resent": self._sender.resent,
                "frames_dropped": self._outbox.dropped,
                "outbox_bytes": self._outbox.size,
                "outbox_damaged": self._outbox.damaged,
                "readings_in_memory": len(self._pending),
                "readings_lost_in_memory": self.lost_in_memory,
                "readings_unstamped": self._sender.unstamped,
            }

    def facts(self) -> dict[str, object]:
        """Return where delivery stands: the epoch, the last frame in the outbox, the last one committed."""
        with self._lock:
            return {
                "epoch": self._outbox.epoch,
                "last": self._outbox.next - 1,
                "committed": self._sender.committed if self._sender.epoch == self._outbox.epoch else 0,
                "waits_for_clock": self._sender.waits_for_clock,
            }

    def _run(self) -> None:
        """Do all work on the outbox in one thread, so that a signal never interrupts it half-way."""
        wait = 0.0
        while not self._stopping:
            if not self._inbox and not self._flushes:
                self._wake.wait(wait)
            self._wake.clear()
            flushes = [self._flushes.popleft() for _ in range(len(self._flushes))]
            with self._lock:
                self._drain(hurry=bool(flushes))
                written = not self._pending
                wait = self._send()
            for answer in flushes:
                answer.put(written)
        with self._lock:
            self._drain(hurry=True)
            for reading in self._quality.release() if self._quality is not None else ():
                self._keep(reading)
            self._drain(hurry=True)
            if self._pending:
                log.error("%d readings are lost: the outbox cannot be written", len(self._pending))
            self._outbox.sync(-1)
            self._sender.close()
            self._outbox.close()

    def _drain(self, *, hurry: bool) -> None:
        """Show what was published, and write it if there is enough of it or it has waited long enough."""
        while self._inbox:
            reading = self._inbox.popleft()
            if self._quality is None:
                self._keep(reading)
            else:
                for kept in self._quality.apply(reading):
                    self._keep(kept)
        if hurry:
            self._disk_refused_until = -math.inf
        age = time.monotonic() - self._pending_since
        if self._pending and (hurry or len(self._pending) >= FRAME_READINGS or age >= LINGER_SECONDS):
            self._write()
        self._live.flush()
        self._lingers = bool(self._pending) or self._live.waiting

    def _keep(self, reading: Pending) -> None:
        if not self._pending:
            self._pending_since = time.monotonic()
        self._pending.append(reading)
        self.readings += 1
        self._live.show(reading.device, Reading(reading.shown, reading.values, "unsynced" if reading.boot else ""))

    def _send(self) -> float:
        """Send what may be sent; return how many seconds there is nothing to do unless something comes."""
        if not self._bus.connected:
            self._sender.disconnect()
            self._connects = -1
        elif self._bus.connects != self._connects:
            self._connects = self._bus.connects
            self._sender.connect()
        wait = self._sender.pump()
        self._outbox.sync(SYNC_SECONDS)
        return min(wait, LINGER_SECONDS) if self._lingers else wait

    def _write(self) -> None:
        """Move what is pending into the outbox, or leave it where it is while the disk refuses it."""
        if time.monotonic() < self._disk_refused_until:
            while len(self._pending) > MEMORY_READINGS:
                self._pending.popleft()
                self.lost_in_memory += 1
            return
        count = FRAME_READINGS
        while self._pending:
            boot = self._pending[0].boot
            batch = same_boot(self._pending, count)
            blocks = columnar(batch)
            try:
                self._outbox.append(msgspec.json.encode(Held(boot, blocks) if boot else blocks))
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
                self._pending.popleft()

    def _vetted(self, device: str, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the good values one by one, and set the others aside."""
        good = {channel: value for channel, value in values.items() if is_good(channel, value)}
        for channel in [name for name in values if name not in good]:
            self._set_aside("not a channel and value", f"{shown(channel)}={shown(values[channel])}", device)
        if len(self._channels) < KNOWN_CHANNELS:
            self._channels.update(good)
        return good

    def _publish_state(self, device: str, payload: bytes) -> None:
        self._bus.publish(topics.device(self._node, device, "state"), payload)

    def _publish_frame(self, news: bool, frame: bytes) -> bool:
        topic = topics.service(self._node, self._service, "journal" if news else "replay")
        return self._bus.publish(topic, frame, qos=1)

    def _committed(self, message: Message) -> None:
        try:
            mark = decode(Watermark, message.payload)
        except MessageError as error:
            self._set_aside(str(error), repr(message.payload[:200]), message.topic)
            return
        with self._lock:
            self._sender.watermark(mark)
        self._wake.set()

    def _connected(self) -> None:
        self._announcements.repeat()
        self._wake.set()
