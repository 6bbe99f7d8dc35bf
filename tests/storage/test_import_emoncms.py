"""PHPFina and PHPTimeSeries feeds, byte by byte."""

import itertools
import math
import random
import struct
from pathlib import Path

import pytest

from services.storage.importers import phptimeseries
from services.storage.importers.shared.feeds import Feed
from services.storage.importers.shared.parts import Part
from tests.storage.stores import command, done, everything, meanings

START = 1_400_000_000
OPTIONS = ("--node", "house", "--device", "emoncms")


def widened(number: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def write_fina(folder: Path, number: int, interval: int, values: list[float], start: int = START) -> None:
    (folder / f"{number}.meta").write_bytes(struct.pack("<IIII", 0, 0, interval, start))
    (folder / f"{number}.dat").write_bytes(struct.pack(f"<{len(values)}f", *values))


def record(time: int, value: float, mark: int = 249) -> bytes:
    return struct.pack("<BIf", mark, time, value)


def rows_of(parts: list[Part]) -> list[list[float]]:
    return [row for part in parts for _, block in part.readings for row in block.rows]


def test_a_phpfina_feed_comes_out_equal_and_its_gaps_stay_gaps(tmp_path: Path) -> None:
    generator = random.Random(3)
    values = [math.nan if generator.random() < 0.1 else generator.uniform(-1e6, 1e6) for _ in range(20_000)]
    values += [0.1, 1e-45, 3.4e38, -0.0, 230.4]
    write_fina(tmp_path, 12, 10, values)
    data = tmp_path / "data"
    out = done("import", "phpfina", tmp_path, "--feed", "12=power", "--unit", "power=W", "--data", data, *OPTIONS)
    expected = [(START + 10.0 * i, widened(value)) for i, value in enumerate(values) if not math.isnan(value)]
    assert f"{len(expected):,} readings of 1 series" in out
    assert everything(data)["house/emoncms/power"] == expected
    assert meanings(data) == {"house/emoncms/power": ("W", "gauge", 0.0)}
    done("import", "phpfina", tmp_path, "--feed", "12=power", "--data", data, *OPTIONS)
    assert everything(data)["house/emoncms/power"] == expected
    assert meanings(data) == {"house/emoncms/power": ("W", "gauge", 0.0)}


def test_every_feed_of_a_folder_is_imported_and_a_broken_one_stops_no_other(tmp_path: Path) -> None:
    write_fina(tmp_path, 1, 10, [1.0, 2.0])
    write_fina(tmp_path, 2, 0, [1.0])
    write_fina(tmp_path, 3, 10, [5.0])
    (tmp_path / "3.dat").write_bytes(struct.pack("<f", 5.0) + b"\1\2")
    (tmp_path / "4.dat").write_bytes(b"1234")
    (tmp_path / "5.meta").write_bytes(b"123")
    (tmp_path / "5.dat").write_bytes(b"1234")
    write_fina(tmp_path, 6, 10, [])
    write_fina(tmp_path, 7, 10, [7.0, math.inf], start=START)
    write_fina(tmp_path, 8, 10, [7.0], start=5)
    (tmp_path / "notes.dat").write_bytes(b"not a feed")
    result = command("import", "phpfina", tmp_path, "--data", tmp_path / "data", *OPTIONS)
    assert result.exit_code == 0, result.output
    imported = {name: points for name, points in everything(tmp_path / "data").items() if points}
    assert imported == {
        "house/emoncms/feed_1": [(START, 1.0), (START + 10.0, 2.0)],
        "house/emoncms/feed_3": [(START, 5.0)],
        "house/emoncms/feed_7": [(START, 7.0)],
    }
    for sentence in (
        "2.dat: the interval in the .meta file is 0 s",
        "3.dat: a torn value at the end: '0102'",
        "4.dat: a file that cannot be read",
        "5.dat: the .meta file has 3 bytes; it needs 16",
        "a time before 2000-01-01",
    ):
        assert sentence in result.stderr


def test_times_beyond_what_a_store_takes_are_set_aside(tmp_path: Path) -> None:
    write_fina(tmp_path, 1, 4_000_000_000, [1.0, 2.0, 3.0], start=START)
    result = command("import", "phpfina", tmp_path, "--data", tmp_path / "data", *OPTIONS)
    assert result.exit_code == 0
    assert everything(tmp_path / "data") == {"house/emoncms/feed_1": [(START, 1.0)]}


def test_a_feed_that_was_named_must_be_there(tmp_path: Path) -> None:
    write_fina(tmp_path, 1, 10, [1.0])
    result = command("import", "phpfina", tmp_path, "--feed", "9=power", "--data", tmp_path / "data", *OPTIONS)
    assert result.exit_code == 1
    assert "no feed 9 in the files given" in result.stderr
    result = command("import", "phpfina", tmp_path, "--feed", "9=Big Power", "--data", tmp_path / "data", *OPTIONS)
    assert result.exit_code == 2


def test_a_counter_is_declared_as_one(tmp_path: Path) -> None:
    write_fina(tmp_path, 1, 10, [1.0])
    done(
        *("import", "phpfina", tmp_path, "--feed", "1=energy", "--counter", "energy", "--unit", "energy=kWh"),
        *("--data", tmp_path / "data", *OPTIONS),
    )
    assert meanings(tmp_path / "data") == {"house/emoncms/energy": ("kWh", "counter", 0.0)}


def test_two_feeds_never_become_one_series(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_fina(tmp_path / name, 7, 10, [1.0])
    data = tmp_path / "data"
    result = command("import", "phpfina", tmp_path / "a", tmp_path / "b", "--data", data, *OPTIONS)
    assert result.exit_code == 1
    assert "are both feed 7" in result.stderr
    both = ("--feed", "7=power", "--feed", "8=power")
    result = command("import", "phpfina", tmp_path / "a", *both, "--data", data, *OPTIONS)
    assert result.exit_code == 2
    assert "two feeds would have the same name" in result.stderr


def test_a_phptimeseries_feed_comes_out_equal(tmp_path: Path) -> None:
    generator = random.Random(4)
    time, points = START, []
    for _ in range(20_000):
        time += generator.randrange(1, 400)
        points.append((time, generator.uniform(-1e4, 1e4)))
    points.append((time + 1, math.nan))
    (tmp_path / "feed_7.MYD").write_bytes(b"".join(record(*point) for point in points))
    done("import", "phptimeseries", tmp_path, "--data", tmp_path / "data", *OPTIONS)
    expected = [(float(at), widened(value)) for at, value in points[:-1]]
    assert everything(tmp_path / "data") == {"house/emoncms/feed_7": expected}


@pytest.mark.parametrize("size", [3, 16, 17, 40])
def test_a_record_torn_in_the_middle_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(phptimeseries, "RECORDS", 16)
    path, whole = tmp_path / "feed_1.MYD", [record(START + i, i / 7) for i in range(size)]
    for index, torn in itertools.product(range(size - 1), range(1, 9)):
        path.write_bytes(b"".join([*whole[:index], whole[index][:torn], *whole[index + 1 :]]))
        parts = list(phptimeseries.read(Feed(1, path), "a", "b", "c"))
        assert rows_of(parts) == [[START + i, widened(i / 7)] for i in range(size) if i != index]
        assert sum(len(part.mistakes) for part in parts) == 1
        assert sum(part.size for part in parts) == path.stat().st_size


def test_records_that_were_deleted_or_are_noise_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "feed_1.MYD"
    bad = record(START + 1, 2.0, mark=0) + record(5, 3.0)
    path.write_bytes(record(START, 1.0) + bad + record(START + 2, 4.0) + record(START + 3, 5.0) + b"\xf9\1\2")
    parts = list(phptimeseries.read(Feed(1, path), "a", "b", "c"))
    assert rows_of(parts) == [[START, 1.0], [START + 2, 4.0], [START + 3, 5.0]]
    assert [mistake.why for part in parts for mistake in part.mistakes] == ["not a record", "a torn record at the end"]


def test_noise_of_any_length_ends(tmp_path: Path) -> None:
    generator = random.Random(5)
    path = tmp_path / "feed_1.MYD"
    for size in (0, 1, 8, 9, 10, 17, 18, 19, 1000, 300_000):
        for noise in (generator.randbytes(size), b"\xf9" * size, b"\0" * size):
            path.write_bytes(noise)
            parts = list(phptimeseries.read(Feed(1, path), "a", "b", "c"))
            assert sum(part.size for part in parts) == size
