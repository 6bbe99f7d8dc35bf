import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from heliograph.messages import Block, Channel
from tests.storage.stores import command, done, everything, make, settle

T = 1_763_633_000.0
CHANNELS = {"power": Channel("W"), "on": Channel(kind="state"), "mode": Channel(kind="text")}
ROWS: list[list[Any]] = [
    [T, 1.1, True, 'a "b", c\\d'],
    [T + 0.123, -0.0, None, None],
    [T + 60, 1e-300, False, "é=ü °"],
    [T + 86_400, 0.1 + 0.2, None, ""],
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    make(made, [Block("meter", ("power", "on", "mode"), ROWS)], CHANNELS)
    make(made, [Block("pump", ("power",), [[T, 5], [T + 1, 6.5]])], node="shed")
    return made


def test_of_lines_in_which_a_key_comes_twice_nothing_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    good = f'{{"time":{T},"series":"x/d/power","value":1}}'
    twice = [
        f'{{"time":{T + 1},"series":"x/d/power","value":2,"value":3}}',
        f'{{"time":{T + 2},"series":"x/d/power","value":2, "time" :{T + 3}}}',
    ]
    path.write_text("\n".join([good, *twice]))
    result = command("import", "jsonl", path, "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/power": [(float(T), 1.0)]}
    assert f"{path}:2: the key 'value' comes twice" in result.stderr
    assert f"{path}:3: the key 'time' comes twice" in result.stderr


def test_csv_is_wide_in_order_of_time(data: Path) -> None:
    lines = done("export", "roof/*/*", "--data", data, "--tz", "Europe/Berlin", "--to", "2025-11-20T12:00").splitlines()
    assert lines == [
        "time,roof/meter/mode,roof/meter/on,roof/meter/power",
        '2025-11-20T11:03:20.000+01:00,"a ""b"", c\\d",true,1.1',
        "2025-11-20T11:03:20.123+01:00,,,-0.0",
        '2025-11-20T11:04:20.000+01:00,"é=ü °",false,1e-300',
    ]


def test_json_lines_hold_a_value_each(data: Path) -> None:
    lines = done("export", "*/*/power", "--data", data, "--format", "jsonl", "--from", str(T + 1)).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"time": T + 1, "series": "shed/pump/power", "value": 6.5},
        {"time": T + 60, "series": "roof/meter/power", "value": 1e-300},
        {"time": T + 86_400, "series": "roof/meter/power", "value": 0.1 + 0.2},
    ]


def test_buckets_are_of_the_time_zone_and_empty_ones_are_lines_too(data: Path) -> None:
    out = done(
        *("export", "roof/meter/power", "--data", data, "--bucket", "1d", "--tz", "Europe/Berlin"),
        *("--function", "max", "--function", "n", "--to", "2025-11-23"),
    )
    assert out.splitlines() == [
        "time,roof/meter/power.n,roof/meter/power.max",
        "2025-11-20T00:00:00.000+01:00,3,1.1",
        "2025-11-21T00:00:00.000+01:00,1,0.30000000000000004",
        "2025-11-22T00:00:00.000+01:00,0,",
    ]


def test_buckets_begin_and_end_with_the_series_that_are_chosen(tmp_path: Path) -> None:
    days = 86_400
    make(tmp_path, [Block("old", ("x",), [[T - 400 * days, 1.0], [T + 30 * days, 2.0]])])
    make(tmp_path, [Block("meter", ("power", "late"), [[T, 0.0, None], [T + 600, 5.0, None], [T + 1200, 7.0, 1.0]])])
    options = ("--data", tmp_path, "--bucket", "5m")
    for settled in (False, True):
        if settled:
            settle(tmp_path)
        lines = done("export", "roof/meter/power", *options, "--function", "last", "--function", "n").splitlines()
        assert [line.partition("Z,")[2] for line in lines[1:]] == ["1,0.0", "0,", "1,5.0", "0,", "1,7.0"]
        assert lines[1].startswith("2025-11-20T10:00:00")
        lines = done("export", "roof/meter/*", *options).splitlines()
        assert len(lines) == 1 + 5
        assert len(done("export", "roof/meter/late", *options).splitlines()) == 1 + 1
        assert len(done("export", "roof/*/*", "--data", tmp_path, "--bucket", "1y").splitlines()) == 1 + 2
        ranged = done(
            "export", "roof/meter/power", *options, "--from", str(T - 600), "--to", str(T + 1800)
        ).splitlines()
        assert len(ranged) == 1 + 9  # who names a range gets all of it


def test_a_value_that_a_series_cannot_have_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    values = ["1", '"x"', "true", "[1]"]
    path.write_text(
        "\n".join(f'{{"time":{T + at},"series":"x/d/p","value":{value}}}' for at, value in enumerate(values))
    )
    result = command("import", "jsonl", path, "--data", tmp_path)
    assert everything(tmp_path)["x/d/p"] == [(T, 1.0), (T + 2, 1.0)]
    why = "x/d/p: not a value of kind gauge, which is a finite number"
    assert f"""{path}:2: {why}: "'x'"\n""" in result.stderr
    assert f"{path}:4: {why}: '[1]'\n" in result.stderr


def test_a_file_that_ends_in_gz_is_compressed(tmp_path: Path, data: Path) -> None:
    done("export", "--data", data, "-o", tmp_path / "a.csv.gz")
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).startswith(b"time,roof/meter/mode")
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nothing/*/*",), 1, "no series matches"),
        (("roof/meter/nothing",), 1, "no series roof/meter/nothing"),
        (("roof",), 2, "'roof' is not node/device/channel"),
        (("--from", "tomorrow"), 2, "--from"),
        (("--from", "2026-01-01", "--to", "2025-01-01"), 2, "not before --to"),
        (("--function", "max"), 2, "--bucket"),
        (("--format", "line", "--layout", "long"), 2, "--layout needs"),
        (("--bucket", "5x"), 1, "5x"),
        (("--tz", "Mars"), 1, "Mars"),
        (("-o", "/nowhere/at/all.csv"), 1, "/nowhere/at/all.csv"),
    ],
)
def test_what_cannot_be_exported_is_explained(data: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    result = command("export", "--data", data, *arguments)
    assert result.exit_code == code
    assert says in result.stderr
