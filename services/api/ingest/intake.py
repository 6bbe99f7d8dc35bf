"""From what someone sent to what is in the outbox: nothing is called taken before it is there."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from heliograph import durable, topics
from heliograph.messages import Availability, Channel, Info, Value
from heliograph.pending import is_good, shown
from heliograph.store.readings import EARLIEST, latest_time
from services.api.errors import Busy, Refused
from services.api.live import Live

log = logging.getLogger(__name__)

SERVICE = "api"
MOST_DEVICES = 1_000
MOST_CHANNELS = 256
RETRY_SECONDS = 1.0  # the producer tries a disk that refused again after this
SILENT_SECONDS = 86_400.0  # a device that never said how often it reports is offline after this,
SILENT_INTERVALS = 3  # and one that did after so many intervals,
SHORTEST_SILENCE = 60.0  # but not before this
_DEVICES = msgspec.json.Decoder(dict[str, Info])


class Report(NamedTuple):
    """One reading of a device: `time` is None for now, `channels` is what the sender knows of them.

    `model` and `interval` are those of the device; empty and 0 leave them as they are.
    """

    device: str
    values: Mapping[str, Value]
    time: float | None = None
    channels: Mapping[str, Channel] = {}
    model: str = ""
    interval: float = 0.0


class Publisher(Protocol):
    """What the intake needs of heliograph.producer.Producer."""

    def declare(self, device: str, info: Info) -> None:
        """Say what a device is."""

    def availability(self, device: str, state: Availability) -> None:
        """Say whether a device answers."""

    def publish(self, device: str, values: Mapping[str, Value], at: float | None = None) -> None:
        """Publish one reading."""

    def flush(self) -> bool:
        """Wait until what was published is in the outbox; return False if the disk refuses it."""
        ...


class Intake:
    """Takes reports of devices of this node, on the event loop; remembers in `file` what the devices are."""

    def __init__(
        self,
        producer: Publisher,
        live: Live,
        node: str,
        file: Path,
        *,
        clock_is_right: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer = producer
        self._live = live
        self.node = node
        self._file = file
        self._clock_is_right = clock_is_right
        self._monotonic = monotonic
        self._newest: dict[str, dict[str, tuple[float, Value]]] = {}
        self._heard: dict[str, float] = {}
        self._running: asyncio.Future[bool] | None = None
        self._next: asyncio.Future[bool] | None = None
        self._refused_until = 0.0
        self._infos = _load(file)
        self._changed = False
        for device, info in self._infos.items():
            producer.declare(device, info)
            self._heard[device] = monotonic()  # as if: whoever was killed could not say that they are offline
        self.readings = 0

    @property
    def clock_is_right(self) -> bool:
        """Whether the clock of this node has been set."""
        return self._clock_is_right()

    def knows(self, device: str) -> bool:
        """Whether this device has ever been taken here."""
        return device in self._infos

    def newest(self, device: str) -> dict[str, tuple[float, Value]]:
        """Return time and value of each channel's newest reading since the start that had a time."""
        return self._newest.get(device, {})

    def check(self, report: Report, place: str = "") -> None:
        """Raise Refused, with the place of what is wrong, if a report cannot be taken."""
        dot = f"{place}." if place else ""
        if not topics.is_name(report.device):
            raise Refused(f"{dot}device: {shown(report.device)[:82]} is not a name: a-z 0-9 _ - are, at most 63")
        self._check_owner(report.device, dot)
        if report.time is not None:
            self.check_time(report.time, f"{dot}time")
        if not report.values:
            raise Refused(f"{dot}values: there are none")
        known = self._infos.get(report.device)
        channels = known.channels if known else {}
        for channel in [*report.values, *report.channels]:
            if not topics.is_channel(channel):
                raise Refused(f"{dot}values: {shown(channel)[:82]} is not a channel: a-z 0-9 _ are, at most 64")
        for channel, value in report.values.items():
            if not is_good(channel, value):
                raise Refused(
                    f"{dot}values.{channel}: {shown(value)[:40]} is not a finite number, boolean or short text"
                )
            about = report.channels.get(channel) or channels.get(channel)
            if about and (about.kind == "text") != isinstance(value, str):
                raise Refused(f"{dot}values.{channel}: {shown(value)[:40]} does not fit a channel of kind {about.kind}")
        if len({*channels, *report.values, *report.channels}) > MOST_CHANNELS:
            raise Refused(f"{dot}values: a device has at most {MOST_CHANNELS} channels")

    def check_time(self, seconds: float, place: str) -> None:
        """Raise Refused for a time that the store would not take."""
        if not EARLIEST <= seconds <= latest_time(clock_is_right=self.clock_is_right):
            hint = "; seconds are wanted, not milliseconds" if 1e12 < seconds < 1e13 else ""
            raise Refused(f"{place}: {seconds:.15g} is before 2000 or in the future{hint}")

    async def take(self, reports: Sequence[Report]) -> None:
        """Return once all reports, which `check` found good, are in the outbox; raise Refused if the disk refuses."""
        if self._monotonic() < self._refused_until:
            raise _away()
        self._check_together(reports)
        for report in reports:
            self._publish(report)
        if not await self._flush():
            self._refused_until = self._monotonic() + RETRY_SECONDS
            raise _away()
        self.readings += len(reports)

    def look(self) -> None:
        """Say offline for devices that have been silent for too long."""
        now = self._monotonic()
        for device, heard in list(self._heard.items()):
            interval = self._infos[device].interval
            silence = max(SILENT_INTERVALS * interval, SHORTEST_SILENCE) if interval else SILENT_SECONDS
            if now - heard > silence:
                del self._heard[device]
                self._producer.availability(device, "offline")

    def counters(self) -> dict[str, int]:
        """Return what the status shows."""
        return {"readings_http": self.readings, "devices_http": len(self._infos)}

    def _check_together(self, reports: Sequence[Report]) -> None:
        """Raise Refused for reports that are good one by one, and too much or a contradiction together."""
        devices: dict[str, dict[str, bool]] = {}
        for report in reports:
            texts = devices.setdefault(report.device, {})
            for channel, value in report.values.items():
                if texts.setdefault(channel, isinstance(value, str)) != isinstance(value, str):
                    raise Refused(f"{report.device}: {channel[:64]} is a number here and a text there")
        for device, texts in devices.items():
            known = self._infos.get(device)
            if len({*texts, *(known.channels if known else ())}) > MOST_CHANNELS:
                raise Refused(f"{device}: a device has at most {MOST_CHANNELS} channels")
        if len(self._infos.keys() | devices.keys()) > MOST_DEVICES:
            raise Refused(f"there are {MOST_DEVICES} devices already, which is the limit", 409)

    def _check_owner(self, device: str, dot: str) -> None:
        known = self._live.devices.get((self.node, device))
        if known and known.info and known.info.service not in ("", SERVICE):
            raise Refused(f"{dot}device: {device} is published by {known.info.service}; take another name", 409)

    def _publish(self, report: Report) -> None:
        known = self._infos.get(report.device) or Info("HTTP", {}, service=SERVICE)
        channels = {**known.channels, **report.channels}
        for name, value in report.values.items():
            if name not in channels:
                channels[name] = _guessed(value)
        info = Info(report.model or known.model, channels, report.interval or known.interval, SERVICE)
        if self._infos.get(report.device) != info:
            self._infos[report.device] = info
            self._changed = True
            self._producer.declare(report.device, info)
        self._heard[report.device] = self._monotonic()
        self._producer.availability(report.device, "online")
        self._producer.publish(report.device, report.values, report.time)
        if report.time is not None:
            newest = self._newest.setdefault(report.device, {})
            for name, value in report.values.items():
                if name not in newest or report.time >= newest[name][0]:
                    newest[name] = report.time, value

    async def _flush(self) -> bool:
        """Wait for a flush that began after now: requests that come while one is under way share the next."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._flush_after(self._running))
        return await asyncio.shield(self._next)

    async def _flush_after(self, before: asyncio.Future[bool] | None) -> bool:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        infos, self._changed = dict(self._infos) if self._changed else None, False
        return await asyncio.to_thread(self._make_durable, infos)

    def _make_durable(self, infos: dict[str, Info] | None) -> bool:
        if infos is not None and not _save(self._file, infos):
            self._changed = True
        return self._producer.flush()


def _guessed(value: Value) -> Channel:
    if isinstance(value, bool):
        return Channel(kind="state")
    return Channel(kind="text" if isinstance(value, str) else "gauge")


def _away() -> Busy:
    return Busy(
        "the disk of this node refuses what should be kept; send it again, with the same time", 503, RETRY_SECONDS
    )


def _load(file: Path) -> dict[str, Info]:
    try:
        return _DEVICES.decode(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s is not readable (%s): units are known again once they are sent again", file, error)
        return {}


def _save(file: Path, infos: Mapping[str, Info]) -> bool:
    try:
        durable.write(file, msgspec.json.encode(infos))
    except OSError as error:
        log.warning("cannot remember the devices: %s", error)
        return False
    return True
