"""`heliograph store` on stores with damaged files, as owners found them: cases O1 and O10."""

import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from heliograph import store
from heliograph.messages import Block, Channel, Value
from tests.storage.stores import command, done, everything, make, settle

HOUR = 3600
T = 1_577_836_800.0  # 2020-01-01


def sealed(data: Path, times: Iterable[float]) -> Path:
    rows = [[time, 100 + n % 700, n * 0.25] for n, time in enumerate(times)]
    channels = {"power": Channel("W"), "energy": Channel("kWh", "counter")}
    make(data, [Block("d", ("power", "energy"), rows)], channels, node="x")
    settle(data)
    return data


@pytest.fixture(scope="module")
def three_years(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series every six hours of the first forty days of each year, sealed."""
    times = [T + (366 * year + day / 4) * 24 * HOUR for year in range(3) for day in range(4 * 40)]
    return sealed(tmp_path_factory.mktemp("three_years"), times)


@pytest.fixture
def data(three_years: Path, tmp_path: Path) -> Path:
    """A copy of `three_years` for this test alone."""
    return shutil.copytree(three_years, tmp_path / "data")


def removed(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [removed, emptied])
@pytest.mark.parametrize("first", ["salvage", "import"])
def test_a_lost_catalog_never_gives_old_history_to_new_series(
    data: Path, tmp_path: Path, damage: Callable[[Path], None], first: str
) -> None:
    before = everything(data)
    damage(store.folder(data) / "catalog.db")
    result = command("check", "--data", data)
    assert result.exit_code == 1
    assert "catalog.db was" in result.stderr
    assert "heliograph store salvage" in result.stderr
    if first == "salvage":
        assert "it was made again from" in done("salvage", "--data", data)
        assert "all files are sound" in done("check", "--data", data)
        assert "1 devices, 2 series" in done("info", "--data", data)
    new = tmp_path / "new.csv"
    new.write_text("time,temp\n2025-01-01T00:00:00Z,20.5\n2025-01-01T01:00:00Z,21.5\n")
    done("import", "csv", new, "--node", "y", "--device", "new", "--data", data)
    after = everything(data)
    assert [value for _, value in after.pop("y/new/temp")] == [20.5, 21.5]
    assert after == before
    if first == "import":
        out = done("check", "--data", data)
        assert "lost before: catalog.db was" in out
        assert "all files are sound" in out


def test_a_lost_hot_file_is_reported(data: Path) -> None:
    before = everything(data)
    (store.folder(data) / "hot.db").unlink()
    result = command("check", "--data", data)
    assert result.exit_code == 1
    assert "hot.db is missing" in result.stderr
    assert "were not sealed yet, are lost" in done("salvage", "--data", data)
    assert everything(data) == before
    assert "all files are sound" in done("check", "--data", data)


def test_a_missing_year_is_reported_until_it_is_accepted(data: Path) -> None:
    (store.folder(data) / "history-2021.db").unlink()
    result = command("check", "--data", data)
    assert result.exit_code == 1
    assert "history-2021.db is missing" in result.stderr
    with closing(store.open_writer(data)) as writer:
        assert [problem for problem in writer.problems() if problem.startswith("history-2021.db is missing")]
    assert "history-2021.db is missing" in done("salvage", "--data", data)
    assert "all files are sound" in done("check", "--data", data)
    assert len(everything(data)["x/d/power"]) == 2 * 160


@pytest.fixture(scope="module")
def forty_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series every five minutes, sealed: enough for cells of hours."""
    return sealed(tmp_path_factory.mktemp("forty_days"), [T + n * 300 for n in range(40 * 288)])


@pytest.fixture
def dense(forty_days: Path, tmp_path: Path) -> Path:
    """A copy of `forty_days` for this test alone."""
    return shutil.copytree(forty_days, tmp_path / "data")


def flipped(data: Path, table: str, column: str, row: int) -> None:
    """Flip five bits of a block; SQLite does not notice it."""
    with closing(sqlite3.connect(store.folder(data) / "history-2020.db")) as db:
        k, blob = db.execute(f"SELECT k, {column} FROM {table} ORDER BY k LIMIT 1 OFFSET ?", (row,)).fetchone()
        middle = len(blob) // 2
        db.execute(
            f"UPDATE {table} SET {column}=? WHERE k=?",
            (blob[:middle] + bytes([blob[middle] ^ 31]) + blob[middle + 1 :], k),
        )
        db.commit()


def hours(data: Path) -> list[list[Value | None]]:
    edges = [T + hour * HOUR for hour in range(40 * 24 + 1)]
    with closing(store.open_reader(data)) as reader:
        return [reader.aggregate(one.id, edges, ["n", "mean", "max"])["max"] for one in reader.series()]


def test_flipped_bits_are_mended_and_the_check_is_clean_afterwards(dense: Path) -> None:
    before, sums = everything(dense), hours(dense)
    flipped(dense, "r1h_year", "b", 0)
    result = command("check", "--data", dense)
    assert (result.exit_code, result.stderr.count("history-2020.db: r1h_year")) == (1, 1)
    done("salvage", "--data", dense)
    assert "all files are sound" in done("check", "--data", dense)
    assert (everything(dense), hours(dense)) == (before, sums)
    flipped(dense, "chunk", "v", 7)
    assert command("check", "--data", dense).exit_code == 1
    out = done("salvage", "--data", dense)
    assert "288 values on 1 days of 1 series are lost (x/d/power)" in out
    assert "all files are sound" in done("check", "--data", dense, "--values")
    after = everything(dense)
    assert after["x/d/energy"] == before["x/d/energy"]
    assert set(before["x/d/power"]) - set(after["x/d/power"]) == set(before["x/d/power"][7 * 288 : 8 * 288])
    assert set(after["x/d/power"]) < set(before["x/d/power"])


def test_salvage_shows_each_loss_once_and_asks_for_nothing_that_it_has_done(
    dense: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flipped(dense, "chunk", "v", 7)
    make(dense, [Block("other", ("power",), [[T - 300 * 86_400, 1.0]])])
    settle(dense)
    (store.folder(dense) / "history-2019.db").unlink()
    result = command("salvage", "--data", dense)
    assert result.exit_code == 0
    shown = f"{result.output}\n{caplog.text}"
    assert shown.count("288 values on 1 days of 1 series are lost (x/d/power)") == 1
    assert shown.count("history-2019.db is missing: what it had is lost, unless it is put back from a backup") == 1
    assert "heliograph store salvage" not in shown


def test_a_year_of_which_nothing_can_be_read_is_one_loss(dense: Path) -> None:
    year = store.folder(dense) / "history-2020.db"
    year.write_bytes(year.read_bytes()[:4096] + bytes(90_000))
    out = done("salvage", "--data", dense)
    assert out.count("history-2020.db was damaged") == 1
    assert "is missing" not in out
    assert "all files are sound" in done("check", "--data", dense)


def test_times_that_cannot_be_read_take_only_their_own_day_along(dense: Path) -> None:
    before = everything(dense)
    flipped(dense, "axis", "t", 3)
    assert command("check", "--data", dense).exit_code == 1
    assert "576 values on 1 days of 2 series are lost" in done("salvage", "--data", dense)
    assert "all files are sound" in done("check", "--data", dense, "--values")
    after = everything(dense)
    for name, points in before.items():
        assert after[name] == points[: 3 * 288] + points[4 * 288 :]


def test_a_chunk_whose_times_are_gone_is_damage(dense: Path) -> None:
    with closing(sqlite3.connect(store.folder(dense) / "history-2020.db")) as db:
        db.execute("DELETE FROM axis WHERE k = (SELECT min(k) FROM axis)")
        db.commit()
    result = command("check", "--data", dense)
    assert (result.exit_code, result.stderr.count("its times are missing")) == (1, 2)
    done("salvage", "--data", dense)
    assert "all files are sound" in done("check", "--data", dense, "--values")
