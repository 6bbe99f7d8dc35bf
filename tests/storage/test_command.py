import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest

from heliograph import store
from heliograph.messages import Block, Channel
from services.storage import progress_bar
from services.storage.cli.main import main
from tests.conftest import ROOT
from tests.storage.stores import command, done, everything, make, settle

T = 1_763_633_000
BLOCKS = [Block("meter", ("power", "energy"), [[T + i * 3600, i, i / 10] for i in range(2_000)])]
CHANNELS = {"power": Channel("W"), "energy": Channel("kWh", "counter")}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make(tmp_path / "data", BLOCKS, CHANNELS)
    return tmp_path / "data"


def commands(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    for part, member in group.commands.items():
        if isinstance(member, click.Group):
            yield from commands(member, f"{name} {part}".strip())
        else:
            yield f"{name} {part}".strip(), member


@pytest.mark.parametrize("name", [name for name, _ in commands(main)])
def test_every_command_explains_itself_and_names_its_store(name: str) -> None:
    out = done(*name.split(), "--help")
    for option in ("--config", "--data", "--url"):
        assert option in out


def test_every_option_has_a_help_text() -> None:
    for name, known_command in commands(main):
        for parameter in known_command.params:
            if isinstance(parameter, click.Option) and parameter.name != "form":
                assert parameter.help, f"{name} {parameter.opts}"


def test_the_manual_shows_every_command_and_no_other() -> None:
    manual = (ROOT / "docs/store.md").read_text()
    for name, known_command in commands(main):
        assert f"heliograph store {name}" in manual
        for line in manual.splitlines():
            if f"heliograph store {name} " in f"{line} ":
                options = line.partition(f"heliograph store {name}")[2].split("`")[0].split()
                known = {option for parameter in known_command.params for option in parameter.opts}
                assert {word.partition("=")[0] for word in options if word.startswith("--")} <= known, line


def test_info_shows_files_series_and_times(data: Path) -> None:
    out = done("info", "--data", data, "--points")
    assert "hot.db" in out
    assert "from 2025-11-20 10:03:20Z to 2026-02-11 17:03:20Z" in out
    assert "1 nodes, 1 devices, 2 series" in out
    assert "roof/meter/energy" in out
    info = json.loads(done("info", "--data", data, "--points", "--json"))
    assert info["oldest"] == T
    assert info["newest"] == T + 1_999 * 3600
    assert info["problems"] == []
    assert {file["name"] for file in info["files"]} >= {"hot.db", "catalog.db"}
    energy = next(row for row in info["series"] if row["name"] == "roof/meter/energy")
    assert (energy["unit"], energy["kind"], energy["newest"]) == ("kWh", "counter", T + 1_999 * 3600)
    assert energy["points"] == {"2025": 998, "2026": 1002}
    assert "points" not in json.loads(done("info", "--data", data, "--json"))["series"][0]


def test_info_and_check_work_while_storage_runs(data: Path) -> None:
    with closing(store.open_writer(data)):
        assert "2 series" in done("info", "--data", data)
        assert "all 4,000 values can be read" in done("check", "--data", data, "--values")
        assert "all files are sound" in done("check", "--data", data)
        assert "all files are sound" in done("check", "--data", data, "--quick")


@pytest.mark.parametrize(
    "arguments", [("info",), ("check",), ("export",), ("copy", "--to", "elsewhere"), ("backup", "b")]
)
def test_without_a_store_every_command_says_so_and_makes_none(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = command(*arguments, "--data", tmp_path / "nothing")
    assert result.exit_code == 1
    assert "there is no store" in result.stderr
    assert not (tmp_path / "nothing" / "store").exists()


def test_a_damaged_file_is_found_and_the_exit_code_says_so(data: Path) -> None:
    path = store.folder(data) / "hot.db"
    content = bytearray(path.read_bytes())
    content[2048:] = os.urandom(len(content) - 2048)
    path.write_bytes(content)
    result = command("check", "--data", data)
    assert result.exit_code == 1
    assert "hot.db" in result.stderr
    assert "Traceback" not in result.output


def test_a_store_with_closed_months_and_cells_is_sound(tmp_path: Path) -> None:
    make(tmp_path, [Block("meter", ("power",), [[T + i * 60, i % 7] for i in range(60 * 1440)])])
    settle(tmp_path)
    assert "all files are sound" in done("check", "--data", tmp_path)


def test_a_damaged_year_is_salvaged_and_the_rest_stays_readable(data: Path) -> None:
    settle(data)
    whole = everything(data)
    path = store.folder(data) / "history-2025.db"
    content = bytearray(path.read_bytes())
    content[-4096:] = os.urandom(4096)
    path.write_bytes(content)
    assert command("check", "--data", data).exit_code == 1
    with closing(store.open_writer(data)):
        assert "docker compose stop storage" in command("salvage", "--data", data).stderr
    out = done("salvage", "--data", data)
    assert "history-2025.db.salvaged-" in out
    assert "all files are sound" in done("check", "--data", data)
    rest = everything(data)
    assert rest.keys() == whole.keys()
    for name, points in rest.items():
        assert set(points) <= set(whole[name])
        in_2026 = [point for point in whole[name] if point[0] >= 1_767_225_600]
        assert points[-len(in_2026) :] == in_2026


def test_a_damaged_catalog_is_recreated(data: Path) -> None:
    settle(data)
    whole = everything(data)
    path = store.folder(data) / "catalog.db"
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(20_000))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert command("check", "--data", data).exit_code == 1
    done("salvage", "--data", data)
    assert everything(data) == whole


def test_nothing_is_salvaged_where_nothing_is(tmp_path: Path) -> None:
    assert "there is no store" in command("salvage", "--data", tmp_path).stderr
    assert not (tmp_path / "store").exists()


def test_the_configuration_names_the_store(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[node]\nname = "roof"\ndata = "{data}"\n[storage]\ncommit_seconds = 5.0\n')
    assert "2 series" in done("info", "--config", config)
    monkeypatch.chdir(tmp_path)
    assert "2 series" in done("info")
    config.write_text('[node]\ndata = "data"\n')
    assert "2 series" in done("info")


def test_a_configuration_that_is_missing_wrong_or_doubled_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("info")
    assert result.exit_code == 2
    assert "--config" in result.stderr
    assert "--data" in result.stderr
    (tmp_path / "config.toml").write_text("[node]\nnmae = 1\n")
    result = command("info")
    assert result.exit_code == 1
    assert "nmae" in result.stderr
    assert command("info", "--data", "x", "--url", "postgresql://x").exit_code == 2
    result = command("info", "--url", "mysql://u:hidden@h/d")
    assert (result.exit_code, "expected postgresql://" in result.stderr, "hidden" in result.output) == (2, True, False)


def test_a_meter_that_was_replaced_is_noted_by_name_and_time(data: Path) -> None:
    at = "2025-11-21T00:03:20"
    assert "replaced" in done(
        "meter-replaced", "roof/meter/energy", "--at", at, "--tz", "Europe/Berlin", "--yes", "--data", data
    )
    for arguments, says in (
        (("roof/meter/enrgy", "--at", at), "there is no series"),
        (("roof/meter/power", "--at", at), "only counters"),
        (("roof/meter/energy", "--at", "then"), "--at"),
    ):
        result = command("meter-replaced", *arguments, "--data", data)
        assert result.exit_code != 0
        assert says in result.stderr


def test_a_replaced_meter_does_not_count_its_jump(tmp_path: Path) -> None:
    data = tmp_path / "data"
    rows = [[T, 100.0], [T + 60, 101.0], [T + 120, 5_000.0], [T + 180, 5_002.0]]
    make(data, [Block("meter", ("energy",), rows)], CHANNELS)
    done("meter-replaced", "roof/meter/energy", "--at", str(T + 120), "--data", data)
    with closing(store.open_reader(data)) as reader:
        (series,) = [one for one in reader.series() if one.channel == "energy"]
        assert reader.aggregate(series.id, [T, T + 3600], ["delta"]) == {"delta": [3.0]}


def test_a_moment_at_which_no_meter_was_replaced_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    rows = [[T + 60 * n, 100.0 + n % 7 / 10 + n] for n in range(200)]
    rows += [[T + 60 * n, 3.0 + n - 200] for n in range(200, 400)]
    make(data, [Block("meter", ("energy",), rows)], CHANNELS)

    def delta() -> object:
        with closing(store.open_reader(data)) as reader:
            (series,) = [one for one in reader.series() if one.channel == "energy"]
            return reader.aggregate(series.id, [T, T + 1e6], ["delta"])["delta"]

    before = delta()
    for at, says in (
        ("2099-01-01", "is in the future"),
        (T - 60, "has no reading before"),
        (T, "has no reading before"),
        (T + 60 * 150, "that is no other meter. It falls from 299.3 kWh at"),
    ):
        result = command("meter-replaced", "roof/meter/energy", "--at", at, "--data", data)
        assert result.exit_code != 0
        assert says in result.stderr
        assert delta() == before
    last = done("meter-replaced", "roof/meter/energy", "--at", T + 60 * 500, "--data", data)
    assert "402 kWh" not in last
    assert "is the old meter's, and the next one the new meter's" in last
    shown = done("meter-replaced", "roof/meter/energy", "--at", T + 60 * 199.5, "--data", data)
    assert "the difference from 299.3 kWh at" in shown
    assert "to 3 kWh at" in shown
    done("meter-replaced", "roof/meter/energy", "--at", T + 60 * 150, "--yes", "--data", data)


def test_output_into_a_pipe_that_closes_ends_quietly(data: Path) -> None:
    script = "from services.storage.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, "export", "--data", str(data), "--format", "jsonl"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_bar, "LINE_SECONDS", 0.0)
    with progress_bar.bar("importing", 200) as advance:
        advance(50)
        advance(500)
    assert capsys.readouterr().err == "importing: 25 %\nimporting: 100 %\n"
