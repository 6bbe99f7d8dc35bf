"""Different sensors never become one series without a word."""

from contextlib import closing
from pathlib import Path

import pytest

from heliograph import store
from heliograph.messages import Block, Channel
from tests.storage.stores import command, done, everything, make

pytestmark = pytest.mark.slow

T = 1_700_000_000


def values(data: Path) -> list[float]:
    return sorted(value for points in everything(data).values() for _, value in points if isinstance(value, float))


def lines(folder: Path, *texts: str) -> Path:
    path = folder / "in.lp"
    path.write_text("".join(f"{text} {T}000000000\n" for text in texts), encoding="utf-8")
    return path


LONG = "modbus,gateway=usb-rs485-adapter-left,host=raspberrypi-solar-roof-01,name=meter-house-a,slave_id={},type=input_register"


@pytest.mark.parametrize(
    "points",
    [
        [LONG.format(1), LONG.format(2), LONG.format(3)],
        ["temp,room=Кухня", "temp,room=Спальня"],
        ["temp,room=Küche", "temp,room=Köche"],
    ],
)
def test_points_of_different_tags_are_different_devices(tmp_path: Path, points: list[str]) -> None:
    path = lines(tmp_path, *(f"{point} v={number}" for number, point in enumerate(points)))
    done("import", "line", path, "--node", "x", "--data", tmp_path)
    assert values(tmp_path) == [float(number) for number in range(len(points))]
    assert len(everything(tmp_path)) == len(points)


def test_of_tags_that_become_one_name_the_later_ones_are_set_aside_by_name(tmp_path: Path) -> None:
    path = lines(tmp_path, "m,feature=temp_1 v=1", "m,feature=temp.1 v=2", "m,feature=TEMP_1 v=4")
    result = command("import", "line", path, "--node", "x", "--data", tmp_path)
    assert everything(tmp_path) == {"x/m_temp_1/v": [(T, 1.0)]}
    assert "'m,feature=temp.1' would be called m_temp_1, which is the name of 'm,feature=temp_1'" in result.stderr
    assert "'m,feature=TEMP_1' would be called m_temp_1" in result.stderr


@pytest.mark.parametrize("options", [("--device", "d"), ("--device-tag", "host")])
def test_lines_that_one_device_would_merge_are_set_aside_unless_they_may_be_merged(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    path = lines(tmp_path, "cpu,host=d value=1", "mem,host=d value=2", "cpu,host=d,core=1 value=3", "cpu,host=d load=4")
    result = command("import", "line", path, "--node", "x", *options, "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/value": [(T, 1.0)], "x/d/load": [(T, 4.0)]}
    assert f"{path}:2: 'mem,host=d value' would be x/d/value, as 'cpu,host=d value' is" in result.stderr
    assert "2 times" in result.stderr or result.stderr.count("set aside 1 times") == 2
    done("import", "line", path, "--node", "x", *options, "--merge", "--data", tmp_path)
    assert everything(tmp_path)["x/d/value"] == [(T, 3.0)]


def test_names_of_a_long_table_stay_apart_or_are_set_aside(tmp_path: Path) -> None:
    names = ["Küche", "Köche", "Temp (1)", "Temp [1]", "Датчик 1", "Сенсор 1"]
    path = tmp_path / "in.csv"
    path.write_text("time,name,value\n" + "".join(f"{T},{name},{number}\n" for number, name in enumerate(names)))
    result = command("import", "csv", path, "--node", "x", "--device", "d", "--data", tmp_path)
    assert values(tmp_path) == [0.0, 1.0, 2.0, 4.0, 5.0]
    assert f"{path}:5: 'Temp [1]' would be called temp_1, which is the name of 'Temp (1)'" in result.stderr


def test_a_renamed_series_does_not_become_another_one(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"time,name,value\n{T},a,1\n{T},b,2\n{T},x/d/a,3\n")
    options = ("--node", "x", "--device", "d", "--column", "b=a", "--data", tmp_path)
    result = command("import", "csv", path, *options)
    assert everything(tmp_path) == {"x/d/a": [(T, 1.0)]}
    assert f"{path}:3: 'b' would be called x/d/a, which is the name of 'a'" in result.stderr
    assert f"{path}:4: 'x/d/a' would be called x/d/a, which is the name of 'a'" in result.stderr


def test_a_unit_in_a_header_is_that_of_its_own_series(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"time,x/a/power (W),x/b/power (kW)\n{T},1,2\n")
    assert "x/a/power  gauge, W\n  x/b/power  gauge, kW" in done("import", "csv", path, "--data", tmp_path)


def test_a_header_with_another_unit_than_the_store_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"time,Power (W)\n{T},1\n")
    options = ("--node", "x", "--device", "d", "--data", tmp_path)
    done("import", "csv", path, *options)
    path.write_text(f"time,Power (kW),other\n{T + 1},2,3\n")
    result = command("import", "csv", path, *options)
    assert result.exit_code == 1
    assert "nothing of x/d/power was imported: the store has x/d/power in W, and the header says kW" in result.stderr
    assert "--unit power=W" in result.stderr
    assert (
        "if its values are in W in spite of it" in result.stderr
    )  # else they would be stored a thousand times too small
    assert everything(tmp_path) == {"x/d/power": [(T, 1.0)], "x/d/other": [(T + 1, 3.0)]}


def test_a_unit_of_an_option_that_the_store_has_not_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"time,energy\n{T},1000\n{T + 60},1100\n")
    options = ("--node", "x", "--device", "d", "--data", tmp_path)
    done("import", "csv", path, *options, "--unit", "energy=Wh", "--counter", "energy")
    for rows, unit in ((f"{T},1\n{T + 60},1.1\n", "kWh"), (f"{T + 120},2\n", "kWh"), (f"{T + 120},2\n", "")):
        path.write_text("time,energy,other\n" + rows.replace("\n", ",5\n"))
        result = command("import", "csv", path, *options, "--unit", f"energy={unit}")
        assert result.exit_code == 1
        assert (
            f"nothing of x/d/energy was imported: the store has x/d/energy in Wh, and --unit says {unit or 'none'}: "
            f"give it another name, or convert what is stored, heliograph store rescale x/d/energy --to {unit or 'UNIT'}\n"
        ) in result.stderr
        assert everything(tmp_path)["x/d/energy"] == [(T, 1000.0), (T + 60, 1100.0)]
    with closing(store.open_writer(tmp_path)) as writer:
        assert writer.problems() == []


def test_an_import_adds_to_the_series_that_it_names_and_not_to_that_of_the_unit_the_device_has_now(
    tmp_path: Path,
) -> None:
    """Wh in winter, kWh from spring on: a file with more values of the winter is imported."""
    for unit, time, value in (("Wh", T, 1000.0), ("kWh", T + 120, 1.75)):
        make(tmp_path, [Block("meter", ("energy",), [[time, value]])], {"energy": Channel(unit, "counter")})
    path = tmp_path / "in.csv"
    path.write_text(f"time,roof/meter/energy,roof/meter/energy_kwh\n{T},1001,\n{T + 60},1500,\n{T + 180},,1.8\n")
    report = done("import", "csv", path, "--data", tmp_path)
    assert "2 values are new, 1 replaced another one" in report
    expected = {
        "roof/meter/energy": [(T, 1001.0), (T + 60, 1500.0)],
        "roof/meter/energy_kwh": [(T + 120, 1.75), (T + 180, 1.8)],
    }
    assert everything(tmp_path) == expected
    make(tmp_path, [Block("meter", ("energy",), [[T + 240, 1.9]])])  # before the device has described itself again
    assert everything(tmp_path) == {
        **expected,
        "roof/meter/energy_kwh": [(T + 120, 1.75), (T + 180, 1.8), (T + 240, 1.9)],
    }
    with closing(store.open_writer(tmp_path)) as writer:
        [problem] = writer.problems()
    assert problem.endswith("heliograph store rescale roof/meter/energy --to UNIT --join roof/meter/energy_kwh")
    join = ("--to", "kWh", "--join", "roof/meter/energy_kwh", "--yes", "--data", tmp_path)
    done("rescale", "roof/meter/energy", *join)
    with closing(store.open_writer(tmp_path)) as writer:
        assert writer.problems() == []
