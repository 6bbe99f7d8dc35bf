"""How much is written to the disk: an SD card wears out by writes."""

import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

from services.sensor_reader.errors import InvalidValue
from services.sensor_reader.sources import sysfs

SECTOR_BYTES = 512  # in /sys/block/*/stat, whatever the sectors of the device are
MEGABYTE = 1_000_000
DAY_SECONDS = 86_400.0
MIN_SECONDS = 3_600.0  # the writes of a start say nothing about a day
SAMPLE_SECONDS = 900.0


def disk(root: Path, data: Path) -> Path | None:
    """Return the `stat` file of the disk that holds a folder, else of the first SD card; None if there is neither."""
    try:
        device = data.stat().st_dev
    except OSError:
        device = 0
    folder = root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    if folder.exists():
        folder = folder.resolve()
        if (folder / "partition").exists():
            folder = folder.parent
        if (folder / "stat").exists():
            return folder / "stat"
    return next(sysfs.entries(root / "sys/block", "mmcblk[0-9]/stat"), None)


def written(content: str) -> int:
    """Return the bytes written since the start, field 7 of Documentation/block/stat.rst; raise InvalidValue if it is missing."""
    fields = content.split()
    if len(fields) < 7:
        raise InvalidValue("stat: too few fields", content[:80])
    return int(sysfs.decimal(fields[6], "stat")) * SECTOR_BYTES


class Sample(NamedTuple):
    """The bytes written up to a moment, in seconds since the start of the machine."""

    uptime: float
    bytes: int


class DailyWrites:
    """The bytes written per day, over the last 24 hours or since the start of the machine."""

    def __init__(self) -> None:
        self._samples = deque([Sample(0.0, 0)])

    def per_day(self, uptime: float, total: int) -> float | None:
        """Record the total of bytes; return bytes per day, None in the first hour."""
        if uptime < self._samples[-1].uptime or total < self._samples[-1].bytes:
            self._samples = deque([Sample(uptime, total)])  # another device
        while len(self._samples) > 1 and self._samples[1].uptime <= uptime - DAY_SECONDS:
            self._samples.popleft()
        first = self._samples[0]
        if uptime - self._samples[-1].uptime >= SAMPLE_SECONDS:
            self._samples.append(Sample(uptime, total))
        passed = uptime - first.uptime
        if passed < MIN_SECONDS:
            return None
        return (total - first.bytes) / passed * DAY_SECONDS
