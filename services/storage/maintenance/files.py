"""The files of an embedded store, for commands that copy or check them: read-only, whatever storage does meanwhile."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import integrity, schema

HOT, CATALOG, HISTORY = "hot.db", "catalog.db", "history-*.db"
SIDE_FILES = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a file


def store_files(folder: Path) -> list[Path]:
    """Return the files of a store, in the order in which they may be copied while it is written.

    What leaves hot.db is in history before, and names are committed before anything refers to them: so hot.db
    comes first, then history, oldest year first, then the names.
    """
    order = [folder / HOT, *sorted(folder.glob(HISTORY)), folder / CATALOG]
    return [path for path in order if path.exists()]


def size(path: Path) -> int:
    """Return the bytes of a file, with its journal."""
    wal = path.with_name(path.name + "-wal")
    return path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file for reading; raise StoreDamaged, from anywhere in the block, for one that is not a sound database.

    Raises OSError for one that cannot be opened.
    """
    try:
        with closing(_connected(path)) as connection:
            yield connection
    except sqlite3.OperationalError as error:
        raise OSError(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(f"{path}: {error}") from None


def _connected(path: Path) -> sqlite3.Connection:
    schema.refuse_no_file(path)
    # Where the folder is read-only, SQLite cannot make the -shm file; with no writer there is nothing to share.
    choices = ("mode=ro",) if path.with_name(path.name + "-wal").exists() else ("mode=ro", "mode=ro&immutable=1")
    for choice in choices:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{choice}", uri=True, isolation_level=None, factory=schema.Connection
        )
        try:
            connection.execute("PRAGMA query_only=1")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError:
            connection.close()
            if choice == choices[-1]:
                raise
        else:
            return connection
    raise AssertionError("there is always a last choice")


def integrity_errors(path: Path, *, quick: bool = False) -> list[str]:
    """Return the errors that SQLite finds in a file, a sentence each; empty is good."""
    try:
        with read_only(path) as connection:
            sentences = [
                row[0] for row in connection.execute(f"PRAGMA {'quick_check' if quick else 'integrity_check'}")
            ]
    except StoreDamaged as error:
        return [str(error)]
    return [] if sentences == ["ok"] else [f"{path}: {sentence}" for sentence in sentences]


def why_unsound(path: Path) -> str:
    """Return what is wrong with a file of a store, and how much of it; empty if all of it can be read."""
    if path.stat().st_size == 0:
        return "it is empty"
    if errors := integrity_errors(path, quick=True):
        return errors[0]
    with read_only(path) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone() is None:
            return "it is not a file of a store"
        chunks = connection.execute("SELECT 1 FROM sqlite_master WHERE name='chunk'").fetchone()
        count = connection.execute("SELECT count(*) FROM chunk").fetchone()[0] if chunks else 0
    damages = [one for some in integrity.year(path) for one in some] if chunks else []
    return f"{len(damages)} parts of it cannot be read, of {count} days of series: {damages[0]}" if damages else ""
