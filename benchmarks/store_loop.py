"""A private ext4 on a loop device, whose block-device counters say what really reached the disk, journal and all."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.store_demands import is_root

SECTOR = 512
CARD = 4096  # bytes: the blocks of a card's ext4
SMALL = 1024


class NoLoop(RuntimeError):
    """This machine has no loop device for us; the message says why."""


class Disk:
    """A mounted file system and its device's counters."""

    def __init__(self, device: str, folder: Path) -> None:
        self.folder = folder
        self._stat = Path("/sys/block", Path(device).name, "stat")

    def sync(self) -> None:
        """Write everything that the kernel has buffered."""
        subprocess.run(["sync", "-f", str(self.folder)], check=True)

    def written(self) -> int:
        """Return how many bytes were written to the device, after writing what was buffered."""
        self.sync()
        return self._counters()[6] * SECTOR

    def read(self) -> tuple[int, int]:
        """Return how many read requests the device got, and of how many bytes."""
        counters = self._counters()
        return counters[0], counters[2] * SECTOR

    def forget(self) -> None:
        """Drop the files from the page cache."""
        self.sync()
        for path in self.folder.rglob("*"):
            if path.is_file():
                file = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(file)

    def _counters(self) -> list[int]:
        return [int(word) for word in self._stat.read_text().split()]


@contextmanager
def disk(folder: Path, name: str, megabytes: int, block: int = CARD, options: str = "defaults") -> Iterator[Disk]:
    """Yield a new ext4 with a journal and blocks of so many bytes; raise NoLoop if this machine does not let us.

    Left alone, `mkfs.ext4` gives a card blocks of 4096, but an image below 512 MB blocks of 1024.
    """
    if not is_root():
        raise NoLoop("only root can make and mount a loop device")
    image, mount = folder / f"{name}.img", folder / f"{name}.mount"
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    mount.mkdir()
    # what ext4 would otherwise write in the background, while we count
    _do("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-b", str(block), str(image))
    device = _do("losetup", "--find", "--show", str(image)).strip()
    try:
        _do("mount", "-t", "ext4", "-o", options, device, str(mount))
        try:
            mount.chmod(0o755)
            yield Disk(device, mount)
        finally:
            _do("umount", "--lazy", str(mount))  # a run that failed may have left files open
    finally:
        _do("losetup", "--detach", device)


def _do(*command: str) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NoLoop(f"there is no {command[0]}") from None
    except subprocess.CalledProcessError as error:
        raise NoLoop(f"{' '.join(command)}: {error.stderr.strip()}") from None
    return done.stdout
