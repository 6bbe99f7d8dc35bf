import itertools
import socket
import time
from collections.abc import Callable, Iterator

import msgspec
import psycopg
import pytest

from services.uploader.options import secrets
from services.uploader.redacted_options import shown
from services.uploader.target import MappedChannel, Refused, Row, TryLater
from services.uploader.targets.postgresql import Options, PostgreSQL
from tests.heliograph.conftest import running_server
from tests.heliograph.postgres_server import Server
from tests.uploader.conftest import OpenTargets
from tests.uploader.servers.rows import START, delivered, mapped, row

PASSWORD = "a-word-hard-to-guess"
POWER, MODE = mapped("power"), mapped("mode", "", kind="text")
Opened = Callable[..., PostgreSQL]
Ask = Callable[..., list[tuple[object, ...]]]
DATABASES = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def database(server: Server) -> str:
    name = f"uploads_{next(DATABASES)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return name


@pytest.fixture
def url(server: Server, database: str) -> str:
    return server.url(database).replace("heliograph@", "")


@pytest.fixture
def ask(server: Server, database: str) -> Ask:
    def asked(query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(server.url(database), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    return asked


@pytest.fixture
def opened(url: str, open_targets: OpenTargets) -> Opened:
    def make(*channels: MappedChannel, **options: object) -> PostgreSQL:
        given = {"kind": "postgresql", "name": "p", "url": url, "user": "heliograph", **options}
        return open_targets.add(PostgreSQL, given, *channels)

    return make


def rows(count: int) -> list[Row]:
    return [row(START + n, (POWER,), n + 0.5) for n in range(count)]


def test_the_table_is_made_and_every_value_is_a_row(opened: Opened, ask: Ask) -> None:
    target = opened()
    target.upload([row(START + 0.25, (POWER, MODE, mapped("on")), 1.5, "eco", True)])
    assert target.upload(rows(5000)).response == "5000 rows in readings"
    assert ask("SELECT count(*), sum(value) FROM readings") == [(5003, 5000 * 2500 + 2.5)]
    asked = "SELECT node, device, channel, extract(epoch FROM time)::float8, value, text FROM readings"
    assert ask(f"{asked} WHERE text IS NOT NULL OR channel = 'on'") == [
        ("house", "meter", "mode", START + 0.25, None, "eco"),
        ("house", "meter", "on", START + 0.25, 1, None),
    ]


def test_the_same_rows_again_replace_themselves(opened: Opened, ask: Ask) -> None:
    opened().upload(rows(3))
    opened().upload([*rows(3), row(START, (POWER,), 9.0), row(START + 9, (POWER,), 1)])
    assert ask("SELECT value FROM readings ORDER BY time") == [(9.0,), (1.5,), (2.5,), (1.0,)]


def test_it_knows_how_far_the_selected_channels_came(opened: Opened) -> None:
    target = opened(POWER, mapped("other"))
    assert target.newest() is None
    target.upload([*rows(3), row(START + 100, (MODE,), "x")])
    assert target.newest() == START + 2
    assert opened(POWER, MODE).newest() == START + 100
    assert opened(mapped("other")).newest() is None


@pytest.mark.parametrize(("column", "value"), [("text", "'noon'"), ("date", "'2025-11-20'")])
def test_a_table_with_other_times_has_no_newest_value(opened: Opened, ask: Ask, column: str, value: str) -> None:
    ask(f"CREATE TABLE mine (at {column}, who text, value float8); INSERT INTO mine VALUES ({value}, 'power', 1)")
    columns = {"time": "at", "name": "who", "value": "value"}
    assert opened(POWER, table="mine", columns=columns, times="seconds", create_table=False).newest() is None


def test_a_table_of_ones_own_takes_the_columns_it_has(opened: Opened, ask: Ask) -> None:
    ask('CREATE TABLE home (id serial, "when" float8, what varchar(9), unit text, v real, UNIQUE (what, "when"))')
    columns = {"time": "when", "name": "what", "value": "v", "unit": "unit"}
    target = opened(POWER, table="public.home", create_table=False, columns=columns, times="seconds")
    target.upload([row(START, (POWER, MODE), 1.5, "eco"), row(START, (POWER,), 2.5)])
    assert ask('SELECT "when", what, unit, v FROM home') == [(START, "power", "W", 2.5)]
    assert target.newest() == START
    with pytest.raises(Refused, match="too long"):
        target.upload([row(START, (mapped("a_longer_name"),), 1)])


@pytest.mark.parametrize(
    ("prepare", "options", "reason"),
    [
        ("SELECT 1", {"create_table": False}, "create the table"),
        ("CREATE TABLE readings (time timestamptz)", {}, "check columns"),
        (
            "CREATE TABLE readings (time timestamptz, node text, device text, channel text, value float8, text text)",
            {},
            "unique index",
        ),
        ("SELECT 1", {"user": "stranger"}, "stranger"),
        ("SELECT 1", {"table": "nowhere.readings"}, "nowhere"),
    ],
)
def test_what_a_human_has_to_mend_keeps_the_rows(
    prepare: str, options: dict[str, object], reason: str, opened: Opened, ask: Ask
) -> None:
    ask(prepare)
    with pytest.raises(TryLater, match=reason) as caught:
        opened(**options).upload(rows(1))
    assert caught.value.done == 0


def test_missing_rights_keep_the_rows(opened: Opened, ask: Ask, database: str) -> None:
    user = f"guest_{database}"
    ask(f"CREATE USER {user}")
    opened().upload(rows(1))
    target = opened(user=user)
    with pytest.raises(TryLater, match="grant the rights"):
        target.upload(rows(2))
    ask(f"GRANT SELECT, INSERT, UPDATE ON readings TO {user}")
    target.upload(rows(2))
    assert ask("SELECT count(*) FROM readings") == [(2,)]
    ask(f"DROP OWNED BY {user}")
    ask(f"DROP USER {user}")


def test_what_the_table_cannot_hold_is_found_by_halves_and_its_neighbours_arrive(opened: Opened, ask: Ask) -> None:
    opened().upload(rows(1))
    ask("ALTER TABLE readings ADD CHECK (value < 100)")
    batch = [row(START + n, (POWER, MODE), 500 if n == 13 else n, "a\0b" if n == 17 else "ok") for n in range(30)]
    aside = delivered(opened(), batch)
    assert sorted(aside) == [START + 13, START + 17]
    assert "check constraint" in aside[START + 13]
    assert "NUL" in aside[START + 17]
    assert ask("SELECT count(*) FROM readings") == [(56,)]


def test_a_batch_is_written_whole_or_not_at_all(opened: Opened, ask: Ask) -> None:
    opened().upload(rows(1))
    ask("ALTER TABLE readings ADD CHECK (value < 100)")
    with pytest.raises(Refused) as caught:
        opened().upload([*rows(50), row(START + 50, (POWER,), 500)])
    assert caught.value.rows == {}
    assert ask("SELECT count(*) FROM readings") == [(1,)]


def test_what_is_not_a_number_and_no_time_is_refused_alone(opened: Opened, ask: Ask) -> None:
    with pytest.raises(Refused) as caught:
        opened().upload([row(START, (POWER,), float("nan")), row(1e300, (POWER,), 1), *rows(1)])
    assert sorted(caught.value.rows) == [0, 1]
    assert ask("SELECT count(*) FROM readings") == [(1,)]


def test_a_connection_that_ended_is_made_again(opened: Opened, ask: Ask, database: str) -> None:
    target = opened()
    target.upload(rows(1))
    ask(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'heliograph' AND datname = '{database}'"
    )
    end = time.monotonic() + 60
    while True:
        try:
            target.upload(rows(2))
            break
        except TryLater:
            assert time.monotonic() < end
    assert ask("SELECT count(*) FROM readings") == [(2,)]


def test_a_table_that_was_dropped_is_made_again(opened: Opened, ask: Ask) -> None:
    target = opened()
    target.upload(rows(1))
    ask("DROP TABLE readings")
    with pytest.raises(TryLater):
        target.upload(rows(2))
    target.upload(rows(2))
    assert ask("SELECT count(*) FROM readings") == [(2,)]


def test_a_lock_is_not_waited_for_without_end(opened: Opened, server: Server, database: str) -> None:
    opened().upload(rows(1))
    with psycopg.connect(server.url(database)) as connection:
        connection.execute("LOCK TABLE readings")
        with pytest.raises(TryLater, match="timeout"):
            opened(timeout=0.5).upload(rows(2))
    opened().upload(rows(2))


def test_a_server_that_is_away_or_silent_is_tried_again_without_the_password(opened: Opened) -> None:
    with pytest.raises(TryLater) as caught:
        opened(url="postgresql://127.0.0.1:1/x", password=PASSWORD).upload(rows(1))
    assert PASSWORD not in str(caught.value)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = opened(url=f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x", password=PASSWORD, timeout=2.0)
        with pytest.raises(TryLater) as caught:
            away.newest()
    assert PASSWORD not in str(caught.value)


def test_the_password_is_a_secret() -> None:
    options = Options(name="p", user="u", password=PASSWORD)
    assert secrets(options) == {PASSWORD}
    assert PASSWORD not in str(shown(options))


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://h/x"},
        {"url": "postgresql://u:p@h/x"},
        {"user": ""},
        {"table": "a.b.c"},
        {"table": ""},
        {"columns": {"time": "t"}},
        {"columns": {"time": "t", "value": "v"}},
        {"columns": {"time": "t", "value": "v", "name": "n", "colour": "c"}},
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(wrong))):
        msgspec.convert({"name": "p", "user": "u", **wrong}, Options)
