"""backup.json: what the files of a backup looked like when they were copied, and size and checksum of each copy."""

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from heliograph import durable
from heliograph.errors import StoreAway, StoreDamaged

NAME = "backup.json"
READ_BYTES = 1 << 20


class FileState(msgspec.Struct, frozen=True):
    """What identifies an unchanged file: size and time of it and of its write-ahead log."""

    size: int
    modified: int  # ns
    journal_size: int
    journal_modified: int


class Copy(msgspec.Struct, frozen=True):
    """A copy as it was made: bytes, SHA-256, and when it was last read as a whole, in seconds since 1970 UTC."""

    size: int
    sha256: str
    read: float


class BackupList(msgspec.Struct, frozen=True):
    """The content of backup.json; backups of earlier versions have only `made` and `files`.

    `pending` has the copies of a backup that was interrupted while they got their names: each may be there or not.
    """

    made: str = ""  # ISO 8601
    files: dict[str, FileState] = {}
    copies: dict[str, Copy] = {}
    state: dict[str, Copy] = {}  # of files that other services keep
    pending: dict[str, Copy] = {}
    pending_state: dict[str, Copy] = {}

    def store_copies(self, folder: Path) -> dict[str, list[Copy]]:
        """Return what each file of the store may be like; an empty list if nothing is known of it."""
        names = [*self.files, *(name for name in self.pending if (folder / name).exists())]
        return {name: _both(name, self.copies, self.pending) for name in dict.fromkeys(names)}

    def state_copies(self) -> dict[str, list[Copy]]:
        """Return what each file of the other services may be like."""
        return {name: _both(name, self.state, self.pending_state) for name in self.state}


class Verified(NamedTuple):
    """Why copies are wrong, and the good ones of which the list knows something, by name."""

    wrong: dict[str, str]
    good: dict[str, Copy]


def read(folder: Path) -> BackupList:
    """Return the list of a backup, an empty one if there is none; raise StoreDamaged if it cannot be read."""
    path = folder / NAME
    try:
        listed = msgspec.json.decode(path.read_bytes(), type=BackupList)
    except FileNotFoundError:
        return BackupList()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreDamaged(f"{path}: {error}") from None
    strange = [name for name in [*listed.files, *listed.copies, *listed.pending] if Path(name).name != name]
    strange += [
        name for name in [*listed.state, *listed.pending_state] if Path(name).is_absolute() or ".." in Path(name).parts
    ]
    if strange:
        raise StoreDamaged(f"{path}: {strange[0]!r} is not a file of a store")
    return listed


def write(folder: Path, listed: BackupList) -> None:
    """Write the list of a backup, durably; raise OSError."""
    durable.write(folder / NAME, msgspec.json.format(msgspec.json.encode(listed)))


def state_of(path: Path) -> FileState:
    """Return what identifies a file as it is now; raise OSError."""
    file = path.stat()
    wal = path.with_name(path.name + "-wal")
    journal = wal.stat() if wal.exists() else None
    if journal is None or not journal.st_size:
        return FileState(file.st_size, file.st_mtime_ns, 0, 0)
    return FileState(file.st_size, file.st_mtime_ns, journal.st_size, journal.st_mtime_ns)


def copy_of(path: Path) -> Copy:
    """Return size and checksum of a file; raise OSError."""
    return Copy(path.stat().st_size, _checksum(path), time.time())


def verified(folder: Path, copies: Mapping[str, Sequence[Copy]], most: float = math.inf) -> Verified:
    """Compare copies with what they may be like; of one without that only the size is looked at, which is not 0.

    Sizes are always compared; checksums of at most `most` bytes, but of one file at least, those first that were read
    longest ago.
    """
    wrong: dict[str, str] = {}
    good: dict[str, Copy] = {}
    done = 0
    for name, choices in sorted(copies.items(), key=lambda item: min((copy.read for copy in item[1]), default=0.0)):
        try:
            size = (folder / name).stat().st_size
            fitting = [copy for copy in choices if copy.size == size]
            if not choices:
                if not size:
                    wrong[name] = "it is empty"
            elif not fitting:
                wrong[name] = f"it has {size:,} bytes, and {choices[-1].size:,} in the list"
            elif not done or done + size <= most:
                done += size
                checksum = _checksum(folder / name)
                if any(copy.sha256 == checksum for copy in fitting):
                    good[name] = Copy(size, checksum, time.time())
                else:
                    wrong[name] = "its checksum is not the one in the list"
            else:
                good[name] = fitting[-1]
        except FileNotFoundError:
            wrong[name] = "it is missing"
        except OSError as error:
            wrong[name] = f"it cannot be read: {error}"
    return Verified(wrong, good)


def _both(name: str, copies: Mapping[str, Copy], pending: Mapping[str, Copy]) -> list[Copy]:
    return [some[name] for some in (copies, pending) if name in some]


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def of_backup(folder: Path) -> BackupList:
    """Return the list of a backup; raise StoreAway for a folder without one, StoreDamaged for a list that cannot be read."""
    listed = read(folder)
    if not listed.files:
        raise StoreAway(f"{folder} is not a backup: it has no {NAME}")
    return listed


def wrong(folder: Path, listed: BackupList) -> dict[str, str]:
    """Return why copies of the store are not as the list has them, by name: each is read as a whole."""
    return verified(folder, listed.store_copies(folder)).wrong
