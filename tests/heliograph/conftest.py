"""Fixtures of the tests that run over both stores."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.heliograph.engines import Embedded, Engine, Postgres
from tests.heliograph.postgres_server import Server


@contextmanager
def running_server() -> Iterator[Server]:
    """A PostgreSQL server that runs, and is removed afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # tmp_path is closed to other users
        started = Server(Path(name))
        started.start()
        yield started
        started.remove()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture(params=["embedded", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty store of each kind."""
    if request.param == "embedded":
        yield Embedded(tmp_path)
        return
    server = request.getfixturevalue("server")
    database = Postgres(server.url())
    database.drop()
    yield database
