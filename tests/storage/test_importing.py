"""What every import promises: whatever happens on the way, doing it again completes it, and nothing is stored twice."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from heliograph import store
from heliograph.messages import Block
from heliograph.store.interface import Progress, Writer
from services.storage.blocks import BlockBuilder
from services.storage.importers.shared.importer import Importer
from services.storage.importers.shared.options import channel_metadata
from services.storage.importers.shared.parts import ChannelMetadata, Mistake, Part
from tests.conftest import ROOT
from tests.storage.stores import command, difference, done, everything, make

pytestmark = pytest.mark.slow

T = 1_700_000_000
ROWS = 60_000
OPTIONS = ("--node", "roof", "--device", "meter")
MAIN = "import sys; from services.storage.cli.main import main; main()"


def big(folder: Path) -> tuple[Path, dict[str, list[tuple[float, float]]]]:
    path = folder / "big.csv"
    path.write_text("time,power,voltage\n" + "".join(f"{T + i},{i % 977},{230 + i % 7 / 10}\n" for i in range(ROWS)))
    return path, {
        "roof/meter/power": [(float(T + i), float(i % 977)) for i in range(ROWS)],
        "roof/meter/voltage": [(float(T + i), 230 + i % 7 / 10) for i in range(ROWS)],
    }


def test_an_import_that_was_killed_is_made_whole_by_repeating_it(tmp_path: Path) -> None:
    path, expected = big(tmp_path)
    # a pipe holds the import in its middle: the kill comes after some commits, and before the end
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = tmp_path / "data"
    arguments = ["import", "csv", str(pipe), "--data", str(data), *OPTIONS]
    process = subprocess.Popen([sys.executable, "-c", MAIN, *arguments], cwd=ROOT)
    lines = path.read_bytes().splitlines(keepends=True)
    with pipe.open("wb") as feeding:
        feeding.writelines(lines[: 3 * len(lines) // 4])
        feeding.flush()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    before = everything(data)
    assert 5_000 <= len(before["roof/meter/power"]) < ROWS
    done("import", "csv", path, "--data", data, *OPTIONS)
    assert difference(everything(data), expected) is None
    assert "all files are sound" in done("check", "--data", data)


def test_a_full_disk_is_explained_and_repeating_makes_the_import_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, expected = big(tmp_path)
    data = tmp_path / "data"
    open_writer, commits = store.open_writer, 0

    def open_on_a_small_disk(*arguments: Any, **options: Any) -> Writer:
        writer = open_writer(*arguments, **options)
        commit = writer.commit

        def until_it_is_full(progress: Mapping[tuple[str, str], Progress]) -> None:
            nonlocal commits
            commits += 1
            if commits > 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            commit(progress)

        monkeypatch.setattr(writer, "commit", until_it_is_full)
        return writer

    with monkeypatch.context() as small:
        small.setattr(store, "open_writer", open_on_a_small_disk)
        result = command("import", "csv", path, "--data", data, *OPTIONS)
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert "Make room" in result.stderr
    assert "nothing is stored twice" in result.stderr
    assert 0 < len(everything(data)["roof/meter/power"]) < ROWS
    done("import", "csv", path, "--data", data, *OPTIONS)
    assert difference(everything(data), expected) is None


def test_importing_again_changes_nothing_and_the_last_arrival_wins(tmp_path: Path) -> None:
    path, expected = big(tmp_path)
    data = tmp_path / "data"
    make(data, [Block("meter", ("power",), [[T, 99_999.0], [T - 1, 5.0]])])
    for _ in range(2):
        done("import", "csv", path, "--data", data, *OPTIONS)
        expected["roof/meter/power"][:0] = []
        points = everything(data)
        assert points["roof/meter/power"][0] == (T - 1, 5.0)
        assert difference({**points, "roof/meter/power": points["roof/meter/power"][1:]}, expected) is None


def test_while_storage_runs_the_import_says_what_to_do(tmp_path: Path) -> None:
    path, _ = big(tmp_path)
    with closing(store.open_writer(tmp_path)):
        result = command("import", "csv", path, "--data", tmp_path, *OPTIONS)
    assert result.exit_code == 1
    assert "docker compose stop storage" in result.stderr


def test_a_dry_run_works_while_storage_runs(tmp_path: Path) -> None:
    path, _ = big(tmp_path)
    with closing(store.open_writer(tmp_path)):
        assert f"{ROWS:,} readings" in done("import", "csv", path, "--data", tmp_path, "--dry-run", *OPTIONS)


def test_the_order_of_one_device_stays_whatever_channels_its_readings_have() -> None:
    blocks = BlockBuilder()
    blocks.add("n", "a", ("x", "y"), [1, 1, 1])
    blocks.add("n", "b", ("x",), [1, 1])
    blocks.add("n", "a", ("x",), [1, 2])
    blocks.add("n", "b", ("x",), [2, 2])
    blocks.add("n", "a", ("x", "y"), [1, 3, 3])
    assert [(block.device, block.channels, block.rows) for _, block in blocks.take()] == [
        ("a", ("x", "y"), [[1, 1, 1]]),
        ("b", ("x",), [[1, 1], [2, 2]]),
        ("a", ("x",), [[1, 2]]),
        ("a", ("x", "y"), [[1, 3, 3]]),
    ]
    assert blocks.take() == []


def test_a_channel_whose_first_values_are_missing_gets_its_kind_from_the_first_it_has(tmp_path: Path) -> None:
    with closing(store.open_writer(tmp_path)) as writer:
        importer = Importer(writer, [], ChannelMetadata())
        rows: list[list[Any]] = [[T, None, None, 1.0], [T + 1, "on", None, None]]
        importer.take(Part([("n", Block("d", ("mode", "never", "power"), rows))], [], 0))
        importer.finish()
    assert list(importer.series) == ["n/d/mode", "n/d/power"]
    assert everything(tmp_path) == {"n/d/mode": [(T + 1, "on")], "n/d/power": [(T, 1.0)]}


def test_a_flood_of_different_mistakes_is_bounded(tmp_path: Path) -> None:
    with closing(store.open_writer(tmp_path)) as writer:
        importer = Importer(writer, [], ChannelMetadata())
        importer.take(Part([], [Mistake("x", f"why {i}") for i in range(10_000)], 0))
    assert len(importer.mistakes) <= 51
    assert sum(importer.mistakes.values()) == 10_000
    assert len(importer.shown) < 100


def test_units_are_spelled_as_everywhere() -> None:
    options: dict[str, Any] = {"units_given": ["a=degC", "b=kwh"], "counters": ["b"], "states": [], "texts": [], "x": 1}
    assert channel_metadata(options) == ChannelMetadata({"a": "°C", "b": "kWh"}, {"b": "counter"})
    assert options == {"x": 1}
