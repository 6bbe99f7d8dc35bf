"""How much is written to the card, which is what it dies of."""

import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

from services.sensor_reader.errors import NotAValue
from services.sensor_reader.sources import sysfs

SECTOR_BYTES = 512  # of /sys/block/*/stat, whatever the device's own are
MEGABYTE = 1_000_000
DAY_SECONDS = 86_400.0
SHORTEST_SECONDS = 3_600.0  # what a start writes is no measure of a day
MARK_SECONDS = 900.0


def disk(root: Path, data: Path) -> Path | None:
    """Return the `stat` file of the device that a folder is on, else of the first card; None if there is neither."""
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


def written(said: str) -> int:
    """Return the bytes written since the start: field 7 of Documentation/block/stat.rst; raise NotAValue."""
    fields = said.split()
    if len(fields) < 7:
        raise NotAValue("stat: too few fields", said[:80])
    return int(sysfs.decimal(fields[6], "stat")) * SECTOR_BYTES


class Mark(NamedTuple):
    """How much had been written by a moment, in seconds since the start of the machine."""

    uptime: float
    bytes: int


class Daily:
    """What is written in a day, from the last one, or from as much of it as the machine is on."""

    def __init__(self) -> None:
        self._marks = deque([Mark(0.0, 0)])

    def per_day(self, uptime: float, total: int) -> float | None:
        """Take note of a total; return bytes per day, None in the first hour."""
        if uptime < self._marks[-1].uptime or total < self._marks[-1].bytes:
            self._marks = deque([Mark(uptime, total)])  # another device
        while len(self._marks) > 1 and self._marks[1].uptime <= uptime - DAY_SECONDS:
            self._marks.popleft()
        first = self._marks[0]
        if uptime - self._marks[-1].uptime >= MARK_SECONDS:
            self._marks.append(Mark(uptime, total))
        passed = uptime - first.uptime
        if passed < SHORTEST_SECONDS:
            return None
        return (total - first.bytes) / passed * DAY_SECONDS
