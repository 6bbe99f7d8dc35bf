"""What time it is, and whether the system clock can be trusted.

A Raspberry Pi has no clock that runs without power: it starts with the time of its last
shutdown, and is wrong until it gets the time from the network. Until then a reading is kept with
the seconds since boot; once the clock is set, the time of the boot is known, and with it the time
of every reading since.
"""

import ctypes
import logging
import math
import time
from pathlib import Path
from typing import Literal

import msgspec

from heliograph import durable

log = logging.getLogger(__name__)

SYNCHRONISED = Path("/run/systemd/timesync/synchronized")  # systemd-timesyncd(8), "Files"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
CHECK_SECONDS = 1.0
EARLIEST_BOOT = 946_684_800.0  # 2000-01-01
LATEST_BOOT = 32_503_680_000.0  # 3000-01-01
SET_SECONDS = 0.1  # a smaller difference is that of asking two clocks one after the other
REMEMBERED_BOOTS = 32
MILLISECOND = 0.001
TIME_ERROR = 5  # adjtimex(2): "the system clock is not synchronized to a reliable server"


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2): modes 0 only reads; the rest is not looked at."""

    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_byte * 256))


class Clock:
    """The system clock, with the knowledge whether it has been set.

    `mode` "trust" takes the system clock as it is; "auto" waits until the kernel reports that
    it has been set, or the file of the time service exists; "file" waits for that file only.
    `folder` keeps the times of the last boots, so that readings of an earlier boot can still
    be stamped.
    """

    def __init__(
        self,
        mode: Literal["auto", "file", "trust"],
        folder: Path,
        synchronised: Path = SYNCHRONISED,
    ) -> None:
        self._mode = mode
        self._file = folder / "boots.json"
        self._synchronised_file = synchronised
        self.boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else "unknown"
        self._boots = self._load()
        self._right = mode == "trust" or self.boot in self._boots
        self._remembered = self._right
        self._this_boot = self._boots.get(self.boot)
        self._checked = float("-inf")

    def now(self) -> float:
        """Return the time of the system clock, right or wrong, in seconds since 1970 UTC."""
        return time.time()

    def latest(self) -> float:
        """Return the latest time that is not in the future, in seconds since 1970 UTC; infinity until the clock is set.

        A reading's time is rounded to the millisecond, which may be the next.
        """
        return self.now() + MILLISECOND if self.synchronised else math.inf

    def since_boot(self) -> float:
        """Return the seconds since boot, time asleep included; nothing can set this clock."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    @property
    def synchronised(self) -> bool:
        """Whether the system clock is right; once it was in this boot, it stays so."""
        if not self._remembered and self.since_boot() - self._checked >= CHECK_SECONDS:
            self._checked = self.since_boot()
            if self._right or is_set(self._mode, self._synchronised_file):
                self._remember()
        return self._right

    def booted(self, boot: str) -> float | None:
        """Return the time of a boot in seconds since 1970 UTC, None while it is not known.

        That of this boot moves only when the clock is set: readings that are a millisecond apart stay so.
        """
        if boot == self.boot:
            return self._booted() if self.synchronised else None
        return self._boots.get(boot)

    def _booted(self) -> float:
        """Return the time of this boot: the one that was returned before, unless the clock has been set since."""
        at = self.now() - self.since_boot()
        if self._this_boot is None or abs(at - self._this_boot) > SET_SECONDS:
            self._this_boot = at
        return self._this_boot

    def _remember(self) -> None:
        if not self._right:
            log.info("the clock is set; this machine booted %.0f s ago", self.since_boot())
        self._right = True
        self._boots[self.boot] = self._booted()
        kept = dict(list(self._boots.items())[-REMEMBERED_BOOTS:])
        try:
            # durable: readings of this boot may wait in the outbox when the power fails
            durable.write(self._file, msgspec.json.encode(kept))
            self._remembered = True
        except OSError as error:
            log.warning("cannot remember when this machine booted: %s", error)

    def _load(self) -> dict[str, float]:
        try:
            boots = msgspec.json.decode(self._file.read_bytes(), type=dict[str, float])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s is not readable (%s): readings of earlier boots cannot be stamped", self._file, error)
            return {}
        return {boot: at for boot, at in boots.items() if EARLIEST_BOOT <= at <= LATEST_BOOT}


def is_set(mode: Literal["auto", "file", "trust"], synchronised: Path = SYNCHRONISED) -> bool:
    """Return whether the system clock is right now, as `Clock` decides it for a service that starts."""
    return mode == "trust" or synchronised.exists() or (mode == "auto" and _kernel_is_synchronised())


def _kernel_is_synchronised() -> bool:
    libc = ctypes.CDLL(None)
    timex = _Timex()
    state = int(libc.adjtimex(ctypes.byref(timex)))
    return 0 <= state < TIME_ERROR
