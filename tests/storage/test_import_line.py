import gzip
import random
from pathlib import Path

import pytest

from heliograph.line_protocol import LinePoint, parse
from services.storage.importers.line import Options, reading_of
from services.storage.importers.shared.names import SeriesNames
from tests.storage.stores import command, done, everything

T = 1_763_633_000


def point(line: str) -> LinePoint:
    parsed = parse(line)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("line", "options", "expected"),
    [
        ("meter,node=roof power=1 5", Options(), ("roof", "meter", ["power"], [5e-9, 1.0])),
        ("m,node=roof,device=meter P=1 5", Options(precision="s"), ("roof", "meter", ["p"], [5.0, 1.0])),
        ("cpu,host=a\\ b,cpu=0 idle=1 5", Options(node="n"), ("n", "cpu_a_b_0", ["idle"], [5e-9, 1.0])),
        ("cpu,host=a idle=1 5", Options(node="n", device="d"), ("n", "d", ["idle"], [5e-9, 1.0])),
        ("cpu,host=Az idle=1 5", Options(node="n", device_tag="host"), ("n", "az", ["idle"], [5e-9, 1.0])),
        (
            'W,entity_id=Kettle value=1,icon="x" 5',
            Options(node="n", device="ha", channel_tag="entity_id", fields=frozenset({"value"})),
            ("n", "ha", ["kettle"], [5e-9, 1.0]),
        ),
    ],
)
def test_a_line_finds_its_series(line: str, options: Options, expected: object) -> None:
    assert reading_of(point(line), options, SeriesNames())[:4] == expected


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("m f=1 5", Options()),
        ("m f=1", Options(node="n")),
        ("m,node=Roof f=1 5", Options()),
        ("m f=1 5", Options(node="n", device_tag="host")),
        ("ㅤ f=1 5", Options(node="n")),
    ],
)
def test_a_line_without_names_or_a_time_is_refused(line: str, options: Options) -> None:
    with pytest.raises(ValueError, match=r"node|time|tag|not the name"):
        reading_of(point(line), options, SeriesNames())


def test_of_two_texts_with_one_name_the_second_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text(
        "cpu,host=A idle=1,Idle=2,user=3 5000000000\ncpu,host=a idle=4 5000000000\n"
        "cpu,host=A,core=1 idle=5 5000000000\ncpu,host=A_1 idle=6 5000000000\n".replace("5000000000", f"{T}000000000")
    )
    result = command("import", "line", path, "--data", tmp_path, "--node", "n")
    assert everything(tmp_path) == {
        "n/cpu_a/idle": [(T, 1.0)],
        "n/cpu_a/user": [(T, 3.0)],
        "n/cpu_a_1/idle": [(T, 5.0)],
    }
    assert f"{path}:1: 'Idle' would be called idle, which is the name of 'idle'" in result.stderr
    assert f"{path}:2: 'cpu,host=a' would be called cpu_a, which is the name of 'cpu,host=A'" in result.stderr
    assert (
        f"{path}:4: 'cpu,host=A_1' would be called cpu_a_1, which is the name of 'cpu,host=A,core=1'" in result.stderr
    )


def test_an_export_of_influxdb_is_imported_and_its_bad_lines_are_counted(tmp_path: Path) -> None:
    lines = [
        "# DDL",
        "CREATE DATABASE solar WITH NAME autogen",
        "# DML",
        "# CONTEXT-DATABASE:solar",
        f'meter,host=pi power=1.5,on=true,mode="auto" {T}000000000',
        f"meter,host=pi power=2i {T + 1}000000000",
        f"meter,host=pi power=2.5 {T}000000000",
        f"meter,host=shed power=9 {T}000000000",
        "broken",
        "meter,host=pi power=3",
        'meter,host=pi power="high" 1763633009000000000',
    ]
    path = tmp_path / "export.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    result = command("import", "line", path, "--data", tmp_path, "--node", "house")
    assert result.exit_code == 0, result.output
    assert everything(tmp_path) == {
        "house/meter_pi/power": [(T, 2.5), (T + 1, 2.0)],
        "house/meter_pi/on": [(T, True)],
        "house/meter_pi/mode": [(T, "auto")],
        "house/meter_shed/power": [(T, 9.0)],
    }
    assert "set aside 1 times: a line without fields" in result.stderr
    assert "set aside 1 times: a line without a time" in result.stderr
    assert "set aside 1 times: not a value of kind gauge" in result.stderr
    assert f"{path}:{len(lines)}: house/meter_pi/power: not a value of kind gauge, which is" in result.stderr


def test_a_damaged_compressed_file_gives_what_it_still_has(tmp_path: Path) -> None:
    generator = random.Random(1)
    lines = "".join(f"m power={generator.random()} {T + i}\n" for i in range(20_000))
    path = tmp_path / "export.gz"
    path.write_bytes(gzip.compress(lines.encode())[:-20_000])
    result = command("import", "line", path, "--data", tmp_path, "--node", "n", "--precision", "s")
    assert result.exit_code == 0
    assert "the compressed file is damaged from here on" in result.stderr
    assert 1_000 < len(everything(tmp_path)["n/m/power"]) < 20_000


def test_a_file_without_line_ends_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(b"x" * 1_000_000 + b"\n" + f"m power=1 {T}\n".encode())
    assert "readings of 1 series" in done("import", "line", path, "--data", tmp_path, "--node", "n", "--precision", "s")
