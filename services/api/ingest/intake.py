"""From a report to the outbox: a report counts as accepted only once it is durable."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from heliograph.messages import Availability, Info, Value
from heliograph.written_times import AHEAD_SECONDS
from services.api.errors import Busy, RequestRefused
from services.api.ingest import reports
from services.api.ingest.naming import PostedNames
from services.api.ingest.reported_devices import SERVICE, ReportedDevices
from services.api.ingest.reports import Report, TimeLimit
from services.api.live import LiveState

DURABLE_SECONDS = 10.0  # how long a sender waits for the disk that wants to
RETRY_SECONDS = 1.0  # the producer tries a disk that refused again after this


class Publisher(Protocol):
    """What the intake needs of heliograph.producer.Producer."""

    def declare(self, device: str, info: Info) -> None:
        """Publish what a device is."""

    def availability(self, device: str, state: Availability) -> None:
        """Publish whether a device answers."""

    def publish(self, device: str, values: Mapping[str, Value], at: float | None = None) -> None:
        """Publish one reading."""

    def flush(self, *, durable: bool = False) -> bool:
        """Wait until what was published is in the outbox, with `durable` on the disk; return False if the disk refuses it."""
        ...


class _SharedFlush:
    """Flushes of the outbox, one at a time: requests that come while one is under way share the next."""

    def __init__(self, begin: Callable[[], Callable[[], bool]]) -> None:
        """`begin` returns what a thread has to do; that returns False if the disk refuses."""
        self._begin = begin
        self._running: asyncio.Future[bool] | None = None
        self._next: asyncio.Future[bool] | None = None

    async def wait(self) -> bool:
        """Wait for a flush that began after now; return False if the disk refuses."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, before: asyncio.Future[bool] | None) -> bool:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await asyncio.to_thread(self._begin())


class HttpIntake:
    """Accepts reports of devices of this node, on the event loop; remembers in `file` what the devices are."""

    def __init__(
        self,
        producer: Publisher,
        live: LiveState,
        node: str,
        file: Path,
        *,
        names: PostedNames | None = None,
        clock_is_right: Callable[[], bool] = lambda: True,
        ahead_seconds: float = AHEAD_SECONDS,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        durable_seconds: float = DURABLE_SECONDS,
    ) -> None:
        self._producer = producer
        self._live = live
        self.node = node
        self.names = names or PostedNames()
        self._clock_is_right = clock_is_right
        self._ahead_seconds = ahead_seconds
        self._now = now
        self._monotonic = monotonic
        self._devices = ReportedDevices(file, monotonic)
        self._newest: dict[str, dict[str, tuple[float, Value]]] = {}
        self._written = _SharedFlush(lambda: partial(self._write, self._devices.take_unsaved()))
        self._on_disk = _SharedFlush(lambda: partial(producer.flush, durable=True))
        self._durable_seconds = durable_seconds
        self._refused_until = 0.0
        self.readings = 0
        self.missing = 0
        self._forget_removed_devices()
        for device, info in self._devices.infos.items():
            producer.declare(device, info)

    @property
    def clock_is_right(self) -> bool:
        """Whether the clock of this node has been set."""
        return self._clock_is_right()

    def knows(self, device: str) -> bool:
        """Whether a report of this device has ever been accepted here."""
        return device in self._devices.infos

    def newest(self, device: str) -> dict[str, tuple[float, Value]]:
        """Return time and value of each channel's newest reading since the start that had a time, not ahead of the clock."""
        return self._newest.get(device, {})

    def newest_value(self, device: str, channel: str) -> Value | None:
        """Return the newest value of a channel that the bus or the store has, None if there is none."""
        state = self._live.devices.get((self.node, device))
        newest = state.newest.get(channel) if state else None
        return newest.value if newest else None

    def check(self, report: Report, where: str = "") -> None:
        """Raise RequestRefused, beginning with `where` and the field, if a report cannot be accepted."""
        owner = self._live.devices.get((self.node, report.device))
        if owner and owner.info and owner.info.service not in ("", SERVICE):
            field = f"{where}.device" if where else "device"
            raise RequestRefused(
                f"{field}: {report.device} is published by {owner.info.service}; take another name", 409
            )
        info = self._devices.infos.get(report.device)
        limit = TimeLimit(self._now() if self.clock_is_right else None, self._ahead_seconds)
        reports.check(report, info.channels if info else {}, limit, where)

    async def accept(self, checked: Sequence[Report], *, durable: bool = False) -> None:
        """Return once all these reports, which `check` let pass, are in the outbox; raise RequestRefused if the disk refuses.

        With `durable`, return once they are on the disk, where a power cut leaves them; Busy is raised, too, if that takes long. Reports without values only count what is missing.
        """
        if self._monotonic() < self._refused_until:
            raise _disk_refuses()
        reports.check_together(checked, self._devices.infos)
        with_values = [report for report in checked if report.values]
        for report in with_values:
            self._publish(report)
        if with_values and not await (self._forced() if durable else self._written.wait()):
            self._refused_until = self._monotonic() + RETRY_SECONDS
            raise _disk_refuses()
        self.readings += len(with_values)
        self.missing += sum(report.missing for report in checked)

    def mark_silent_devices(self) -> None:
        """Publish that devices are offline which have not reported for too long."""
        for device in self._devices.silent():
            self._producer.availability(device, "offline")

    async def forget_removed_devices(self) -> None:
        """Forget the devices that `heliograph forget` removed, also on the disk."""
        if self._forget_removed_devices():
            await self._written.wait()

    def counters(self) -> dict[str, int]:
        """Return what the status shows."""
        return {"readings_http": self.readings, "devices_http": len(self._devices.infos), "no_value": self.missing}

    def _forget_removed_devices(self) -> bool:
        """Forget what was removed from the broker and has not reported since; return whether there is any."""
        removed = [device for device in self._devices.infos if self._live.is_removed(self.node, device)]
        for device in removed:
            self._devices.forget(device)
            self._newest.pop(device, None)
        return bool(removed)

    def _publish(self, report: Report) -> None:
        if info := self._devices.update(report):
            self._producer.declare(report.device, info)
        self._producer.availability(report.device, "online")
        self._producer.publish(report.device, report.values, report.time)
        if report.time is not None and not (self.clock_is_right and report.time > self._now()):
            newest = self._newest.setdefault(report.device, {})
            for name, value in report.values.items():
                if name not in newest or report.time >= newest[name][0]:
                    newest[name] = report.time, value

    async def _forced(self) -> bool:
        """Wait until everything is on the disk; raise Busy if it does not confirm that in time."""
        try:
            async with asyncio.timeout(self._durable_seconds):
                return await self._written.wait() and await self._on_disk.wait()
        except TimeoutError:
            raise Busy(
                f"the disk of this node has not confirmed the readings within {self._durable_seconds:g} s; "
                "send them again, with the same times",
                503,
                RETRY_SECONDS,
            ) from None

    def _write(self, infos: dict[str, Info] | None) -> bool:
        """Write devices, one state after the other, and readings; return False if the disk refuses readings."""
        if infos is not None:
            self._devices.save(infos)
        return self._producer.flush()


def _disk_refuses() -> Busy:
    return Busy("the disk of this node refuses the readings; send them again, with the same times", 503, RETRY_SECONDS)
