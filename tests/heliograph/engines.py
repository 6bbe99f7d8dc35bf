"""The two stores behind one interface, as a test opens, reads and drops them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import psycopg

from heliograph import store
from heliograph.renames import Rename
from heliograph.store import open_reader, open_writer
from heliograph.store.interface import FOR_EVER, Keep, Reader, Writer
from heliograph.store.postgres import open_postgres_reader, open_postgres_writer
from heliograph.store.rename_plan import Renaming
from heliograph.store.rescalings import Entry, Rescaling


class Engine(Protocol):
    """One store, which is empty at first."""

    def writer(
        self,
        clock_is_right: Callable[[], bool] = lambda: True,
        *,
        keep: Keep = FOR_EVER,
        now: Callable[[], float] = time.time,
    ) -> Writer: ...
    def reader(self) -> Reader: ...
    def rename(self, entry: Rename, *, dry_run: bool = False) -> Renaming: ...
    def rescale(self, change: Rescaling, again: int = 0) -> Entry | None: ...
    def drop(self) -> None:
        """Delete everything; readers and writers must be closed before."""
        ...


class Embedded:
    """The files of a folder."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def writer(
        self,
        clock_is_right: Callable[[], bool] = lambda: True,
        *,
        keep: Keep = FOR_EVER,
        now: Callable[[], float] = time.time,
    ) -> Writer:
        return open_writer(self.data, clock_is_right, keep=keep, now=now)

    def reader(self) -> Reader:
        return open_reader(self.data)

    def rename(self, entry: Rename, *, dry_run: bool = False) -> Renaming:
        return store.rename(self.data, entry, dry_run=dry_run)

    def rescale(self, change: Rescaling, again: int = 0) -> Entry | None:
        return store.rescale(self.data, change, again=again)

    def drop(self) -> None:
        for file in sorted(self.data.rglob("*"), reverse=True):
            if file.is_dir():
                file.rmdir()
            else:
                file.unlink()


class Postgres:
    """The schema of a database."""

    def __init__(self, url: str) -> None:
        self.url = url

    def writer(
        self,
        clock_is_right: Callable[[], bool] = lambda: True,
        *,
        keep: Keep = FOR_EVER,
        now: Callable[[], float] = time.time,
    ) -> Writer:
        return open_postgres_writer(self.url, clock_is_right, keep, now)

    def reader(self) -> Reader:
        return open_postgres_reader(self.url)

    def rename(self, entry: Rename, *, dry_run: bool = False) -> Renaming:
        return store.rename(Path(), entry, url=self.url, dry_run=dry_run)

    def rescale(self, change: Rescaling, again: int = 0) -> Entry | None:
        return store.rescale(Path(), change, url=self.url, again=again)

    def drop(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET client_min_messages TO warning")
            connection.execute("DROP SCHEMA IF EXISTS heliograph CASCADE")
