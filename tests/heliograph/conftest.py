"""Fixtures of the tests that run over both stores."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.heliograph.engines import Embedded, Engine, Postgres
from tests.heliograph.postgres_server import Server, programs_with_timescaledb, reachable


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is long on TimescaleDB, where the store does what it does on PostgreSQL, unless it is asked for."""
    if config.getoption("--full") or config.getoption("--timescaledb"):
        return
    long = [item for item in items if "timescaledb" in item.name and item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@contextmanager
def running_server(programs: Path | None = None) -> Iterator[Server]:
    """A PostgreSQL server that runs, and is removed afterwards; `programs` is where one with TimescaleDB is."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # tmp_path is closed to other users
        started = Server(Path(name), programs and reachable(programs, Path(name)))
        started.start()
        yield started
        started.remove()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="session")
def timescaledb(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a database with the extension: that of --timescaledb, else one of Debian's Apache edition."""
    if given := request.config.getoption("--timescaledb"):
        yield given
        return
    with running_server(programs_with_timescaledb()) as running:
        with psycopg.connect(running.url(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION timescaledb")
        yield running.url()


@pytest.fixture(params=["embedded", "postgres", "timescaledb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty store of each kind."""
    if request.param == "embedded":
        yield Embedded(tmp_path)
        return
    if request.param == "timescaledb":
        database = Postgres(request.getfixturevalue("timescaledb"))
    else:
        database = Postgres(request.getfixturevalue("server").url())
    database.drop()
    yield database
