"""Files that are whole and still there after a power cut."""

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Write a file in place of the one that is there, and its folder if need be; raise OSError if the disk refuses.

    Whenever the power fails, the file is whole, the old one or the new one; after the return it is the new one.
    Two threads must not write the same file.
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
    """Force the content of a file, or the entries of a folder, to the disk; raise OSError if it refuses."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
