"""What only TimescaleDB's community edition does, in the database of --timescaledb; the store's other tests run there, too."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from heliograph.messages import Block, Channel, Info
from heliograph.store.interface import Keep, Reader
from heliograph.store.postgres.timescale import COMPRESSED_AFTER, COMPRESSES
from tests.heliograph.engines import Postgres

DAY = 86_400
NOW = 1_763_640_000  # 2025-11-20 12:00 UTC
DAYS = 700
CHUNKS = """
SELECT range_end_integer, is_compressed FROM timescaledb_information.chunks
WHERE hypertable_schema = 'heliograph' AND hypertable_name = 'reading' ORDER BY 1
"""


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    url = request.config.getoption("--timescaledb")
    if not url:
        pytest.skip("it needs --timescaledb, see docs/tests.md")
    with psycopg.connect(url) as connection:
        if not connection.execute(COMPRESSES).fetchone():
            pytest.skip("this is the Apache edition of TimescaleDB, which does not compress")
    made = Postgres(url)
    made.drop()
    yield made
    made.drop()


def chunks(database: Postgres) -> list[tuple[int, bool]]:
    with psycopg.connect(database.url) as connection:
        return [(end, compressed) for end, compressed in connection.execute(CHUNKS)]


def points(reader: Reader) -> list[tuple[float, object]]:
    (series,) = reader.series()
    return [(time, value) for time, _, value in reader.export([series.id], 0, 1e11)]


def test_old_chunks_are_compressed_take_late_readings_and_are_dropped(database: Postgres) -> None:
    rows = [[NOW - (DAYS - n) * DAY + second, n + second / DAY] for n in range(DAYS) for second in (0, 700, 1400)]
    with closing(database.writer(now=lambda: NOW)) as writer, closing(database.reader()) as reader:
        writer.declare("roof", "meter", Info("", {"energy": Channel("kWh", "counter")}))
        writer.write("roof", [Block("meter", ("energy",), [list(row) for row in rows])])
        writer.commit({})
        assert not any(compressed for _, compressed in chunks(database))
        hot = points(reader)
        writer.settle()
        assert len(chunks(database)) >= DAYS // 7
        assert all(compressed == (end < NOW * 1000 - COMPRESSED_AFTER) for end, compressed in chunks(database))
        assert points(reader) == hot == [(float(time), value) for time, value in rows]
        late = [rows[0][0] + 60, 0.5], [rows[1][0], 7.5]  # a new one, and one that replaces another
        writer.write("roof", [Block("meter", ("energy",), [list(row) for row in late])])
        writer.commit({})
        assert dict(points(reader)) == {float(time): value for time, value in [*rows, *late]}
    with closing(database.writer(keep=Keep(years=1), now=lambda: NOW)) as writer, closing(database.reader()) as reader:
        while writer.maintain():
            pass
        first, _ = reader.extent() or (0.0, 0.0)
        assert 1_704_067_200 - 7 * DAY <= first <= 1_704_067_200 + DAY  # 2024, by whole chunks
