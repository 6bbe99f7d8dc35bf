"""What the other services of a node keep in its data folder: positions of uploads, targets, counts, names; copied and put back."""

import io
import shutil
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

from heliograph import durable, node_config
from services.storage.maintenance import backup_list, files
from services.storage.maintenance.backup_list import Copy
from services.storage.maintenance.encryption import ENDING, Encryption, WrongPassphrase

FOLDER = "state"  # of a backup
SECRETS = "secrets"
CONFIGURATION = "config.toml"  # is in the backup, and not put back
RESTORED_CONFIGURATION = "config.toml.from-backup"  # as which it is put back if it was encrypted
# the store is copied for itself; what waits in outboxes comes anyway, or belongs to another time; boots belong to a machine;
# what runs is made again by each start, and has the passwords of the broker; the broker's program is unpacked again
LEFT_OUT = frozenset({"store", "outbox", "clock", node_config.RUN_FOLDER, node_config.TOOLS_FOLDER, SECRETS})
LEFT_OUT_ENDINGS = (*files.SIDE_FILES, ".partial", ".lock", ".sock", ".pid")
SQLITE = b"SQLite format 3\0"
# of the header: versions 1 for a rollback journal, 2 for a log (sqlite.org/fileformat2.html, 1.3)
ROLLBACK_JOURNAL = slice(18, 20)


class PutBack(NamedTuple):
    """The files that were put back, and those that were not, because there is one already."""

    done: list[str]
    there: list[str]


def of_folder(data: Path, backup: Path, *, secrets: bool = False) -> dict[str, Path]:
    """Return the files below a data folder that belong into a backup, by their names below it; not those of the backup itself."""
    chosen: dict[str, Path] = {}
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data)
        left_out = name.parts[0] in LEFT_OUT and not (secrets and name.parts[0] == SECRETS)
        itself = path.absolute().is_relative_to(backup.absolute())
        if path.is_file() and not (left_out or itself or name.name.endswith(LEFT_OUT_ENDINGS)):
            chosen[str(name)] = path
    return chosen


def stage(sources: Mapping[str, Path], folder: Path, encryption: Encryption | None = None) -> dict[str, Copy]:
    """Copy files into a backup, under other names until `install`; return what the copies are. Raises OSError.

    Only their owner can read the copies, or only the pass phrase opens them: the uploader's file has the keys of targets that
    were added while it ran. Encrypted copies have names with the ending `.encrypted`.
    """
    target = folder / FOLDER
    target.mkdir(mode=0o700, exist_ok=True)
    copies: dict[str, Copy] = {}
    for name, source in sources.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if encryption is None:
            copies[name] = backup_list.copy_of(_copy(source, target / name))
            continue
        encrypted = target / f"{name}{ENDING}"
        with _opened(source) as plain:
            encryption.encrypt(plain, _private(_partial(encrypted)), name)
        durable.sync(_partial(encrypted))
        copies[f"{name}{ENDING}"] = backup_list.copy_of(_partial(encrypted))
    return copies


def check_passphrase(folder: Path, names: Iterable[str], encryption: Encryption | None) -> None:
    """Raise WrongPassphrase unless every encrypted file of a backup can be decrypted."""
    for name in names:
        if name.endswith(ENDING):
            if encryption is None:
                raise WrongPassphrase(f"state/{name} is encrypted, and there is no pass phrase")
            encryption.check(folder / FOLDER / name, name.removesuffix(ENDING))


def install(folder: Path, names: Iterable[str]) -> None:
    """Give staged copies their names, and delete what is not among them. Raises OSError."""
    target = folder / FOLDER
    kept = {target / name for name in names}
    for path in kept:
        _partial(path).replace(path)
        durable.sync(path.parent)
    for path in target.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()


def clean(folder: Path) -> None:
    """Delete what a backup that failed has staged."""
    for path in (folder / FOLDER).rglob("*.partial"):
        path.unlink(missing_ok=True)


def put_back(
    folder: Path,
    names: Iterable[str],
    data_folders: Sequence[Path],
    *,
    force: bool,
    encryption: Encryption | None = None,
) -> PutBack:
    """Put files of a backup into data folders; one that is there stays, or is moved aside by `force`. Raises OSError.

    A folder that is called as a service gets only the files of that service: it is the volume of a container. Of encrypted files
    the configuration, too, is put there, under another name. Raises WrongPassphrase for those that cannot be decrypted.
    """
    done: list[str] = []
    there: list[str] = []
    stored = {name.removesuffix(ENDING): folder / FOLDER / name for name in names if name != CONFIGURATION}
    if CONFIGURATION in stored:
        stored[RESTORED_CONFIGURATION] = stored.pop(CONFIGURATION)
    names = list(stored)
    services = {Path(name).parts[0] for name in names}
    for data in data_folders:
        for name in names:
            if data.name in services and Path(name).parts[0] != data.name:
                continue
            if (data / name).exists() and not force:
                there.append(name)
                continue
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            _set_aside(data / name)
            original = CONFIGURATION if name == RESTORED_CONFIGURATION else name
            _restored(stored[name], data / name, original, encryption).replace(data / name)
            durable.sync((data / name).parent)
            done.append(name)
    return PutBack(done, there)


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _private(path: Path) -> Path:
    """Make an empty file that only its owner can read, in place of what is there."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    return path


def _restored(source: Path, target: Path, name: str, encryption: Encryption | None) -> Path:
    """Make a durable copy of a file of a backup, that was called `name`, decrypted if need be, beside `target`; return its path."""
    if encryption is None or source.suffix != ENDING:
        return _copy(source, target)
    partial = _private(_partial(target))
    encryption.decrypt(source, partial, name)
    durable.sync(partial)
    return partial


def _opened(source: Path) -> IO[bytes]:
    """Open a file to be read, a database as it is at one moment: nothing of it comes to the backup as plain text. Raises OSError."""
    if not _is_sqlite(source):
        return source.open("rb")
    with files.read_only(source) as connection, closing(sqlite3.connect(":memory:")) as copied:
        connection.backup(copied)
        content = bytearray(copied.serialize())
    content[ROLLBACK_JOURNAL] = b"\1\1"  # its write-ahead log does not come along
    return io.BytesIO(content)


def _is_sqlite(source: Path) -> bool:
    with source.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _copy(source: Path, target: Path) -> Path:
    """Make a durable copy beside `target`, which only its owner can read; return its path."""
    partial = _private(_partial(target))
    if _is_sqlite(source):
        with files.read_only(source) as connection:
            try:
                with closing(sqlite3.connect(partial)) as copied:
                    connection.backup(copied)
                    copied.execute("PRAGMA journal_mode=DELETE").fetchall()
            except sqlite3.OperationalError as error:
                raise OSError(f"{target}: {error}") from None
    else:
        shutil.copyfile(source, partial)
    durable.sync(partial)
    return partial


def _set_aside(path: Path) -> None:
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for suffix in ("", *files.SIDE_FILES):
        there = path.with_name(path.name + suffix)
        if there.exists():
            there.rename(path.with_name(f"{path.name}.before-restore-{when}{suffix}"))
