"""Files that are whole and still there after a power cut."""

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Make a file of this content, in place of the one that is there; raise OSError if the disk refuses.

    Its folder is made if need be. Whenever the power fails, the file is the old one or the new one, whole; once this has
    returned, it is the new one. Not for two threads at the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have the disk keep what a file holds, or which files a folder has; raise OSError if it refuses."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
