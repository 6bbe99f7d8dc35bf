"""What the other services of a node keep in its data folder: positions of uploads, targets, counts, names; copied and put back."""

import shutil
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from heliograph import durable
from services.storage.maintenance import backup_list, files
from services.storage.maintenance.backup_list import Copy

FOLDER = "state"  # of a backup
SECRETS = "secrets"
CONFIGURATION = "config.toml"  # is in the backup, and not put back
# the store is copied for itself; what waits in outboxes comes anyway, or belongs to another time; boots belong to a machine
LEFT_OUT = frozenset({"store", "outbox", "clock", SECRETS})
LEFT_OUT_ENDINGS = (*files.SIDE_FILES, ".partial", ".lock", ".sock", ".pid")
SQLITE = b"SQLite format 3\0"


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


def stage(sources: Mapping[str, Path], folder: Path) -> dict[str, Copy]:
    """Copy files into a backup, under other names until `install`; return what the copies are. Raises OSError.

    Only their owner can read the copies: the uploader's file has the keys of targets that were added while it ran.
    """
    target = folder / FOLDER
    target.mkdir(mode=0o700, exist_ok=True)
    copies: dict[str, Copy] = {}
    for name, source in sources.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        copies[name] = backup_list.copy_of(_copy(source, target / name))
    return copies


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


def put_back(folder: Path, names: Iterable[str], data_folders: Sequence[Path], *, force: bool) -> PutBack:
    """Put files of a backup into data folders; one that is there stays, or is moved aside by `force`. Raises OSError.

    A folder that is called as a service gets only the files of that service: it is the volume of a container.
    """
    done: list[str] = []
    there: list[str] = []
    names = [name for name in names if name != CONFIGURATION]
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
            _copy(folder / FOLDER / name, data / name).replace(data / name)
            durable.sync((data / name).parent)
            done.append(name)
    return PutBack(done, there)


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _copy(source: Path, target: Path) -> Path:
    """Make a durable copy beside `target`, which only its owner can read; return its path."""
    partial = _partial(target)
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    with source.open("rb") as file:
        is_sqlite = file.read(len(SQLITE)) == SQLITE
    if is_sqlite:
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
