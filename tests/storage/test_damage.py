"""`heliograph-store` on stores with damaged files, as owners found them: cases O1 and O10."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from heliograph import store
from heliograph.messages import Block, Channel
from tests.storage.stores import command, done, everything, make, settle

HOUR = 3600
T = 1_577_836_800.0  # 2020-01-01


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three years of hours of two series, sealed."""
    rows = [[T + hour * HOUR, 100 + hour % 700, hour * 0.25] for hour in range(3 * 8766)]
    channels = {"power": Channel("W"), "energy": Channel("kWh", "counter")}
    make(tmp_path, [Block("d", ("power", "energy"), rows)], channels, node="x")
    settle(tmp_path)
    return tmp_path


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
    assert "heliograph-store salvage" in result.stderr
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
    assert len(everything(data)["x/d/power"]) == 3 * 8766 - 8760
