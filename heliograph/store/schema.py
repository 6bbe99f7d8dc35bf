"""The files of the embedded store and how they are opened.

`hot.db` holds readings in order of arrival; `catalog.db` the names. Only one connection per
file ever writes or checkpoints; every other one is opened `mode=ro` (SQLite's WAL-reset bug,
fixed in 3.51.3, needs two that do).
"""

import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from heliograph.errors import StoreAway, StoreDamaged

FORMAT = 1
HOT_PAGE = 1024  # small commits every few seconds: a small page halves what the card must write
CATALOG_PAGE = 4096
LOCK = "lock"  # held by the one process that writes
RESTORING = "restoring"  # a file beside them, from the first file that a restore moves to the last that it puts there
READER_CACHE = 400  # KiB for each file: there are many, and the kernel keeps their pages, too

HOT = """
CREATE TABLE IF NOT EXISTS frame(
    seq INTEGER PRIMARY KEY,  -- set by the writer, in order of arrival, never used again
    layout INT NOT NULL,
    ts INT NOT NULL,          -- ms UTC
    v BLOB NOT NULL,          -- f64[], little endian, in the layout's order; NaN = absent
    crc INT                   -- of the row; NULL: an older Heliograph wrote it
);
CREATE TABLE IF NOT EXISTS damaged(seq, layout, ts, v, crc);  -- rows of frame that are not as they were written
CREATE TABLE IF NOT EXISTS progress(
    producer TEXT NOT NULL,   -- node/service
    epoch TEXT NOT NULL,
    last INT NOT NULL,        -- the last frame that is stored
    lost INT NOT NULL,        -- frames before it that the producer declared lost
    seen INT NOT NULL,        -- ms UTC of the commit
    PRIMARY KEY(producer, epoch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS device(id INTEGER PRIMARY KEY, name TEXT NOT NULL);  -- copies of all rows of the catalog
CREATE TABLE IF NOT EXISTS series(
    id INTEGER PRIMARY KEY, device INT NOT NULL, name TEXT NOT NULL, unit TEXT, kind TEXT, rollover REAL
);
CREATE TABLE IF NOT EXISTS layout(id INTEGER PRIMARY KEY, device INT NOT NULL, sids BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS word(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS replacement(series INT NOT NULL, ts INT NOT NULL, PRIMARY KEY(series, ts)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""

# of frame; other rows are damage, and SQLite may have no value of Python for them
TYPED = "typeof(layout) = 'integer' AND typeof(ts) = 'integer' AND typeof(v) = 'blob'"
TYPED_CRC = f"{TYPED} AND typeof(crc) IN ('integer', 'null')"


CATALOG = """
CREATE TABLE IF NOT EXISTS device(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);  -- node/device
CREATE TABLE IF NOT EXISTS series(
    id INTEGER PRIMARY KEY, device INT NOT NULL, name TEXT NOT NULL, unit TEXT, kind TEXT, rollover REAL,
    UNIQUE(device, name)
);
CREATE TABLE IF NOT EXISTS layout(
    id INTEGER PRIMARY KEY, device INT NOT NULL, sids BLOB NOT NULL, UNIQUE(device, sids)  -- u32[] in payload order
);
CREATE TABLE IF NOT EXISTS word(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);  -- values of kind text are ids
CREATE TABLE IF NOT EXISTS replacement(  -- of the device behind a counter; ts in ms UTC
    series INT NOT NULL, ts INT NOT NULL, PRIMARY KEY(series, ts)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS year(number INTEGER PRIMARY KEY);  -- the years that have a file
CREATE TABLE IF NOT EXISTS loss(ts INT NOT NULL, what TEXT NOT NULL UNIQUE);  -- what was lost with a file, and when that was seen
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


def frame_crc(number: int, layout: int, time: int, payload: bytes) -> int:
    """Return the checksum of a row of hot.db: a page that is cut or overwritten must not give a reading other values."""
    return zlib.crc32(payload, (number ^ layout << 12 ^ time) & 0xFFFFFFFF)


class Connection(sqlite3.Connection):
    """A connection whose errors are sqlite3.Error, also those that quote a damaged schema, which may be no text."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Execute a statement; raise sqlite3.Error."""
        try:
            return super().execute(sql, parameters)
        except UnicodeDecodeError:
            raise sqlite3.DatabaseError("its schema is damaged") from None

    def executescript(self, sql: str, /) -> sqlite3.Cursor:
        """Execute statements; raise sqlite3.Error."""
        try:
            return super().executescript(sql)
        except UnicodeDecodeError:
            raise sqlite3.DatabaseError("its schema is damaged") from None


def is_whole_frame(row: Sequence[Any]) -> bool:
    """Whether a row of `frame` is as it was written: number, layout, time, payload, and checksum if it has one."""
    number, layout, time, payload, crc = (*row, None)[:5]
    if not (type(layout) is int and type(time) is int and type(payload) is bytes):
        return False
    return crc is None or crc == frame_crc(number, layout, time, payload)


def refuse_half_restored(folder: Path) -> None:
    """Raise StoreDamaged if a restore into this folder was interrupted: files of two states would be taken for one store."""
    if (folder / RESTORING).exists():
        raise StoreDamaged(f"{folder}: a restore was interrupted; run it again, it continues from the same backup")


def roll_back(folder: Path) -> None:
    """Undo what a killed process was changing in files without a write-ahead log, as new ones are; raise OSError.

    Until then SQLite refuses to read such a file without a right to write (SQLITE_READONLY_ROLLBACK). The caller holds the lock.
    """
    for journal in folder.glob("*.db-journal"):
        path = journal.with_name(journal.name.removesuffix("-journal"))
        if path.exists():
            with suppress(StoreDamaged), refusing(path), closing(sqlite3.connect(path)) as db:
                _is_made(db)


def hot_file(folder: Path) -> Path:
    """Return the path of the file with the readings that are not sealed yet."""
    return folder / "hot.db"


def catalog_file(folder: Path) -> Path:
    """Return the path of the file with the names."""
    return folder / "catalog.db"


def create(path: Path, page: int, script: str) -> sqlite3.Connection:
    """Open or create a file for the one connection that writes it.

    Raises StoreDamaged if it is not a file of the store or cannot be read, OSError if the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_empty(path)
    is_new = not path.exists()
    with refusing(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Connection)
    try:
        with refusing(path):
            for pragma in (
                f"page_size={page}",
                "journal_mode=WAL",
                "synchronous=FULL",
                "secure_delete=OFF",
                "wal_autocheckpoint=1000",
                "cache_size=-2000",
                "cell_size_check=ON",  # a row that is written into a damaged page would be lost
            ):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            if _is_made(connection):
                _refuse_other_formats(path, connection)
                _refuse_other_files(path, connection, script)
            connection.executescript(
                f"BEGIN IMMEDIATE; {script} INSERT OR IGNORE INTO meta VALUES('format', {FORMAT}); COMMIT;"
            )
    except (OSError, StoreDamaged):
        connection.close()
        if is_new:
            delete(path)  # without its tables it would look like one that has lost everything
        raise
    return connection


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into OSError if the disk refuses, and into StoreDamaged for a damaged file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if is_damage(error):
            raise StoreDamaged(f"{path}: {error}") from None
        raise OSError(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(f"{path}: {error}") from None


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error is about what is in a file: a table that is not there or a text that is not UTF-8 is damage, too."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # Python's own errors about texts have none
    return not isinstance(error, sqlite3.OperationalError) or code & 0xFF == sqlite3.SQLITE_ERROR


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit everything in here or nothing; SQLite rolls back by itself when the disk is full, but not always."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def one(connection: sqlite3.Connection, query: str, values: Sequence[object] = ()) -> Any:
    """Return the first value of the first row of a query."""
    return connection.execute(query, values).fetchone()[0]


def meta(connection: sqlite3.Connection, key: str) -> Any:
    """Return the value of a key in the table meta, None if it has none."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def is_of_other_format(path: Path) -> bool:
    """Whether a file is a good one of another format, made by another version of Heliograph."""
    try:
        with reading(path) as db:
            row = db.execute("SELECT value FROM meta WHERE key='format'").fetchone()
    except (OSError, StoreDamaged):
        return False
    return row is not None and row[0] != FORMAT


def move_aside(path: Path, name: str = "") -> Path:
    """Rename a damaged file and SQLite's files beside it; return its new path, which includes the time.

    `name` is what it is, if that is not what it is called.
    """
    aside = path.with_name(
        f"{name or path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{time.time_ns() % 1000}"
    )
    for suffix in ("-shm", "-wal", ""):
        there = path.with_name(path.name + suffix)
        if there.exists():
            there.rename(aside.with_name(aside.name + suffix))
    return aside


def delete(path: Path) -> None:
    """Delete a file and SQLite's files beside it, if they exist."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file for reading and close it again; raise OSError or StoreDamaged."""
    _refuse_empty(path)
    with (
        refusing(path),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, factory=Connection)) as connection,
    ):
        connection.execute("PRAGMA query_only=1")
        yield connection


class ReadOnly:
    """A file that another process may write, or replace by another file."""

    def __init__(self, path: Path) -> None:
        """Open it; raise StoreAway if it does not exist, StoreDamaged if it is not a file of the store or cannot be read."""
        self._path = path
        _refuse_empty(path)
        self._wal = path.with_name(path.name + "-wal")
        # On a read-only volume SQLite cannot create the -shm file; without a writer it is not needed.
        choices = ("mode=ro",) if self._wal.exists() else ("mode=ro", "immutable=1")
        for choice in choices:
            self._immutable = choice == "immutable=1"
            self._opened = self._look()
            if self._opened is None:
                raise StoreAway(f"there is no store in {path.parent} yet")
            try:
                self.connection = self._connect(choice)
            except sqlite3.OperationalError as error:
                reason = error
            except sqlite3.DatabaseError as error:
                raise StoreDamaged(f"{path}: {error}") from None
            else:
                return
        raise StoreAway(f"{path}: {reason}")

    @property
    def identity(self) -> object:
        """What is equal as long as the file is the same one."""
        return self._opened

    def is_current(self) -> bool:
        """Whether the open file is still the one on the disk; without a writer, SQLite does not look for changes."""
        return self._look() == self._opened

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _connect(self, choice: str) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?{choice}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, factory=Connection)
        try:
            connection.execute("PRAGMA query_only=1")
            connection.execute(f"PRAGMA cache_size=-{READER_CACHE}")
            if not _is_made(connection):
                raise StoreAway(f"there is no store in {self._path.parent} yet; it is being created")
            _refuse_other_formats(self._path, connection)
        except (sqlite3.Error, StoreAway, StoreDamaged):
            connection.close()
            raise
        return connection

    def _look(self) -> tuple[object, ...] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        same = (status.st_dev, status.st_ino)
        return (*same, status.st_mtime_ns, status.st_size, self._wal.exists()) if self._immutable else same


def refuse_no_file(path: Path) -> None:
    """Raise StoreDamaged for a folder in the place of a file, OSError for a link that leads nowhere."""
    if path.is_dir():
        raise StoreDamaged(f"{path} is a folder, not a file")
    if path.is_symlink() and not path.exists():
        raise OSError(f"{path} is a link to {path.readlink()}, which is not there: mount that disk, or remove the link")


def _refuse_empty(path: Path) -> None:
    """Raise StoreDamaged for an empty file with a journal: SQLite would delete the journal, which may have everything."""
    refuse_no_file(path)
    wal = path.with_name(path.name + "-wal")
    if path.exists() and not path.stat().st_size and wal.exists() and wal.stat().st_size:
        raise StoreDamaged(f"{path} is empty, and its journal is not")


def _is_made(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone() is not None


def _refuse_other_files(path: Path, connection: sqlite3.Connection, script: str) -> None:
    """Raise StoreDamaged for a file of the store that is another one: hot.db under the name of a year, and so on."""
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    for table, what in (("frame", "hot.db"), ("axis", "a year")):
        wanted = f"EXISTS {table}(" in script
        if wanted != (table in there):
            raise StoreDamaged(
                f"{path} is {'not ' if wanted else ''}{what}: it has {'no' if wanted else 'a'} table {table}"
            )


def _refuse_other_formats(path: Path, connection: sqlite3.Connection) -> None:
    row = connection.execute("SELECT value FROM meta WHERE key='format'").fetchone()
    if row and row[0] != FORMAT:
        raise StoreDamaged(f"{path} has format {row[0]}; this version of Heliograph reads {FORMAT}")
