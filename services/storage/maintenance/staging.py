"""Files of a store on their way to or from a backup: copied beside, checked, made durable, and only then named."""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from heliograph import durable
from heliograph.errors import StoreDamaged
from services.storage.maintenance import files

PAGES = 2_000  # copied at a time: storage can write in between
STAGED = ".partial"

Advance = Callable[[int], None]  # with a number of bytes


def stage(source: Path, target: Path, advance: Advance) -> None:
    """Make a sound and durable copy of a file; raise StoreDamaged or OSError."""
    target.unlink(missing_ok=True)
    done = 0

    def progress(status: int, remaining: int, total: int) -> None:
        nonlocal done
        reached = (total - remaining) * page
        advance(max(0, reached - done))
        done = max(done, reached)

    with files.read_only(source) as connection:
        page = connection.execute("PRAGMA page_size").fetchone()[0]
        pages = -1 if source.name == files.HOT else PAGES  # hot.db changes all the time, and is small
        try:
            with closing(sqlite3.connect(target)) as copy:
                connection.backup(copy, pages=pages, progress=progress, sleep=0.01)
                copy.execute(
                    "PRAGMA journal_mode=DELETE"
                ).fetchall()  # a disk that is mounted read-only can be read then
        except sqlite3.OperationalError as error:
            raise OSError(f"{target}: {error}") from None
    if not target.stat().st_size:
        raise StoreDamaged(f"{source} is empty")
    if errors := files.integrity_errors(target, quick=True):
        raise StoreDamaged(f"the copy of {source} is not sound: {errors[0]}")
    durable.sync(target)


def install(folder: Path, names: Iterable[str]) -> None:
    """Give staged files their names: hot.db last, because what has left it must be in history whenever power fails."""
    for name in sorted(names, key=lambda name: (name == files.HOT, name != files.CATALOG)):
        for suffix in files.SIDE_FILES:
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
        (folder / f"{name}{STAGED}").replace(folder / name)
        durable.sync(folder)


def clean(folder: Path) -> None:
    """Remove what was staged and did not get its name."""
    for path in folder.glob(f"*.db{STAGED}*"):
        path.unlink(missing_ok=True)
