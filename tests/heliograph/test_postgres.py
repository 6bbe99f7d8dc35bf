"""The store in a real PostgreSQL: what only a server can cause. test_store_history.py tests that its results are right."""

import math
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.lock import Taken
from heliograph.messages import Block, Channel, Info, Value
from heliograph.store import open_reader, open_writer
from heliograph.store.interface import FUNCTIONS, Arrival, Keep, Progress, Reader, Writer
from heliograph.store.postgres import schema
from heliograph.store.postgres.writer import PostgresWriter
from tests.heliograph.engines import Postgres
from tests.heliograph.plain_list import everything_since
from tests.heliograph.postgres_server import Server

T0 = 1_763_596_800.0  # 2025-11-20 00:00 UTC
DAY = 86_400.0
NEW_YEAR_2024 = 1_704_067_200.0
COUNTER = Info("", {"energy": Channel("kWh", "counter")})


@pytest.fixture
def database(server: Server) -> Postgres:
    empty = Postgres(server.url())
    empty.drop()
    return empty


@pytest.fixture
def writer(database: Postgres) -> Iterator[Writer]:
    with closing(database.writer()) as opened:
        yield opened


@pytest.fixture
def reader(database: Postgres) -> Iterator[Reader]:
    with closing(database.reader()) as opened:
        yield opened


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that a test may stop."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        started = Server(Path(name))
        started.start()
        yield started
        started.remove()


def meter(*rows: tuple[float, float]) -> list[Block]:
    return [Block("meter", ("power",), [list(row) for row in rows])]


def values(reader: Reader, name: str = "roof/meter/power") -> list[Value]:
    ids = {one.name: one.id for one in reader.series()}
    return reader.raw(ids[name], 0, 1e11, limit=10**6).values if name in ids else []


def execute(database: Postgres, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SET search_path TO heliograph")
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def partitions(database: Postgres, table: str) -> list[object]:
    return [
        name
        for (name,) in execute(database, f"SELECT relname FROM pg_class WHERE relname ~ '^{table}_[0-9_]*$' ORDER BY 1")
    ]


def test_a_store_is_chosen_by_its_url(server: Server, database: Postgres, tmp_path: Path) -> None:
    with (
        closing(open_writer(tmp_path, url=server.url())) as writer,
        closing(open_reader(tmp_path, url=server.url())) as reader,
    ):
        writer.write("roof", meter((T0, 1.0)))
        writer.commit({})
        assert values(reader) == [1.0]
    assert list(tmp_path.iterdir()) == []


def test_psycopg_is_not_imported_where_no_url_is_configured() -> None:
    code = "import sys, heliograph.store; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_server_that_stops_loses_nothing_and_is_found_again(own_server: Server) -> None:
    database = Postgres(own_server.url())
    with closing(database.writer()) as writer, closing(database.reader()) as reader:
        for stop in (own_server.stop, own_server.crash):
            before = len(values(reader))
            writer.write("roof", meter((T0 + before, before + 0.5)))
            writer.commit({("roof/bridge", "e"): Progress(before + 1, 0)})
            stop()
            writer.write("roof", meter((T0 + before + 1, before + 1.5)))
            for _ in range(3):
                with pytest.raises(OSError, match="PostgreSQL database postgres on"):
                    writer.commit({("roof/bridge", "e"): Progress(before + 2, 0)})
                with pytest.raises(OSError, match="PostgreSQL"):
                    writer.maintain()
                with pytest.raises(StoreAway, match="PostgreSQL"):
                    reader.series()
            assert writer.pending == 1
            assert len(reader.problems()) == len(writer.problems()) == 1
            own_server.start()
            writer.commit({("roof/bridge", "e"): Progress(before + 2, 0)})
            assert writer.pending == 0
            assert values(reader) == [n + 0.5 for n in range(before + 2)]
            assert writer.progress() == {("roof/bridge", "e"): Progress(before + 2, 0)}
            assert reader.problems() == writer.problems() == []


def test_a_store_that_is_away_cannot_be_opened_for_writing_and_hides_its_password() -> None:
    url = "postgresql://heliograph:secret@127.0.0.1:9/store"
    with pytest.raises(OSError, match=r"PostgreSQL database store on 127\.0\.0\.1") as error:
        Postgres(url).writer()
    assert "\n" not in str(error.value)
    with closing(Postgres(url).reader()) as reader, pytest.raises(StoreAway) as away:
        reader.series()
    assert "secret" not in str(error.value) + str(away.value)
    with pytest.raises(OSError, match="not the URL"):
        Postgres("postgresql://x?nonsense=1").reader()


def is_committed(writer: Writer, progress: Progress) -> bool:
    """Commit; False while the server has not ended the session of the commit before, which storage tries again, too."""
    try:
        writer.commit({("roof/bridge", "e"): progress})
    except OSError as error:
        if "still busy with the commit before" not in str(error):
            raise
    return writer.pending == 0


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_whose_response_was_lost_is_neither_lost_nor_done_twice(
    database: Postgres,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
    committed: bool,
    eventually: Callable[[Callable[[], object]], object],
) -> None:
    writer = database.writer()
    assert isinstance(writer, PostgresWriter)
    writer.write("roof", [Block("meter", ("power", "mode"), [[T0, 1.0, "bulk"]])])
    leave = psycopg.Transaction.__exit__

    def cut(transaction: psycopg.Transaction, *error: object) -> bool:
        if committed:
            leave(transaction, None, None, None)
        transaction.connection.close()
        raise psycopg.OperationalError("the connection was lost\nin the middle")

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Transaction, "__exit__", cut)
        with pytest.raises(OSError, match="lost in the middle"):
            writer.commit({("roof/bridge", "e"): Progress(1, 0)})
    assert [a.time for a in everything_since(reader, 9)] == ([T0] if committed else [])
    writer.write("roof", [Block("meter", ("power", "mode"), [[T0 + 1, 2.0, "float"]])])
    eventually(lambda: is_committed(writer, Progress(2, 0)))
    assert everything_since(reader, 9) == [
        Arrival(1, "roof", "meter", T0, ("power", "mode"), (1.0, "bulk")),
        Arrival(2, "roof", "meter", T0 + 1, ("power", "mode"), (2.0, "float")),
    ]
    assert writer.progress() == {("roof/bridge", "e"): Progress(2, 0)}
    writer.close()


def test_several_storages_write_one_database_and_a_follower_misses_nothing(database: Postgres, reader: Reader) -> None:
    commits, nodes = 60, ("roof", "shed", "barn")
    failures = list[BaseException]()

    def store(node: str) -> None:
        try:
            with closing(database.writer()) as writer:
                for n in range(commits):
                    rows = [[T0 + n, n + 0.25, f"{node} {n}"], [T0 + n + 0.5, n + 0.75, "same"]]
                    assert writer.write(node, [Block(f"d{n % 7}", ("number", "mode"), rows)]) == []
                    writer.commit({(f"{node}/bridge", "e"): Progress(n + 1, 0)})
                    writer.maintain()
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=store, args=(node,)) for node in nodes]
    database.writer().close()
    for thread in threads:
        thread.start()
    followed: list[Arrival] = []
    while any(thread.is_alive() for thread in threads):
        followed += reader.since(followed[-1].cursor if followed else 0, 11)
    for thread in threads:
        thread.join()
    while page := reader.since(followed[-1].cursor, 11):
        followed += page
    assert not failures
    assert [arrival.cursor for arrival in followed] == list(range(1, 2 * commits * len(nodes) + 1))
    for node in nodes:
        mine = [arrival.values["number"] for arrival in followed if arrival.node == node]
        assert mine == [n + part for n in range(commits) for part in (0.25, 0.75)]
        assert [a.values["mode"] for a in followed if a.node == node][::2] == [f"{node} {n}" for n in range(commits)]
    with closing(database.writer()) as writer:
        assert set(writer.progress().values()) == {Progress(commits, 0)}
        writer.settle()
    assert len(reader.series()) == len({one.name for one in reader.series()}) == 2 * 7 * len(nodes)


def test_a_backlog_of_many_readings_is_one_commit_and_one_page(writer: Writer, reader: Reader) -> None:
    rows = [(T0 + n, n / 10) for n in range(50_000)]
    writer.write("roof", meter(*rows))
    writer.commit({})
    assert values(reader) == [value for _, value in rows]
    [total] = reader.aggregate(1, [T0, T0 + 50_001], ["sum"])["sum"]
    assert total == sum(range(50_000)) / 10
    assert len(list(reader.export([1], T0, T0 + DAY))) == 50_000


def test_settled_days_are_answered_from_their_tiers_and_a_late_reading_makes_a_day_raw_again(
    database: Postgres, writer: Writer, reader: Reader
) -> None:
    writer.declare("roof", "meter", COUNTER)
    rows = [[T0 + 60 * n, n % 7 + 0.1, 0.5 * n] for n in range(3 * 1440)]
    writer.write("roof", [Block("meter", ("power", "energy"), rows)])
    writer.commit({})
    edges = [T0 + 3600 * n for n in range(6, 67)]
    before = {one.id: reader.aggregate(one.id, edges, FUNCTIONS) for one in reader.series()}
    writer.settle()
    for number, wanted in before.items():
        columns = reader.aggregate(number, edges, FUNCTIONS)
        for name in FUNCTIONS:
            assert columns[name] == (pytest.approx(wanted[name], abs=0.001) if name == "integral" else wanted[name])
    # the delta of the first bucket begins at a point
    names = [name for name in FUNCTIONS if name not in ("integral", "delta")]
    execute(database, "UPDATE reading SET v = v + 1000")
    assert reader.aggregate(1, edges, names) == {name: before[1][name] for name in names}
    writer.write("roof", meter((T0 + DAY + 30, -5.0)))
    writer.commit({})
    changed = reader.aggregate(2, [T0, T0 + DAY, T0 + 2 * DAY, T0 + 3 * DAY], ["min", "max", "n"])
    assert changed == {"min": [0.1, -5.0, 0.1], "max": [6.1, 1006.1, 6.1], "n": [1440, 1441, 1440]}


def test_a_line_across_midnight_counts_whether_the_days_have_cells_or_not(writer: Writer, reader: Reader) -> None:
    writer.write("roof", meter((T0 - 120, 60.0), (T0 + 120, 60.0), (T0 + DAY - 60, 30.0), (T0 + DAY + 240, 30.0)))
    writer.commit({})
    for late in (-DAY, 0.0, DAY):
        for _ in range(2):
            for start, end, areas in (
                (T0 - 3600, T0 + 3600, [2.0, 2.0]),
                (T0 - 3600, T0, [2.0]),
                (T0, T0 + 3600, [2.0]),
                (T0 + 300, T0 + 600, [None]),
                (T0, T0 + DAY, [2.5]),
                (T0 + DAY - 3600, T0 + DAY + 3600, [0.5, 2.0]),
                (T0 + DAY, T0 + DAY + 300, [2.0]),
            ):
                edges = [start + n * (end - start) / len(areas) for n in range(len(areas) + 1)]
                assert reader.aggregate(1, edges, ["integral"]) == {"integral": areas}
            writer.settle()
        writer.write("roof", meter((T0 + late + 43_200, 0.0)))  # makes this day be read from its points
        writer.commit({})


def test_the_delta_of_a_channel_that_turns_out_to_be_a_counter_is_computed_again(
    writer: Writer, reader: Reader
) -> None:
    writer.write("roof", meter((T0, 10.0), (T0 + 60, 2.0), (T0 + 120, 3.0)))
    writer.commit({})
    writer.settle()
    assert reader.aggregate(1, [T0, T0 + 3600], ["delta"]) == {"delta": [-7.0]}
    writer.declare("roof", "meter", Info("", {"power": Channel("", "counter")}))
    writer.commit({})
    for _ in range(2):
        assert reader.aggregate(1, [T0, T0 + 3600], ["delta"]) == {"delta": [3.0]}
        writer.settle()
    writer.declare("roof", "meter", Info("", {"power": Channel("", "counter", rollover=11.0)}))
    writer.write("roof", meter((T0 + 60, 1.0)))
    writer.commit({})
    for _ in range(2):  # 10 to 11, which is 0, to 1, to 3
        assert reader.aggregate(1, [T0, T0 + 3600], ["delta"]) == {"delta": [4.0]}
        writer.settle()


def test_housekeeping_waits_until_a_day_has_settled(database: Postgres) -> None:
    clock = [T0 + 3600]
    with closing(database.writer(now=lambda: clock[0])) as writer:
        writer.write("roof", meter((T0 - DAY, 1.0), (T0, 2.0)))
        writer.commit({})
        dirty = "SELECT count(*) FROM touched WHERE built < changed"
        assert not writer.maintain()
        clock[0] += 600
        assert writer.maintain()
        assert not writer.maintain()
        assert execute(database, dirty) == [(1,)]
        clock[0] += DAY
        assert writer.maintain()
        assert execute(database, dirty) == [(0,)]


def filled(database: Postgres, keep: Keep, now: float) -> Writer:
    """A database with three readings on each of 700 days, in three years, after all housekeeping."""
    with closing(database.writer(now=lambda: now)) as writer:
        writer.declare("roof", "meter", COUNTER)
        start = T0 - 700 * DAY
        writer.write(
            "roof",
            [
                Block(
                    "meter",
                    ("energy",),
                    [[start + n * DAY + s, n + s / DAY] for n in range(700) for s in (0, 700, 1400)],
                )
            ],
        )
        writer.commit({})
        writer.settle()
    return database.writer(keep=keep, now=lambda: now)


def test_years_older_than_what_is_kept_are_dropped(database: Postgres, reader: Reader) -> None:
    with closing(filled(database, Keep(years=1), T0)) as writer:
        version = reader.version(T0 - DAY, T0)
        while writer.maintain():
            pass
        assert reader.version(T0 - DAY, T0) != version
        for table in ("reading", "arrival", "r5m", "r1h", "r1d"):
            months = partitions(database, table)
            assert (months[0], months[-1], len(months)) == (f"{table}_2024_01", f"{table}_2025_11", 23)
        assert reader.extent() == (NEW_YEAR_2024, T0 - DAY + 1400)
        assert min(arrival.time for arrival in everything_since(reader, 1000)) == NEW_YEAR_2024
        rows = [[NEW_YEAR_2024 - 1, 1.0], [NEW_YEAR_2024, 9999.0]]
        assert [r.why for r in writer.write("roof", [Block("meter", ("energy",), rows)])] == ["older than what is kept"]
        last = everything_since(reader, 1000)[-1].cursor
        writer.commit({})
        assert [arrival.cursor for arrival in reader.since(last, 9)] == [last + 1]


def test_points_are_dropped_and_their_cells_are_kept(database: Postgres, reader: Reader) -> None:
    with closing(filled(database, Keep(), T0)) as writer:
        writer.replaced(1, T0 - 695 * DAY)
        edges = [T0 - 701 * DAY + n * DAY for n in range(702)]
        functions = [name for name in FUNCTIONS if name != "integral"]
        before, extent = reader.aggregate(1, edges, functions), reader.extent()
        assert before["delta"][5] == pytest.approx(1400 / DAY)  # the first reading of the new meter is at its end
    with closing(database.writer(keep=Keep(raw_years=1), now=lambda: T0)) as writer:
        while writer.maintain():
            pass
        assert partitions(database, "reading")[0] == "reading_2024_01"
        assert partitions(database, "r1h")[0] == "r1h_2023_12"
        assert reader.aggregate(1, edges, functions) == before
        assert reader.extent() == extent
        for start in (5, 20, 50, 300):
            wanted = {name: before[name][start:] for name in functions}
            assert reader.aggregate(1, edges[start:], functions) == wanted
        assert reader.raw(1, 0, NEW_YEAR_2024, limit=9).times == []
        writer.settle()
        assert reader.aggregate(1, edges, functions) == before


def test_a_database_that_grows_too_large_drops_its_oldest_points_first(database: Postgres, reader: Reader) -> None:
    with closing(filled(database, Keep(gigabytes=1e-6), T0)) as writer:
        whole = len(partitions(database, "reading"))
        assert writer.maintain()
        assert len(partitions(database, "reading")) == whole - 1
        assert len(partitions(database, "r1h")) == whole
        while writer.maintain():
            pass
        for table in ("reading", "r1h"):  # never this year's
            assert partitions(database, table)[0] == f"{table}_2025_01"
        assert reader.extent() == (NEW_YEAR_2024 + 366 * DAY, T0 - DAY + 1400)
        assert len(writer.problems()) == 1


def test_a_clock_that_is_far_ahead_does_not_drop_everything(database: Postgres) -> None:
    with closing(filled(database, Keep(years=1), T0 + 36_500 * DAY)) as writer:
        while writer.maintain():
            pass
        assert partitions(database, "reading")[0] == "reading_2024_01"


def test_a_month_that_is_being_read_is_dropped_later(database: Postgres) -> None:
    with closing(filled(database, Keep(years=1), T0)) as writer, psycopg.connect(database.url) as connection:
        connection.execute("SELECT count(*) FROM heliograph.reading")
        assert not writer.maintain()
        writer.write("roof", [Block("meter", ("energy",), [[T0, 1.0]])])
        writer.commit({})
        connection.rollback()
        writer.settle()
        assert partitions(database, "reading")[0] == "reading_2024_01"


def test_a_version_changes_with_every_result_of_its_span_and_with_no_earlier_one(
    writer: Writer, reader: Reader
) -> None:
    writer.write("roof", meter((T0, 1.0)))
    writer.commit({})
    first, second = reader.version(T0, T0 + 60), reader.version(T0 + DAY, T0 + DAY + 60)
    writer.write("roof", meter((T0 + DAY, 1.0)))
    writer.commit({})
    assert reader.version(T0, T0 + 60) == first
    assert reader.version(T0 + DAY, T0 + DAY + 60) != second
    writer.commit({("roof/bridge", "e"): Progress(1, 0)})
    writer.settle()
    assert reader.version(T0, T0 + 60) == first
    writer.declare("roof", "meter", Info("", {"power": Channel("W", "state")}))
    writer.commit({})
    declared = reader.version(T0, T0 + 60)
    assert declared != first
    writer.replaced(1, T0)
    assert reader.version(T0, T0 + 60) != declared


def test_names_that_the_server_has_no_text_for_are_kept(database: Postgres, writer: Writer, reader: Reader) -> None:
    writer.declare("roof", "meter", Info("", {"power": Channel("W\0\ud800")}))
    writer.write("roof", [Block("meter", ("power", "mode"), [[T0, 1.0, "\0\ud800ü"]])])
    writer.commit({("roof/bridge", "\0\ud800"): Progress(1, 0)})
    assert writer.progress() == {("roof/bridge", "\0\ud800"): Progress(1, 0)}
    assert values(reader, "roof/meter/mode") == ["\0\ud800ü"]
    assert [one.unit for one in reader.series()] == ["W?", ""]


def test_another_format_is_refused_by_writer_and_reader(database: Postgres, reader: Reader) -> None:
    database.writer().close()
    execute(database, "UPDATE meta SET value = '99' WHERE key = 'format'")
    with pytest.raises(StoreDamaged, match="has format 99"):
        database.writer()
    with pytest.raises(StoreDamaged, match="has format 99"):
        reader.series()


def test_a_database_without_a_store_is_away_and_one_whose_tables_are_gone_is_damaged(
    database: Postgres, reader: Reader
) -> None:
    with pytest.raises(StoreAway, match="there is no store"):
        reader.series()
    with closing(database.writer()) as writer:
        execute(database, "DROP TABLE reading")
        with pytest.raises(StoreDamaged, match="reading"):
            reader.raw(1, 0, 1, limit=1) if reader.series() else reader.extent()
        writer.write("roof", meter((T0, 1.0)))
        with pytest.raises(StoreDamaged, match="reading"):
            writer.commit({})
        assert writer.pending == 1


def test_a_store_that_replaced_another_is_not_written_by_mistake(own_server: Server) -> None:
    database = Postgres(own_server.url())
    with closing(database.writer()) as writer, closing(database.reader()) as reader:
        writer.write("roof", [Block("meter", ("mode",), [[T0, "old"]])])
        writer.commit({})
        assert values(reader, "roof/meter/mode") == ["old"]
        database.drop()
        with closing(database.writer()) as other:
            assert other.identity != writer.identity
            other.write("roof", [Block("meter", ("mode",), [[T0, "new"]])])
            other.commit({})
        own_server.stop()
        own_server.start()
        writer.write("roof", meter((T0, 1.0)))
        with pytest.raises(OSError, match="another store"):
            writer.commit({})
        assert values(reader, "roof/meter/mode") == ["new"]


def test_the_function_for_sql_returns_times_names_units_texts_and_states(database: Postgres) -> None:
    with closing(database.writer()) as writer:
        writer.declare("roof", "mppt", Info("", {"power": Channel("W")}))
        rows = [[T0 - 0.001, 9.0, "x", True], [T0, 1.25, "boost ü", True], [T0 + 0.5, -3e9, "\0\ud800", False]]
        writer.write("roof", [Block("mppt", ("power", "mode", "on"), rows)])
        writer.commit({})
    query = (
        "SELECT extract(epoch FROM time)::float8, node, device, channel, unit, value, text "
        f"FROM readings(to_timestamp({T0}), to_timestamp({T0 + 1})) ORDER BY time, channel"
    )
    right = [
        (T0, "roof", "mppt", "mode", "", None, "boost ü"),
        (T0, "roof", "mppt", "on", "", 1.0, None),
        (T0, "roof", "mppt", "power", "W", 1.25, None),
        (T0 + 0.5, "roof", "mppt", "mode", "", None, r"\000\355\240\200"),
        (T0 + 0.5, "roof", "mppt", "on", "", 0.0, None),
        (T0 + 0.5, "roof", "mppt", "power", "W", -3e9, None),
    ]
    assert execute(database, query) == right
    execute(database, "DROP FUNCTION readings")  # as in a database that an earlier version created
    with closing(database.writer()), closing(database.writer()):
        assert execute(database, query) == right


DOCUMENTED = re.findall(
    r"```sql\n([^`]*FROM heliograph\.[^`]*)```", (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
)


@pytest.mark.parametrize("statement", DOCUMENTED)
def test_each_documented_query_reads_only_the_months_that_it_asks_for(database: Postgres, statement: str) -> None:
    with closing(database.writer(lambda: False)) as writer:
        year = [[datetime(2026, month, 15, tzinfo=UTC).timestamp(), float(month)] for month in range(1, 13)]
        writer.write("roof", [Block("meter", ("power",), year)])
        writer.commit({})
    # as Grafana expands them: grafana.com/docs/grafana/latest/datasources/postgres, "Macros"
    for macro, text in (("$__timeFrom()", "'2026-06-01T00:00:00Z'"), ("$__timeTo()", "'2026-06-30T23:59:59.999Z'")):
        statement = statement.replace(macro, text)
    assert [float(str(row[-1])) for row in execute(database, statement)][:1] == [6.0]
    plan = "\n".join(str(row[0]) for row in execute(database, f"EXPLAIN {statement}"))
    scanned = set(re.findall(r"Scan.* on (reading_\d+_\d+)", plan))
    assert min(scanned) == "reading_2026_06", plan


def test_the_documentation_shows_queries() -> None:
    assert len(DOCUMENTED) == 3


def storage(database: Postgres, *nodes: str) -> Writer:
    return open_writer(Path(), url=database.url, nodes=nodes)


def test_a_node_has_one_storage_at_a_time_which_is_named_to_another(database: Postgres) -> None:
    with closing(storage(database, "sitea", "shed")), closing(storage(database, "siteb")):
        for nodes in (["sitea"], ["cabin", "shed"]):
            with pytest.raises(Taken) as refusal:
                storage(database, *nodes)
            first = f"node {nodes[-1]} is written by another storage (host {socket.gethostname()}, 127.0.0.1)"
            assert str(refusal.value).startswith(first)
        storage(database, "cabin").close()  # what was refused holds nothing
        database.writer().close()  # as `heliograph store import` does
    storage(database, "sitea", "shed").close()


def test_a_storage_that_lost_the_server_takes_its_nodes_again_unless_another_has_them(own_server: Server) -> None:
    database = Postgres(own_server.url())
    with closing(storage(database, "roof")) as first:
        own_server.crash()
        own_server.start()
        first.write("roof", meter((T0, 1.0)))
        first.commit({})
        with pytest.raises(Taken, match="node roof"):
            storage(database, "roof")
        own_server.crash()
        own_server.start()
        with closing(storage(database, "roof")) as second:
            first.write("roof", meter((T0, 2.0)))
            for _ in range(2):
                with pytest.raises(Taken, match="node roof is written by another storage"):
                    first.commit({})
            second.write("roof", meter((T0 + 1, 3.0)))
            second.commit({})
        with pytest.raises(OSError, match="node roof was written by another storage meanwhile; restart"):
            first.commit({})
    with closing(database.reader()) as reader:
        assert values(reader) == [1.0, 3.0]


def test_the_server_notices_within_a_minute_that_the_host_of_a_storage_is_gone(database: Postgres) -> None:
    with closing(schema.connect(database.url, writes=True)) as connection:
        rows = [connection.execute(f"SHOW tcp_keepalives_{name}".encode()).fetchone() for name in ("idle", "interval")]
    assert rows == [("30",), ("10",)]


def test_an_export_that_is_abandoned_does_no_harm_and_blocks_no_other_query(writer: Writer, reader: Reader) -> None:
    writer.write("roof", meter(*((T0 + n, float(n)) for n in range(20_000))))
    writer.commit({})
    exports = [reader.export([1], T0, T0 + DAY) for _ in range(12)]
    assert [next(export) for export in exports] == [(T0, 1, 0.0)] * 12
    assert reader.latest([1])[1].value == 19_999.0
    for export in exports:
        assert not math.isnan(float(next(export)[0]))
    del export, exports
    assert reader.latest([1])[1].value == 19_999.0


def test_timescaledb_without_compression_is_a_database_like_any_other(server: Server) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE apache")
        connection.execute("ALTER DATABASE apache SET timescaledb.license = 'apache'")
    database = Postgres(server.url("apache"))
    with psycopg.connect(database.url, autocommit=True) as connection:  # as if the extension were there
        connection.execute("SET allow_system_table_mods TO on")
        connection.execute("INSERT INTO pg_extension VALUES (99999, 'timescaledb', 10, 2200, false, '2.19.3')")
    with closing(database.writer()) as writer, closing(database.reader()) as reader:
        writer.write("roof", meter((T0, 1.0)))
        writer.commit({})
        writer.settle()
        assert values(reader) == [1.0]
    assert partitions(database, "reading") == ["reading_2025_11"]


# What TimescaleDB's community edition offers, as far as heliograph calls it: Debian has the Apache edition only.
TIMESCALE = """
DROP TABLE heliograph.reading;
CREATE TABLE heliograph.reading(
    series int NOT NULL, ts bigint NOT NULL, v float8 NOT NULL, seq bigint NOT NULL, PRIMARY KEY(series, ts));
UPDATE heliograph.meta SET value = 'timescaledb' WHERE key = 'chunks';
CREATE SCHEMA timescaledb_information;
CREATE TABLE timescaledb_information.chunks(
    hypertable_schema name, hypertable_name name, chunk_schema name, chunk_name name, is_compressed bool,
    range_end_integer bigint);
INSERT INTO timescaledb_information.chunks VALUES
    ('heliograph', 'reading', 'heliograph', 'reading', false, 2),
    ('heliograph', 'reading', 'heliograph', 'reading', false, 1),
    ('heliograph', 'reading', 'heliograph', 'reading', false, 4e12),
    ('other', 'reading', 'heliograph', 'reading', false, 1);
CREATE FUNCTION public.compress_chunk(regclass) RETURNS regclass LANGUAGE sql AS $$
    UPDATE timescaledb_information.chunks SET is_compressed = true WHERE hypertable_schema = 'heliograph'
        AND range_end_integer = (SELECT min(range_end_integer) FROM timescaledb_information.chunks
                                 WHERE hypertable_schema = 'heliograph' AND NOT is_compressed);
    SELECT $1 $$;
CREATE FUNCTION public.drop_chunks(regclass, older_than bigint) RETURNS void LANGUAGE sql AS
    $$ DELETE FROM heliograph.reading WHERE ts < older_than $$;
CREATE FUNCTION public.hypertable_size(regclass) RETURNS bigint LANGUAGE sql AS $$ SELECT 5000000000 $$;
"""
NO_TIMESCALE = """
DROP SCHEMA timescaledb_information CASCADE;
DROP FUNCTION public.compress_chunk, public.drop_chunks, public.hypertable_size;
"""


def test_with_timescaledb_readings_need_no_months_and_old_chunks_are_compressed(
    database: Postgres, reader: Reader
) -> None:
    database.writer().close()
    execute(database, TIMESCALE)
    try:
        with closing(filled(database, Keep(years=1), T0)) as writer:
            compressed = "SELECT range_end_integer FROM timescaledb_information.chunks WHERE is_compressed ORDER BY 1"
            assert execute(database, compressed) == [(1,), (2,)]
            assert partitions(database, "reading") == []
            while writer.maintain():
                pass
            assert partitions(database, "arrival")[0] == "arrival_2024_01"
            assert reader.extent() == (NEW_YEAR_2024, T0 - DAY + 1400)
        with closing(database.writer(keep=Keep(gigabytes=4.9), now=lambda: T0)) as writer:
            while writer.maintain():
                pass
            assert reader.extent() == (NEW_YEAR_2024 + 366 * DAY, T0 - DAY + 1400)
            assert writer.problems()[0].startswith("5.00 GB are more than keep_gigabytes")
    finally:
        execute(database, NO_TIMESCALE)
