"""The names of the meters behind a P1 port: by their channel, and the same over restarts (decision 0013)."""

import logging
import threading
from pathlib import Path

import msgspec

from heliograph import durable

log = logging.getLogger(__name__)

UNKNOWN_MEDIUM = "meter"
MAX_METERS = 256


class _Meter(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of meters.json."""

    device: str  # the meter with the P1 port
    channel: int  # the 2 of 0-2:24.2.1
    medium: str
    name: str


class MeterNames:
    """Names meters, and remembers the names in a file, so that every meter keeps its series; thread-safe.

    The first meter of a medium is `meter_gas`, the others have their channel behind it: `meter_gas_2`. Without a file the
    names are remembered as long as the process lives.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._kept = None if file is None else durable.KeptFile(file, "a restart may exchange the names of two meters")
        self._meters: list[_Meter] = []
        self._lock = threading.Lock()
        if file is None:
            return
        try:
            self._meters = msgspec.json.decode(file.read_bytes(), type=list[_Meter])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s is not readable (%s): of two gas meters, the other one may get the name", file, error)

    def name(self, device: str, channel: int, medium: str) -> tuple[str, str]:
        """Return the name and the medium of the meter on a channel; a medium that is not known is the last one of the channel."""
        with self._lock:
            if self._kept is not None:
                self._kept.write_if_due()
            mine = [meter for meter in self._meters if meter.device == device]
            for meter in reversed(mine):
                if meter.channel == channel and medium in (meter.medium, UNKNOWN_MEDIUM):
                    return meter.name, meter.medium
            name = f"{device}_{medium}"
            if any(meter.name == name for meter in mine):
                name = f"{name}_{channel}"
            if len(self._meters) < MAX_METERS:
                self._meters.append(_Meter(device, channel, medium, name))
                if self._kept is not None:
                    self._kept.put(msgspec.json.encode(self._meters))
            return name, medium
