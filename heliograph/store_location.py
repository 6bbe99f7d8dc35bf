"""Where a node's store is: in files below its data folder, or in a PostgreSQL database. Opens nothing."""

import importlib
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from heliograph import config
from heliograph.errors import ConfigError
from heliograph.redaction import url_redactor

EXPECTED = (
    "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or nothing for the files in [node] data; "
    "in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"
)


class StoreLocation(NamedTuple):
    """A node's data folder, and the URL of the database that holds the store instead of it, if there is one."""

    data: Path
    url: str = ""

    @property
    def folder(self) -> Path:
        """The folder of a store that consists of files."""
        return self.data / "store"

    def __str__(self) -> str:
        """Return the folder, or the URL without user and password."""
        if not self.url:
            return str(self.folder)
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def configured(node: config.Node, path: Path, service: str) -> StoreLocation:
    """Return where `[node] store` of the configuration at `path` says that the store is; raise ConfigError."""
    where = f"{path}: [node] store"
    url = config.resolved(node.store, where, service)
    try:
        check(url)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    return StoreLocation(Path(node.data), url)


def check(url: str) -> None:
    """Raise ValueError, without showing the URL, unless it is that of a PostgreSQL database, or empty.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
    """
    if not url:
        return
    if not url.startswith(("postgresql://", "postgres://")) or not _is_whole(url):
        raise ValueError(EXPECTED)
    try:
        psycopg = importlib.import_module("psycopg")  # only here: it needs memory that a small machine has not
    except ImportError as error:
        raise ValueError(f"a store on PostgreSQL needs psycopg and libpq: {error}") from None
    try:
        psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ValueError(f"{url_redactor(url)(str(error))}; {EXPECTED}") from None


def _is_whole(url: str) -> bool:
    """Whether its parts are where they should be: if a password is cut up, parts of it would be shown as the host."""
    try:
        parts = urlsplit(url)
        user, at, hosts = parts.netloc.rpartition("@")
        ports = [host.rpartition(":")[2] for host in hosts.split(",") if not host.endswith("]") and ":" in host]
        return (
            user.count(":") <= 1
            and url.count("@") == len(at)
            and all(port.isdecimal() for port in ports)
            and not re.search("%(?![0-9A-Fa-f]{2})", url)
        )
    except ValueError:
        return False
