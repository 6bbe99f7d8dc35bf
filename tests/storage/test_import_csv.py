import gzip
from pathlib import Path

import pytest

from heliograph.messages import Block
from services.storage.importers.shared.csv_table import split_unit
from services.storage.importers.shared.text_lines import TextFile
from tests.storage.stores import command, done, everything, make, meanings

OPTIONS = ("--node", "roof", "--device", "meter")
T = 1_763_633_000


def written(folder: Path, content: str, name: str = "in.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_a_wide_file_becomes_readings_of_one_device(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"Time,Power (W),Energy [kWh],Door open,Mode,Ignored\n{T},1.5,10.25,true,auto,1\n{T + 1},,10.5,false,7,2\n{T + 2},-2e3,NaN,,off,\n",
    )
    done("import", "csv", path, "--data", tmp_path, "--column", "Ignored=", "--counter", "energy", *OPTIONS)
    assert everything(tmp_path) == {
        "roof/meter/power": [(T, 1.5), (T + 2, -2000.0)],
        "roof/meter/energy": [(T, 10.25), (T + 1, 10.5)],
        "roof/meter/door_open": [(T, True), (T + 1, False)],
        "roof/meter/mode": [(T, "auto"), (T + 1, "7"), (T + 2, "off")],
    }
    assert meanings(tmp_path) == {
        "roof/meter/power": ("W", "gauge", 0.0),
        "roof/meter/energy": ("kWh", "counter", 0.0),
        "roof/meter/door_open": ("", "state", 0.0),
        "roof/meter/mode": ("", "text", 0.0),
    }


def test_a_european_spreadsheet_is_understood(tmp_path: Path) -> None:
    path = written(tmp_path, "﻿Datum;Leistung (kW)\r\n26.10.2025 01:30;1,5\r\n26.10.2025 03:10;1.751,75\r\n")
    done(
        *("import", "csv", path, "--data", tmp_path, "--time", "Datum", "--time-format", "%d.%m.%Y %H:%M"),
        *(
            "--tz",
            "Europe/Berlin",
            "--decimal-comma",
            "--column",
            "Leistung (kW)=power",
            "--unit",
            "power=kW",
            *OPTIONS,
        ),
    )
    assert everything(tmp_path) == {"roof/meter/power": [(1761435000.0, 1.5), (1761444600.0, 1751.75)]}
    assert meanings(tmp_path)["roof/meter/power"][0] == "kW"


def test_a_long_file_names_its_series(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"time,series,value\n{T}000,shed/pump/on,true\n{T}000,shed/pump/flow,1.5\n{T}500,shed/pump/flow,2.5\n{T}500,Some Sensor,3\n",
    )
    done("import", "csv", path, "--data", tmp_path, *OPTIONS)
    assert everything(tmp_path) == {
        "shed/pump/on": [(T, True)],
        "shed/pump/flow": [(T, 1.5), (T + 0.5, 2.5)],
        "roof/meter/some_sensor": [(T + 0.5, 3.0)],
    }


def test_bad_rows_are_counted_and_shown_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"time,power\n{T},1\nsoon,2\n{T + 1}\n{T + 2},3,4\n5,5\n{T + 3},x\n{T + 4},inf\n{T + 5},6\n\x1b[31m,7\n",
    )
    result = command("import", "csv", path, "--data", tmp_path, *OPTIONS)
    assert result.exit_code == 0
    assert everything(tmp_path) == {"roof/meter/power": [(T, 1.0), (T + 5, 6.0)]}
    assert "set aside 2 times: not a time" in result.stderr
    assert "set aside 2 times: a row with more or fewer cells than the header" in result.stderr
    assert "set aside 1 times: not a number of power" in result.stderr
    assert "set aside 1 times: not a value of kind gauge" in result.stderr
    assert f"{path}:8: roof/meter/power: not a value of kind gauge, which is a finite number: 'inf'" in result.stderr
    assert f"{path}:3: not a time" in result.stderr
    assert "\x1b" not in result.stderr


def test_what_the_store_knows_of_a_channel_stays_unless_options_change_it(tmp_path: Path) -> None:
    path = written(tmp_path, f"time,energy,mode\n{T},1,on\n")
    done(
        "import",
        "csv",
        path,
        "--data",
        tmp_path,
        "--counter",
        "energy",
        "--unit",
        "energy=Wh",
        "--text",
        "mode",
        *OPTIONS,
    )
    again = written(tmp_path, f"time,energy,mode\n{T + 1},2,1\n", "again.csv")
    done("import", "csv", again, "--data", tmp_path, "--text", "mode", *OPTIONS)
    assert meanings(tmp_path)["roof/meter/energy"] == ("Wh", "counter", 0.0)
    assert everything(tmp_path)["roof/meter/mode"] == [(T, "on"), (T + 1, "1")]
    refused = command("import", "csv", path, "--data", tmp_path, "--unit", "energy=kWh", *OPTIONS)
    assert refused.exit_code == 1
    assert "heliograph store rescale roof/meter/energy --to kWh" in refused.stderr
    assert meanings(tmp_path)["roof/meter/energy"] == ("Wh", "counter", 0.0)  # what is stored is not relabelled
    assert everything(tmp_path)["roof/meter/energy"] == [(T, 1.0), (T + 1, 2.0)]


def test_a_dry_run_judges_everything_and_stores_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "time,power\n" + "".join(f"{T + i},{i}\n" for i in range(12_000)) + f"{T},x\n")
    result = command("import", "csv", path, "--data", tmp_path / "data", "--dry-run", *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "12,000 readings of 1 series would be imported" in result.stdout
    assert f"{path}:12002: not a number of power: 'x'" in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "an empty file"),
        ("power,current\n1,2\n", "Give --time"),
        (f"time\n{T}\n", "names a time and nothing else"),
        (f"time,power,power\n{T},1,2\n", "two columns are called roof/meter/power"),
        (f"time,Power,power\n{T},1,2\n", "'power' would be called power, which is the name of 'Power'"),
        (f"time,\u3164\n{T},1\n", "is not the name of a channel"),
        ("time,power\n", "no reading was found"),
    ],
)
def test_a_header_that_says_too_little_is_explained(tmp_path: Path, content: str, says: str) -> None:
    result = command("import", "csv", written(tmp_path, content), "--data", tmp_path, *OPTIONS)
    assert result.exit_code == 1
    assert says in result.stderr


def test_without_a_device_the_columns_must_be_series(tmp_path: Path) -> None:
    path = written(tmp_path, f"time,roof/meter/power,power\n{T},1,2\n")
    result = command("import", "csv", path, "--data", tmp_path)
    assert result.exit_code == 1
    assert "give --node and --device" in result.stderr


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = written(tmp_path, "x,y\n1,2\n", "a.csv")
    good = written(tmp_path, f"time,power\n{T},1\n", "b.csv")
    result = command("import", "csv", bad, good, "--data", tmp_path, *OPTIONS)
    assert result.exit_code == 0
    assert f"{bad}: a file that cannot be read: 'which column is it?" in result.stderr
    assert everything(tmp_path) == {"roof/meter/power": [(T, 1.0)]}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--node", "Roof"),
        ("--unit", "power"),
        ("--unit", "power=parsec"),
        ("--column", "power"),
        ("--delimiter", "ab"),
        ("--layout", "tall"),
    ],
)
def test_an_option_that_cannot_be_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = command("import", "csv", written(tmp_path, "a"), "--data", tmp_path, *arguments)
    assert result.exit_code == 2


def test_a_header_may_name_a_unit() -> None:
    assert split_unit("Power (W)") == ("Power", "W")
    assert split_unit("Temp [degC]") == ("Temp", "°C")
    assert split_unit("Power (total)") == ("Power (total)", "")


def test_a_column_has_the_name_that_every_service_gives_it(tmp_path: Path) -> None:
    done("import", "csv", written(tmp_path, f"time,ApparentPower,Küche (W)\n{T},1,2\n"), "--data", tmp_path, *OPTIONS)
    assert everything(tmp_path) == {"roof/meter/apparent_power": [(T, 1.0)], "roof/meter/kuche": [(T, 2.0)]}


def test_a_text_with_underscores_between_digits_is_not_a_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,mode\n2026-01-01T00:00:00Z,1_000\n")
    done("import", "csv", tmp_path / "a.csv", "--node", "roof", "--device", "meter", "--data", tmp_path / "data")
    assert everything(tmp_path / "data")["roof/meter/mode"] == [(1_767_225_600.0, "1_000")]


def test_a_series_that_was_imported_under_its_former_name_keeps_it(tmp_path: Path) -> None:
    make(tmp_path, [Block("meter", ("apparentpower",), [[T - 1, 5.0]])])
    done("import", "csv", written(tmp_path, f"time,ApparentPower\n{T},1\n"), "--data", tmp_path, *OPTIONS)
    assert everything(tmp_path) == {"roof/meter/apparentpower": [(T - 1, 5.0), (T, 1.0)]}


def test_of_two_names_of_a_long_file_that_are_one_the_second_is_set_aside(tmp_path: Path) -> None:
    path = written(tmp_path, f"time,name,value\n{T},Door 1,1\n{T},door-1,2\n{T + 1},Door 1,3\n")
    result = command("import", "csv", path, "--data", tmp_path, *OPTIONS)
    assert everything(tmp_path) == {"roof/meter/door_1": [(T, 1.0), (T + 1, 3.0)]}
    assert f"{path}:3: 'door-1' would be called door_1, which is the name of 'Door 1'" in result.stderr


def test_a_quoted_cell_may_hold_line_feeds_and_one_that_never_ends_spoils_only_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, f'time,mode\n{T},"a\r\nb ""c"""\n{T + 1},"never\n{T + 2},on\n{T + 3},"5"\n')
    result = command("import", "csv", path, "--data", tmp_path, "--text", "mode", *OPTIONS)
    assert everything(tmp_path) == {"roof/meter/mode": [(T, 'a\r\nb "c"'), (T + 2, "on"), (T + 3, "5")]}
    assert f"{path}:4: a quoted cell that does not end" in result.stderr


def test_lines_may_end_with_cr_alone(tmp_path: Path) -> None:
    path = tmp_path / "mac.csv"
    for content in (
        f"time,power,mode\r{T},1,a\r{T + 1},2,ü\r".encode(),
        gzip.compress(f"time,power,mode\r{T},1,a\r{T + 1},2,ü".encode()),
    ):
        path.write_bytes(content)
        done("import", "csv", path, "--data", tmp_path, *OPTIONS)
        assert everything(tmp_path) == {
            "roof/meter/power": [(T, 1.0), (T + 1, 2.0)],
            "roof/meter/mode": [(T, "a"), (T + 1, "ü")],
        }
    path.write_bytes(f"time,power\r{T},7\r".encode() + b"\xff,3\r" + f"{T + 1},8\r".encode())
    result = command("import", "csv", path, "--data", tmp_path, *OPTIONS)
    assert f"{path}:3: not utf-8: give --encoding" in result.stderr
    assert everything(tmp_path)["roof/meter/power"] == [(T, 7.0), (T + 1, 8.0)]


@pytest.mark.parametrize("size", [4094, 4095, 4096])
def test_crlf_at_the_edge_of_what_shows_how_lines_end_is_no_cr(size: int, tmp_path: Path) -> None:
    header = "time,power," + "x" * size
    path = tmp_path / "in.csv"
    path.write_bytes(f"{header[:size]}\r\n{T},7,\r\n".encode())
    assert [line.text for line in TextFile(path)] == [header[:size], f"{T},7,"]


def test_half_a_character_of_utf16_is_set_aside_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(f"time,mode\n{T},a\n{T + 1},b😀".encode("utf-16")[:-2])
    result = command("import", "csv", path, "--data", tmp_path, *OPTIONS)
    assert everything(tmp_path) == {"roof/meter/mode": [(T, "a")]}
    assert f"{path}:3: characters that are not utf-16" in result.stderr


def test_a_workbook_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"PK\x03\x04\x14\0\6\0\x08\0\0\0!\0[Content_Types].xml" + bytes(100))
    assert "a ZIP archive, as Excel's .xlsx is" in command("import", "csv", path, "--data", tmp_path, *OPTIONS).stderr


def test_a_device_with_too_many_columns_is_refused_with_their_number(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"time,{','.join(f'c{n}' for n in range(1001))}\n{T}{',1' * 1001}\n")
    result = command("import", "csv", path, "--data", tmp_path, *OPTIONS)
    assert f"{path}: roof/meter: 1001 channels of one device, which has at most 1000" in result.stderr


def test_of_a_series_that_got_no_value_nothing_is_known(tmp_path: Path) -> None:
    """Not even its unit: the device that comes later has another one."""
    path = tmp_path / "in.csv"
    path.write_text("time,energy\n2099-01-01,5\n1999-01-01,6\n")
    result = command("import", "csv", path, "--data", tmp_path, *OPTIONS, "--unit", "energy=kWh")
    assert result.exit_code == 1
    make(tmp_path, [Block("meter", ("power",), [[T, 1.0]])])
    assert meanings(tmp_path).keys() == {"roof/meter/power"}
