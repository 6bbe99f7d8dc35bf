"""What is known of the devices whose readings come in over HTTP: remembered in a file, offline after a silence."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from heliograph import durable
from heliograph.messages import Channel, Info, Value
from services.api.ingest.reports import Report

log = logging.getLogger(__name__)

SERVICE = "api"
SILENT_SECONDS = 86_400.0  # a device that never sent its interval is offline after this,
SILENT_INTERVALS = 3  # and one that did after so many intervals,
SHORTEST_SILENCE = 60.0  # but not before this
_DEVICES = msgspec.json.Decoder(dict[str, Info])


class ReportedDevices:
    """The devices of this node that have sent a reading, with what they are; `file` outlives a restart."""

    def __init__(self, file: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._monotonic = monotonic
        self.infos = _load(file)
        self._is_saved = True
        # A process that was killed could not publish that they are offline, so the silence begins now.
        self._last_seen = dict.fromkeys(self.infos, monotonic())

    def update(self, report: Report) -> Info | None:
        """Note that a device has sent a report; return what the device is if that has changed."""
        self._last_seen[report.device] = self._monotonic()
        known = self.infos.get(report.device) or Info("HTTP", {}, service=SERVICE)
        channels = {**known.channels, **report.channels}
        for name, value in report.values.items():
            channels.setdefault(name, _guessed(value))
        info = Info(report.model or known.model, channels, report.interval or known.interval, SERVICE)
        if self.infos.get(report.device) == info:
            return None
        self.infos[report.device] = info
        self._is_saved = False
        return info

    def silent(self) -> list[str]:
        """Return the devices that have not reported for too long, each once per silence."""
        now = self._monotonic()
        devices = [device for device, seen in self._last_seen.items() if now - seen > self._longest_silence(device)]
        for device in devices:
            del self._last_seen[device]
        return devices

    def forget(self, device: str) -> None:
        """Note that a device is gone, until it reports again."""
        del self.infos[device]
        self._last_seen.pop(device, None)
        self._is_saved = False

    def take_unsaved(self) -> dict[str, Info] | None:
        """Return what `save` has to write, None if the file has it all."""
        infos = None if self._is_saved else dict(self.infos)
        self._is_saved = True
        return infos

    def save(self, infos: Mapping[str, Info]) -> None:
        """Write the file, in any thread; if the disk refuses, that is logged, and `take_unsaved` returns it again."""
        try:
            durable.write(self._file, msgspec.json.encode(infos))
        except OSError as error:
            log.warning("cannot remember the devices: %s", error)
            self._is_saved = False

    def _longest_silence(self, device: str) -> float:
        interval = self.infos[device].interval
        return max(SILENT_INTERVALS * interval, SHORTEST_SILENCE) if interval else SILENT_SECONDS


def _guessed(value: Value) -> Channel:
    if isinstance(value, bool):
        return Channel(kind="state")
    return Channel(kind="text" if isinstance(value, str) else "gauge")


def _load(file: Path) -> dict[str, Info]:
    try:
        return _DEVICES.decode(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s is not readable (%s): units are unknown until they are sent again", file, error)
        return {}
