"""A block device of our own, an image file behind it: what is in the image at a moment is what a power cut leaves."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

MEGABYTES = 128


class LoopDevice:
    """An ext4 in an image file, mounted; `close` takes it away, whatever is still open on it."""

    def __init__(self, image: Path, mount: Path) -> None:
        """Mount the image, replaying its journal; raise CalledProcessError if the system does not let us."""
        self.image = image
        self.mount = mount
        mount.mkdir(exist_ok=True)
        run("mount", "-o", "loop", str(image), str(mount))
        self._name = Path(run("findmnt", "-n", "-o", "SOURCE", str(mount)).strip()).name

    def copy(self, target: Path) -> None:
        """Copy what the device has; writers have to be stopped, and writes of the kernel are waited for."""
        while True:
            before = self._written()
            run("cp", "--sparse=always", str(self.image), str(target))
            if before == self._written() and before[-1] == 0:
                return

    def close(self) -> None:
        """Unmount it, which frees the loop device."""
        if subprocess.run(["umount", self.mount], capture_output=True, check=False).returncode:
            run("umount", "--lazy", str(self.mount))

    def _written(self) -> list[int]:
        """Return how many writes and flushes were done, and how many are on their way."""
        fields = [int(field) for field in Path(f"/sys/block/{self._name}/stat").read_text().split()]
        return [fields[4], fields[6], *fields[15:16], fields[8]]


class Devices:
    """Makes devices, and takes them all away at the end."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self._folder = folder
        self._opened = opened
        self._count = 0

    def new(self) -> LoopDevice:
        """Return an empty one; skip the test where there are none to be had."""
        image = self._folder / "device.img"
        with image.open("wb") as file:
            file.truncate(MEGABYTES << 20)
        try:
            # all is made now, so that the kernel has nothing to write behind our back
            run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
            return self.mounted(image)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            why = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
            pytest.skip(f"no ext4 on a loop device here (it takes root and /dev/loop*): {why}")

    def mounted(self, image: Path) -> LoopDevice:
        """Return the device that an image is."""
        self._count += 1
        device = LoopDevice(image, self._folder / f"mount{self._count}")
        self._opened.callback(lambda: device.close() if device.mount.is_mount() else None)
        return device


def run(*command: str) -> str:
    """Run a command, and return its output; raise CalledProcessError if it failed."""
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout
