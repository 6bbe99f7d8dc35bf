from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.messages import Block, Value
from heliograph.store import folder, open_writer
from heliograph.store.archive import Archive
from heliograph.store.arrivals import Arrivals
from heliograph.store.damage import Damage
from heliograph.store.interface import Writer
from heliograph.store.names import EMPTY, Names
from heliograph.store.reader import SqliteReader

START = 1_764_547_200.0  # 2025-12-01 00:00 UTC
NEW_YEAR = START + 31 * 86_400


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    opened = open_writer(tmp_path, now=lambda: NEW_YEAR)
    yield opened
    opened.close()


def seal(writer: Writer, *rows: tuple[float, float | None, float | None]) -> None:
    assert writer.write("roof", [Block("meter", ("a", "b"), [list(row) for row in rows])]) == []
    writer.commit({})
    writer.settle()


def after(data: Path, cursor: int, limit: int) -> list[tuple[int, float, dict[str, Value]]]:
    """Number, time and values of sealed readings."""
    archive = Archive(folder(data), lambda: None, Damage())
    reader = SqliteReader(folder(data))
    reader.series()
    with archive.snapshot():
        page = Arrivals(archive).after(cursor, limit, lambda: reader._files.names, lambda _, numbers: list(numbers))
    archive.close()
    reader.close()
    assert {(arrival.node, arrival.device) for arrival in page} <= {("roof", "meter")}
    return [(arrival.cursor, arrival.time, arrival.values) for arrival in page]


def test_sealed_readings_come_in_order_of_arrival_whatever_their_time_and_year(tmp_path: Path, writer: Writer) -> None:
    seal(writer, (NEW_YEAR + 5, 1.0, 10.0), (START, 2.0, 20.0))
    seal(writer, (START + 9, 3.0, 30.0), (NEW_YEAR, 4.0, 40.0), (START - 9, 5.0, 50.0))
    times = [NEW_YEAR + 5, START, START + 9, NEW_YEAR, START - 9]
    wanted = [(n + 1, time, {"a": n + 1.0, "b": (n + 1) * 10.0}) for n, time in enumerate(times)]
    for cursor in range(6):
        for limit in range(1, 6):
            assert after(tmp_path, cursor, limit) == wanted[cursor : cursor + limit]


def test_a_reading_whose_values_were_sealed_apart_is_one_again(tmp_path: Path, writer: Writer) -> None:
    seal(writer, (START, 1.0, 10.0), (START + 1, 2.0, 20.0))
    seal(writer, (START + 1, 3.0, None), (START + 2, None, 40.0))
    assert after(tmp_path, 0, 9) == [
        (1, START, {"a": 1.0, "b": 10.0}),
        (2, START + 1, {"b": 20.0}),
        (3, START + 1, {"a": 3.0}),
        (4, START + 2, {"b": 40.0}),
    ]
    assert after(tmp_path, 1, 2) == after(tmp_path, 0, 9)[1:3]


def test_a_reading_whose_values_were_all_replaced_does_not_come_again(tmp_path: Path, writer: Writer) -> None:
    seal(writer, (START, 1.0, 10.0))
    seal(writer, (START, 2.0, 20.0))
    assert after(tmp_path, 0, 9) == [(2, START, {"a": 2.0, "b": 20.0})]


def test_a_page_is_full_however_many_numbers_in_a_row_were_replaced(tmp_path: Path, writer: Writer) -> None:
    seal(writer, *[(START + n, 1.0, None) for n in range(40)])
    seal(writer, *[(NEW_YEAR + n, 2.0, None) for n in range(40)])
    seal(writer, *[(START + n, 3.0, None) for n in range(40)], *[(NEW_YEAR + n, None, 4.0) for n in range(20, 40)])
    numbers = [*range(41, 81), *range(81, 141)]
    for cursor in (0, 39, 40, 79, 80, 100, 139, 140):
        behind = [number for number in numbers if number > cursor]
        for limit in (1, 3, 50, 1000):
            assert [number for number, _, _ in after(tmp_path, cursor, limit)] == behind[:limit]


def test_a_store_without_sealed_readings_has_no_arrivals(tmp_path: Path) -> None:
    archive = Archive(tmp_path, lambda: None, Damage())

    def no_names() -> Names:
        return EMPTY

    with archive.snapshot():
        assert Arrivals(archive).after(0, 9, no_names, lambda _, numbers: list(numbers)) == []
    archive.close()
