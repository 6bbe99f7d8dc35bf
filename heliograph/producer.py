"""How a service publishes readings: live for everyone, and durably for storage."""

import logging
import queue
import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from heliograph import topics
from heliograph.arrival_times import ArrivalStamper
from heliograph.bus import Bus, Message
from heliograph.clock import Clock
from heliograph.errors import MessageError
from heliograph.frame_delivery import FrameDelivery
from heliograph.frame_writer import FRAME_READINGS, LINGER_SECONDS, FrameWriter
from heliograph.live import Announcements, StatePublisher
from heliograph.messages import (
    Availability,
    Info,
    Reading,
    Value,
    Watermark,
    decode,
    encode,
)
from heliograph.outbox import CAP_BYTES
from heliograph.pending import Pending, SetAside, ValueCheck
from heliograph.plain_values import PlainValues
from heliograph.quality import Quality

log = logging.getLogger(__name__)


class Producer:
    """Publishes the readings of devices; thread-safe.

    When `flush` returns True, all earlier readings are in the outbox and will be stored exactly once, whichever process dies
    in between; without it they get there within LINGER_SECONDS. With `durable`, they also survive a power cut. Neither holds for
    the values that a [quality] rule holds back until later readings decide on them: those are in memory.
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
        plain_values: Sequence[str] = (),
        cap_bytes: int = CAP_BYTES,
    ) -> None:
        """Open the outbox in a folder; `plain_values` are patterns, see plain_values.py. Raises OSError as FrameDelivery does."""
        self._bus = bus
        self._node = node
        self._service = service
        self._clock = clock
        self._set_aside = set_aside
        self._delivery = FrameDelivery(bus, node, service, folder, clock, cap_bytes=cap_bytes)
        self._writer = FrameWriter(self._delivery.outbox, set_aside)
        self._states = StatePublisher(self._publish_state, clock.latest)
        self._check = ValueCheck(set_aside)
        self._plain_values = PlainValues(bus, node, plain_values, folder / "plain_values.json")
        self._announcements = Announcements(bus, node, self._channels)
        self._quality = quality or None  # without rules there is nothing to apply
        self._inbox: deque[Pending] = deque()  # what publish() hands to the thread
        self._stamper = ArrivalStamper(clock, self._inbox)
        self._lingers = False  # whether the thread looks into the inbox soon anyway
        self._wake = threading.Event()
        self._flushes: deque[tuple[queue.SimpleQueue[bool], bool]] = deque()  # answers, and which wait for the disk
        self._lock = threading.Lock()
        self._stopping = False
        self.readings = 0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def __enter__(self) -> "Producer":
        """Start handing frames to storage."""
        self._bus.subscribe(topics.service(self._node, self._service, "committed"), self._committed)
        self._announcements.follow()
        self._bus.on_connect(self.announce)
        self._bus.on_connect(self._wake.set)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Put everything into the outbox and stop; report all devices offline."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._announcements.goodbye()

    def declare(self, device: str, info: Info) -> None:
        """Publish what a device is, with the [quality] rules applied; raise ValueError if a name would change the topic tree."""
        topics.name(device)
        for channel in info.channels:
            topics.channel(channel)
        described = self._quality.described(device, info) if self._quality is not None else info
        self._announcements.declare(device, described)

    def availability(self, device: str, state: Availability) -> None:
        """Publish whether a device answers; repeated on every connect."""
        self._announcements.availability(device, state)

    def publish(
        self,
        device: str,
        values: Mapping[str, Value],
        at: float | None = None,
        *,
        arrived: float | None = None,
    ) -> None:
        """Publish one reading of a device, read now or at a time in seconds since 1970 UTC.

        With `at`, the time is the device's own; two readings with one time are one, the last. Without it, the reading
        has a time of its own: that of this machine's clock, now or when it `arrived` if that is known, later than those before it. Values that no channel can have (NaN, infinity, long texts, hostile names) are set
        aside one by one; the good ones around them are kept.
        """
        good = self._check.good(device, values, at)
        if not good:
            return
        self._announcements.reported(device)
        if at is not None:
            time = round(at, 3)
            self._inbox.append(Pending(device, "", time, good, time))
        else:
            self._stamper.put(device, good, arrived)
        waiting = len(self._inbox)
        if ((waiting == 1 and not self._lingers) or waiting >= FRAME_READINGS) and not self._wake.is_set():
            self._wake.set()

    def flush(self, *, durable: bool = False) -> bool:
        """Wait until everything published so far is in the outbox, with `durable` on the disk; return False if the disk refuses it."""
        answer: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._flushes.append((answer, durable))
        self._wake.set()
        while self._thread.is_alive():
            try:
                return answer.get(timeout=1)
            except queue.Empty:
                continue
        return not durable and not self._inbox and not self._writer.pending

    def counters(self) -> dict[str, int]:
        """Return the counters of the outbox for the status."""
        with self._lock:
            return {
                "readings": self.readings,
                "readings_crowded": self._stamper.crowded,
                **self._delivery.counters(),
                "readings_in_memory": len(self._writer.pending),
                "readings_lost_in_memory": self._writer.lost,
                **self._plain_values.counters(),
            }

    def facts(self) -> dict[str, object]:
        """Return the progress of delivery: the epoch, the last frame in the outbox, the last one committed."""
        with self._lock:
            return self._delivery.facts() | self._plain_values.facts()

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
                written = not self._writer.pending
                wait = self._delivery.send()
                if self._plain_values.send():  # after the frames
                    self._lingers = True
            if self._lingers:
                wait = min(wait, LINGER_SECONDS)
            for answer, durable in flushes:
                if not durable:
                    answer.put(written)
            for answer in [answer for answer, durable in flushes if durable]:
                with self._lock:
                    answer.put(written and self._delivery.force())
        with self._lock:
            self._drain(hurry=True)
            for reading in self._quality.release() if self._quality is not None else ():
                self._take(reading)
            self._drain(hurry=True)
            self._plain_values.send(all_at_once=True)
            if self._writer.pending:
                log.error("%d readings are lost: the outbox cannot be written", len(self._writer.pending))
            self._delivery.close()

    def _drain(self, *, hurry: bool) -> None:
        """Show what was published, and write what is due."""
        while self._inbox:
            reading = self._inbox.popleft()
            if self._quality is None:
                self._take(reading)
            else:
                for kept in self._quality.apply(reading):
                    self._take(kept)
        self._writer.write_if_due(hurry=hurry)
        self._states.flush()
        self._lingers = bool(self._writer.pending) or self._states.waiting

    def _take(self, reading: Pending) -> None:
        self._writer.add(reading)
        self.readings += 1
        self._states.show(reading.device, Reading(reading.shown, reading.values, "unsynced" if reading.boot else ""))

    def _publish_state(self, device: str, state: Reading) -> None:
        self._bus.publish(topics.device(self._node, device, "state"), encode(state))
        self._plain_values.show(device, state.values)

    def _committed(self, message: Message) -> None:
        try:
            mark = decode(Watermark, message.payload)
        except MessageError as error:
            self._set_aside(str(error), repr(message.payload[:200]), message.topic)
            return
        with self._lock:
            self._delivery.watermark(mark)
        self._wake.set()

    def _channels(self, device: str, channels: Collection[str]) -> None:
        if self._plain_values.declare(device, channels):
            self._wake.set()

    def announce(self) -> None:
        """Publish what is known of all devices again, for those who have just connected."""
        self._announcements.repeat()
