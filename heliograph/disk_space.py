"""Whether there is room on the disks that a node writes to."""

import os
from collections.abc import Iterable
from pathlib import Path

LEAST_BYTES = 500_000_000
SMALL_DISK_PART = 10  # of a small disk, a tenth


def shortages(folders: Iterable[Path]) -> list[str]:
    """Return a sentence for each file system of these folders that is nearly full; a folder that is not there has none."""
    seen: set[int] = set()
    sentences = []
    for folder in folders:
        try:
            device, room = folder.stat().st_dev, os.statvfs(folder)
        except OSError:
            continue
        if device in seen:
            continue
        seen.add(device)
        free, size = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
        if size and free < min(LEAST_BYTES, size // SMALL_DISK_PART):
            sentences.append(f"the disk of {folder} is nearly full: {_bytes(free)} of {_bytes(size)} are free")
    return sentences


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
