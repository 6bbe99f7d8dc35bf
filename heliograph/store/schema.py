"""The files of the embedded store and how they are opened.

`hot.db` holds readings in order of arrival; `catalog.db` the names. Only one connection per
file ever writes or checkpoints; every other one is opened `mode=ro` (SQLite's WAL-reset bug,
fixed in 3.51.3, needs two that do).
"""

import sqlite3
from pathlib import Path

from heliograph.errors import StoreAway, StoreDamaged

FORMAT = 1
HOT_PAGE = 1024  # small commits every few seconds: a small page halves what the card must write
CATALOG_PAGE = 4096

HOT = """
CREATE TABLE IF NOT EXISTS frame(
    seq INTEGER PRIMARY KEY,  -- set by the writer, in order of arrival, never used again
    layout INT NOT NULL,
    ts INT NOT NULL,          -- ms UTC
    v BLOB NOT NULL           -- f64[], little endian, in the layout's order; NaN = absent
);
CREATE TABLE IF NOT EXISTS progress(
    producer TEXT NOT NULL,   -- node/service
    epoch TEXT NOT NULL,
    last INT NOT NULL,        -- the last frame that is stored
    lost INT NOT NULL,        -- frames before it that the producer declared lost
    seen INT NOT NULL,        -- ms UTC of the commit
    PRIMARY KEY(producer, epoch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""

CATALOG = """
CREATE TABLE IF NOT EXISTS device(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);  -- node/device
CREATE TABLE IF NOT EXISTS series(
    id INTEGER PRIMARY KEY, device INT NOT NULL, name TEXT NOT NULL, unit TEXT, kind TEXT, UNIQUE(device, name)
);
CREATE TABLE IF NOT EXISTS layout(
    id INTEGER PRIMARY KEY, device INT NOT NULL, sids BLOB NOT NULL, UNIQUE(device, sids)  -- u32[] in payload order
);
CREATE TABLE IF NOT EXISTS word(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);  -- values of kind text stand as ids
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


def hot_file(folder: Path) -> Path:
    """Return where the readings are that are not sealed yet."""
    return folder / "hot.db"


def catalog_file(folder: Path) -> Path:
    """Return where the names are."""
    return folder / "catalog.db"


def create(path: Path, page: int, script: str) -> sqlite3.Connection:
    """Open a file for the one connection that writes it; raise StoreDamaged if it is not ours or not readable.

    Raises OSError if the folder does not take it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            f"page_size={page}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("PRAGMA wal_autocheckpoint=1000").fetchall()
        connection.execute("PRAGMA cache_size=-2000")
        connection.executescript("BEGIN IMMEDIATE;" + script + "COMMIT;")
        found = connection.execute("SELECT value FROM meta WHERE key='format'").fetchone()
        if found is None:
            connection.execute("INSERT INTO meta VALUES('format', ?)", (FORMAT,))
        elif found[0] != FORMAT:
            raise StoreDamaged(f"{path} has format {found[0]}; this version of Heliograph reads {FORMAT}")
    except sqlite3.OperationalError as error:
        connection.close()
        raise OSError(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreDamaged(f"{path}: {error}; move it aside, or restore a backup") from None
    except StoreDamaged:
        connection.close()
        raise
    return connection


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a file that another process may be writing; raise StoreAway if it is not there."""
    if not path.exists():
        raise StoreAway(f"there is no store in {path.parent} yet")
    # Where the volume is read-only, SQLite cannot make the -shm file; with no writer there is nothing to share.
    choices = ["mode=ro"] if path.with_name(path.name + "-wal").exists() else ["mode=ro", "immutable=1"]
    for choice in choices:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{choice}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA query_only=1")
            connection.execute("SELECT value FROM meta WHERE key='format'").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            reason = error
        else:
            return connection
    raise StoreAway(f"{path}: {reason}")
