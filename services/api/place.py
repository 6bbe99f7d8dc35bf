"""Which store is read: that of a data folder, or a PostgreSQL database."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from heliograph.errors import StoreAway
from heliograph.store import open_reader
from heliograph.store.interface import Reader

SCHEMES = ("postgresql", "postgres")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_url(store: str) -> bool:
    """Whether this is an address, and not a folder."""
    return _URL.match(store) is not None


def check(store: str) -> None:
    """Raise ValueError, without saying what stands there, for an address that is none of a database."""
    if not is_url(store):
        return
    if store.partition("://")[0] not in SCHEMES or not _is_whole(store):
        raise ValueError(
            "store: expected a folder or postgresql://user:password@host:port/database; "
            "in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"
        )


def _is_whole(url: str) -> bool:
    """Whether its parts are where they should be: of a password that is cut up, others would show the parts."""
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


def opener(store: str, data: Path) -> Callable[[], Reader]:
    """Return what opens a reader of this store, empty: that of the node's data folder; it raises StoreAway."""
    if not is_url(store):
        return lambda: open_reader(Path(store) if store else data)

    def open_database() -> Reader:
        try:
            return open_reader(data, url=store)
        except OSError as error:
            raise StoreAway(str(error)) from None

    return open_database


def hider(store: str) -> Callable[[str], str]:
    """Return what makes a text fit to be shown: without the password of this store, in whatever spelling."""
    if not is_url(store):
        return str
    written = [urlsplit(store).password or "", *re.findall(r"[?&]password=([^&#]*)", store)]
    secrets = {store, *written, *map(unquote, written)} - {""}

    def hide(text: str) -> str:
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "…")
        return text

    return hide
