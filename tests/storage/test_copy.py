from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from heliograph import store
from heliograph.messages import Block, Channel, Info
from heliograph.store.interface import Progress
from services.storage.maintenance import copy
from services.storage.maintenance.copy import StoreCopy
from tests.storage.stores import command, difference, done, everything, make, meanings, progress, settle

T = 1_763_633_000
CHANNELS = {
    "energy": Channel("kWh", "counter", rollover=42949.67296),
    "mode": Channel(kind="text"),
    "on": Channel(kind="state"),
}


def rows(start: int, count: int) -> list[Block]:
    return [
        Block(
            "meter",
            ("energy", "mode", "on"),
            [[T + i, i / 3, f"mode {i % 5}", i % 2 == 0] for i in range(start, start + count)],
        ),
        Block("meter", ("energy",), [[T + start, -1.0]]),
        Block("other", ("energy",), [[T + start, 7.0]]),
    ]


def mark(last: int, lost: int = 0) -> dict[tuple[str, str], Progress]:
    return {("roof/poller", "e1"): Progress(last, lost)}


def test_a_copy_has_everything_and_the_progress_of_the_producers(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    make(data, rows(0, 6_000), CHANNELS, mark(5, 1))
    out = done("copy", "--to", other, "--data", data)
    assert "6,002 readings, 18,002 values copied" in out
    assert "Nothing is missing" in out
    assert difference(everything(other), everything(data)) is None
    assert meanings(other) == meanings(data)
    assert progress(other) == mark(5, 1)


def test_while_storage_runs_the_readings_go_over_and_the_rest_follows(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    with closing(store.open_writer(data)) as writer:
        writer.declare("roof", "meter", Info("m", CHANNELS))
        writer.write("roof", rows(0, 100))
        writer.commit(mark(1))
        out = done("copy", "--to", other, "--data", data)
        assert "Storage is running" in out
        assert progress(other) == {}
        writer.write("roof", rows(100, 100))
        writer.commit(mark(2))
        assert "102 readings" in done("copy", "--to", other, "--data", data)
        writer.write("roof", rows(50, 10))  # late, and other values than before
        writer.commit(mark(3))
    out = done("copy", "--to", other, "--data", data)
    assert "12 readings" in out
    assert "Nothing is missing" in out
    assert difference(everything(other), everything(data)) is None
    assert progress(other) == mark(3)
    assert "0 readings" in done("copy", "--to", other, "--data", data)


class Crash(RuntimeError):
    pass


@pytest.mark.parametrize("commits", [0, 1, 2])
def test_a_copy_that_was_cut_off_continues_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    data, other, standing = tmp_path / "data", tmp_path / "other", tmp_path / "standing.json"
    monkeypatch.setattr(copy, "READINGS", 500)
    make(data, rows(0, 1500), CHANNELS, mark(9))
    with closing(store.open_reader(data)) as source, closing(store.open_writer(other)) as target:
        commit, left = target.commit, commits

        def fragile(progress: Mapping[tuple[str, str], Progress]) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash
            commit(progress)

        monkeypatch.setattr(target, "commit", fragile)
        with pytest.raises(Crash):
            StoreCopy(source, target, standing).everything(lambda steps: None)
    assert progress(other) == {}
    with closing(store.open_reader(data)) as source, closing(store.open_writer(other)) as target:
        rest = StoreCopy(source, target, standing)
        rest.everything(lambda steps: None)
        assert rest.readings == 1502 - commits * 500
        rest.finish(mark(9))
    assert difference(everything(other), everything(data)) is None
    assert progress(other) == mark(9)


def test_a_replaced_meter_is_known_to_the_copy(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    make(other, [Block("first", ("x",), [[T, 1.0]])])  # so that the numbers of the series differ
    make(
        data,
        [Block("meter", ("energy",), [[T, 100.0], [T + 60, 5_000.0], [T + 120, 5_002.0]])],
        {"energy": Channel("kWh", "counter")},
    )
    done("meter-replaced", "roof/meter/energy", "--at", T + 60, "--data", data)
    for _ in range(2):
        done("copy", "--to", other, "--data", data)
    with closing(store.open_reader(other)) as reader:
        (series,) = [one for one in reader.series() if one.channel == "energy"]
        assert reader.aggregate(series.id, [T, T + 3600], ["delta"]) == {"delta": [2.0]}


def test_what_was_sealed_is_copied_in_the_order_in_which_it_arrived(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    make(data, rows(0, 6_000), CHANNELS, mark(1))
    settle(data)
    make(data, rows(2_000, 3_000), None, mark(2))
    settle(data)
    make(data, rows(4_000, 100), None, mark(3))
    done("copy", "--to", other, "--data", data)
    assert difference(everything(other), everything(data)) is None
    assert progress(other) == mark(3)


def test_progress_never_goes_back(tmp_path: Path) -> None:
    make(tmp_path / "data", rows(0, 10), CHANNELS, mark(5))
    make(tmp_path / "other", rows(0, 10), CHANNELS, mark(8))
    done("copy", "--to", tmp_path / "other", "--data", tmp_path / "data")
    assert progress(tmp_path / "other") == mark(8)


def test_a_target_that_was_recreated_gets_everything_again(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    make(data, rows(0, 100), CHANNELS)
    done("copy", "--to", other, "--data", data)
    for path in (other / "store").iterdir():
        path.unlink()
    assert "102 readings" in done("copy", "--to", other, "--data", data)
    assert difference(everything(other), everything(data)) is None


def test_what_cannot_be_copied_is_explained_and_nothing_is_made(tmp_path: Path) -> None:
    result = command("copy", "--to", tmp_path / "other", "--data", tmp_path / "data")
    assert result.exit_code == 1
    assert "there is no store" in result.stderr
    assert not (tmp_path / "other").exists()
    make(tmp_path / "data", rows(0, 1))
    assert command("copy", "--to", tmp_path / "data", "--data", tmp_path / "data").exit_code == 2
    with closing(store.open_writer(tmp_path / "other")):
        result = command("copy", "--to", tmp_path / "other", "--data", tmp_path / "data")
    assert result.exit_code == 1
