"""How a service publishes readings: live for everyone, and durably for storage."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.clock import Clock
from heliograph.errors import MessageError
from heliograph.messages import (
    Availability,
    Block,
    Info,
    Reading,
    Value,
    Watermark,
    decode,
    encode,
    is_value,
)
from heliograph.outbox import CAP_BYTES, Outbox
from heliograph.sender import Held, Sender

log = logging.getLogger(__name__)

FRAME_READINGS = 10
LINGER_SECONDS = 0.1  # how long a reading waits for company in its frame
DISK_RETRY_SECONDS = 1.0
MEMORY_READINGS = 10_000  # kept while the disk refuses them
SYNC_SECONDS = 10.0  # as long as storage's commit interval: what a power cut may take

SetAside = Callable[[str, str, str], None]  # why, what, where


class _Pending(NamedTuple):
    device: str
    boot: str  # of the boot whose seconds `time` counts; empty: time is UTC
    time: float
    values: dict[str, Value]


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
        cap_bytes: int = CAP_BYTES,
    ) -> None:
        self._bus = bus
        self._node = node
        self._service = service
        self._clock = clock
        self._set_aside = set_aside
        self._outbox = Outbox(folder, clock.boot, cap_bytes=cap_bytes)
        self._sender = Sender(self._outbox, clock, self._publish_frame)
        self._pending: deque[_Pending] = deque()
        self._pending_since = 0.0
        self._disk_refused_until = -math.inf
        self._infos: dict[str, Info] = {}
        self._availability: dict[str, Availability] = {}
        self._wake = threading.Condition(threading.RLock())
        self._hurry = False
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
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join()
        for device in self._infos:
            self._announce(device, "offline")

    def declare(self, device: str, info: Info) -> None:
        """Say what a device is; raise ValueError if its name or a channel's would change the topic tree."""
        topics.name(device)
        for channel in info.channels:
            if not topics.is_channel(channel):
                raise ValueError(f"{channel[:80]!r} is not the name of a channel: lower-case letters, digits and _ are")
        if self._infos.get(device) != info:
            self._infos[device] = info
            self._bus.publish(
                topics.device(self._node, device, "info"),
                encode(info),
                qos=1,
                retain=True,
            )

    def availability(self, device: str, state: Availability) -> None:
        """Say whether a device answers; said again on every connect."""
        if self._availability.get(device) != state:
            self._availability[device] = state
            self._announce(device, state)

    def publish(self, device: str, values: Mapping[str, Value], at: float | None = None) -> None:
        """Publish one reading of a device, read now or at a time in seconds since 1970 UTC.

        Values that no channel can have (NaN, infinity, long texts, hostile names) are set
        aside one by one; the good ones around them are kept.
        """
        if not topics.is_name(device):
            self._set_aside("not the name of a device", device, "")
            return
        good: dict[str, Value] = {}
        for channel, value in values.items():
            if topics.is_channel(channel) and is_value(value):
                good[channel] = value
            else:
                self._set_aside("not a channel and value", f"{channel}={value!r}", device)
        if not good:
            return
        right = at is not None or self._clock.synchronised
        now = self._clock.now() if at is None else at
        state = Reading(round(now, 3), good, "" if right else "unsynced")
        self._bus.publish(topics.device(self._node, device, "state"), encode(state))
        pending = _Pending(
            device,
            "" if right else self._clock.boot,
            round(now if right else self._clock.since_boot(), 3),
            good,
        )
        with self._wake:
            self.readings += 1
            if not self._pending:
                self._pending_since = time.monotonic()
                self._wake.notify_all()
            self._pending.append(pending)
            if len(self._pending) >= FRAME_READINGS:
                self._wake.notify_all()

    def flush(self) -> bool:
        """Wait until everything published so far is in the outbox; return False if the disk refuses it."""
        with self._wake:
            self._hurry = True
            self._disk_refused_until = -math.inf
            self._wake.notify_all()
            self._wake.wait_for(lambda: not self._hurry)
            return not self._pending

    def counters(self) -> dict[str, int]:
        """Return what the status shows of the outbox."""
        with self._wake:
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
        with self._wake:
            return {
                "epoch": self._outbox.epoch,
                "last": self._outbox.next - 1,
                "committed": self._sender.committed if self._sender.epoch == self._outbox.epoch else 0,
                "waits_for_clock": self._sender.waits_for_clock,
            }

    def _run(self) -> None:
        """Do all work on the outbox in one thread, so that a signal never interrupts it half-way."""
        with self._wake:
            while not self._stopping:
                age = time.monotonic() - self._pending_since
                if self._pending and (self._hurry or len(self._pending) >= FRAME_READINGS or age >= LINGER_SECONDS):
                    self._write()
                if self._hurry:
                    self._hurry = False
                    self._wake.notify_all()
                if self._bus.connects != self._connects and self._bus.connected:
                    self._connects = self._bus.connects
                    self._sender.connect()
                elif not self._bus.connected:
                    self._sender.disconnect()
                    self._connects = -1
                wait = self._sender.pump()
                self._outbox.sync(SYNC_SECONDS)
                if self._pending:
                    wait = min(wait, LINGER_SECONDS)
                self._wake.wait(wait)
            self._disk_refused_until = -math.inf
            self._write()
            self._outbox.sync(-1)
            self._outbox.close()
            self._hurry = False
            self._wake.notify_all()

    def _write(self) -> None:
        """Move what is pending into the outbox, or leave it where it is while the disk refuses it."""
        if time.monotonic() < self._disk_refused_until:
            while len(self._pending) > MEMORY_READINGS:
                self._pending.popleft()
                self.lost_in_memory += 1
            return
        while self._pending:
            count = min(len(self._pending), FRAME_READINGS)
            batch = [self._pending[index] for index in range(count)]
            boot = batch[0].boot
            batch = [pending for pending in batch if pending.boot == boot]
            blocks = _columnar(batch)
            try:
                self._outbox.append(msgspec.json.encode(Held(boot, blocks) if boot else blocks))
            except OSError as error:
                log.error("the outbox cannot be written (%s); readings wait in memory", error)
                self._disk_refused_until = time.monotonic() + DISK_RETRY_SECONDS
                return
            for _ in batch:
                self._pending.popleft()

    def _publish_frame(self, news: bool, frame: bytes) -> bool:
        topic = topics.service(self._node, self._service, "journal" if news else "replay")
        return self._bus.publish(topic, frame, qos=1)

    def _committed(self, message: Message) -> None:
        try:
            mark = decode(Watermark, message.payload)
        except MessageError as error:
            self._set_aside(str(error), repr(message.payload[:200]), message.topic)
            return
        with self._wake:
            self._sender.watermark(mark)
            self._wake.notify_all()

    def _connected(self) -> None:
        for device, info in list(self._infos.items()):
            self._bus.publish(
                topics.device(self._node, device, "info"),
                encode(info),
                qos=1,
                retain=True,
            )
            self._announce(device, self._availability.get(device, "online"))
        with self._wake:
            self._wake.notify_all()

    def _announce(self, device: str, state: Availability) -> None:
        self._bus.publish(
            topics.device(self._node, device, "availability"),
            state.encode(),
            qos=1,
            retain=True,
        )


def _columnar(readings: list[_Pending]) -> list[Block]:
    """Return readings as blocks: one per device and set of channels, in the order of first appearance."""
    blocks: dict[tuple[str, tuple[str, ...]], Block] = {}
    for reading in readings:
        channels = tuple(reading.values)
        block = blocks.setdefault((reading.device, channels), Block(reading.device, channels, []))
        block.rows.append([reading.time, *reading.values.values()])
    return list(blocks.values())
