"""A winter of Solar Protocol's daily files, with what is wrong with real ones."""

import gzip
import itertools
import random
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from services.storage.importers import tracer as tracer_files
from tests.conftest import ROOT
from tests.storage.stores import command, difference, done, everything, meanings

pytestmark = pytest.mark.slow

NEW_YORK = ZoneInfo("America/New_York")
NAMES = (
    "PV voltage,PV current,PV power L,PV power H,battery voltage,battery current,battery power L,battery power H,"
    "load voltage,load current,load power,battery percentage"
)
HEADER = f"datetime,{NAMES}"
HEADER_WITH_SPACES = HEADER.replace("PV power L,PV power H", " PV power L, PV power H")
OLD_HEADER = (
    "datetime,solarVoltage,solarCurrent,solarPowerL,solarPowerH,batteryVoltage,batteryCurrent,batteryPowerL,"
    "batteryPowerH,loadVoltage,loadCurrent,loadPower,batteryPercentage"
)
OPTIONS = ("--node", "roof", "--device", "tracer", "--tz", "America/New_York")
MINUTES = 10

Expected = dict[str, list[tuple[float, float]]]


class Logger:
    """Writes what the logger writes, and knows what must come out of the store."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.expected: Expected = {f"roof/tracer/{channel}": [] for channel in tracer_files.COLUMNS}

    def row(self, moment: datetime) -> str:
        words = [
            self._random.randrange(limit) for limit in (9000, 4000, 65536, 2, 1600, 4000, 65536, 1, 1600, 900, 9000)
        ]
        soc = self._random.randrange(101)
        pv_v, pv_a, pv_l, pv_h, battery_v, charge_a, charge_l, charge_h, load_v, load_a, load_w = words
        values = {
            "pv_voltage": pv_v,
            "pv_current": pv_a,
            "pv_power": pv_h * 65536 + pv_l,
            "battery_voltage": battery_v,
            "charge_current": charge_a,
            "charge_power": charge_h * 65536 + charge_l,
            "load_voltage": load_v,
            "load_current": load_a,
            "load_power": load_w,
        }
        time = round(moment.timestamp() * 1000) / 1000
        for channel, word in values.items():
            self.expected[f"roof/tracer/{channel}"].append((time, float(Decimal(word) / 100)))
        self.expected["roof/tracer/battery_soc"].append((time, float(soc)))
        local = moment.astimezone(NEW_YORK).replace(tzinfo=None)
        return ",".join([str(local), *(str(float(word / 100.0)) for word in [*words, soc])])

    def days(self, year: int) -> Iterator[tuple[str, list[str]]]:
        """Yield file name and rows of each local day of a year."""
        moment = datetime(year, 1, 1, 5, 0, 17, 116037, tzinfo=UTC)
        while moment.astimezone(NEW_YORK).year == year:
            day = moment.astimezone(NEW_YORK).date()
            rows = []
            while moment.astimezone(NEW_YORK).date() == day:
                rows.append(self.row(moment))
                moment += timedelta(minutes=MINUTES, microseconds=self._random.randrange(700_000))
            yield f"tracerData{day}.csv", rows


def text(header: str, rows: list[str]) -> str:
    return "\n".join([header, *rows, ""])


def test_a_winter_of_daily_files_comes_out_equal_and_what_is_torn_is_counted(tmp_path: Path) -> None:
    files, data = tmp_path / "data1", tmp_path / "data"
    files.mkdir()
    logger = Logger(7)
    for number, (name, rows) in enumerate(itertools.islice(logger.days(2021), 100)):
        path = files / name
        match number:
            case 10:
                path.write_text(text(OLD_HEADER, rows))
            case 20:
                path.write_text(text(HEADER_WITH_SPACES, rows))
            case 30:  # started again in the middle of the day
                path.write_text(text(HEADER, [*rows[:100], "", HEADER, *rows[100:]]))
            case 40:  # the power failed while a row was written …
                path.write_text(text(HEADER, rows) + "2021-02-10 23:59:40.000000,13.35,0.0")
            case 41:  # … with its last digit missing, and nothing else
                path.write_text(text(HEADER, rows) + ",".join(["2021-02-11 23:59:59", *["1.2"] * 12]))
            case 50:  # blocks that never reached the card
                path.write_bytes(text(HEADER, rows).encode() + b"\0" * 4096)
            case 60:
                path.write_text(text(HEADER, rows).replace("\n", "\r\n"))
            case 70:
                path.write_bytes(gzip.compress(text(HEADER, rows).encode()))
            case 80:
                bad = "2021-03-22 12:00:00.5,x,0.08,1.09,0.0,12.15,0.09,1.09,0.0,12.15,0.18,2.18,0.38"
                path.write_text(text(HEADER, [bad, bad.replace(",x,", ",nan,"), bad.replace(",x,", ",-5.0,"), *rows]))
            case 90:
                path.write_text(text(HEADER, ["2021-13-45 99:00:00,1,1,1,1,1,1,1,1,1,1,1,1", *rows]))
            case _:
                path.write_text(text(HEADER, rows))
    (files / "tracerData2022-01-01.csv").touch()
    (files / "poe.log").write_text("INFO:root:2021-06-29 13:39:37.599494")
    assert number == 99

    result = command("import", "tracer", files, "--data", data, *OPTIONS)
    assert result.exit_code == 0, result.output
    rows_in_all = len(logger.expected["roof/tracer/pv_power"])
    assert f"{rows_in_all:,} readings of 10 series imported" in result.stdout
    for sentence in (
        "set aside 1 times: a row with more or fewer cells than the header",
        "set aside 1 times: the last line has no end",
        "set aside 1 times: zero bytes",
        "set aside 1 times: a cell that is not a number",
        "set aside 2 times: a number that no register holds",
        "set aside 1 times: not a time",
        "tracerData2021-03-22.csv:2: a cell that is not a number: '2021-03-22 12:00:00.5,x,",
    ):
        assert sentence in result.stderr
    assert result.stderr.count("set aside") == 6
    assert difference(everything(data), logger.expected) is None
    assert meanings(data) == {
        f"roof/tracer/{channel}": (unit, "gauge", 0.0) for channel, unit in tracer_files.UNITS.items()
    }

    done("import", "tracer", files, "--data", data, *OPTIONS)
    assert difference(everything(data), logger.expected) is None


def test_both_hours_of_the_night_when_the_clocks_go_back_keep_their_order(tmp_path: Path) -> None:
    logger = Logger(1)
    start = datetime(2021, 11, 7, 4, 30, tzinfo=UTC)  # 00:30 in New York; at 06:00 UTC it is 01:00 again
    rows = [logger.row(start + timedelta(minutes=10 * i)) for i in range(24)]
    assert sum(" 01:30:00" in row for row in rows) == 2
    path = tmp_path / "tracerData2021-11-07.csv"
    path.write_text(text(HEADER, rows))
    done("import", "tracer", path, "--data", tmp_path, *OPTIONS)
    assert difference(everything(tmp_path), logger.expected) is None


def test_a_clock_that_was_set_back_in_the_middle_of_a_file_loses_no_row(tmp_path: Path) -> None:
    logger = Logger(2)
    late = [logger.row(datetime(2020, 8, 2, 21, 50 + i, tzinfo=UTC)) for i in range(2)]
    early = [logger.row(datetime(2020, 8, 2, 16, 59 - i, tzinfo=UTC)) for i in range(20)]
    path = tmp_path / "tracerData2020-08-02.csv"
    path.write_text(text(OLD_HEADER, late + early))
    done("import", "tracer", path, "--data", tmp_path, *OPTIONS)
    assert everything(tmp_path) == {name: sorted(points) for name, points in logger.expected.items()}


def test_the_channels_are_those_of_the_model_that_the_poller_reads() -> None:
    model = tomllib.loads((ROOT / "services/modbus_poller/devices/epever_tracer.toml").read_text())["channels"]
    registers = {
        "pvvoltage": 0x3100,
        "pvcurrent": 0x3101,
        "pvpowerl": 0x3102,
        "batteryvoltage": 0x3104,
        "batterycurrent": 0x3105,
        "batterypowerl": 0x3106,
        "loadvoltage": 0x310C,
        "loadcurrent": 0x310D,
        "loadpower": 0x310E,
        "batterypercentage": 0x311A,
    }
    for channel, (columns, *_) in tracer_files.COLUMNS.items():
        assert model[channel]["address"] == registers[columns[0]]
        assert model[channel]["unit"] == tracer_files.UNITS[channel]
        assert model[channel].get("scale", 1) == (0.01 if channel in tracer_files.HUNDREDTHS else 1)
        assert len(columns) == 1 or model[channel]["type"] == "uint32"


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100_000, b"\xff\xfe" * 1000, b"," * 70_000, b"datetime\n1\n", b"\x1f\x8b\x08broken", b"a,b\n1,2\n"],
)
def test_a_file_of_something_else_is_refused_and_nothing_breaks(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tracerData2021-01-01.csv"
    path.write_bytes(content)
    result = command("import", "tracer", path, "--data", tmp_path / "data", *OPTIONS)
    assert result.exit_code == 1
    assert "no reading was found" in result.stderr


def test_an_unknown_time_zone_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    result = command(
        "import", "tracer", tmp_path, "--data", tmp_path / "d", "--node", "a", "--device", "b", "--tz", "Mars"
    )
    assert result.exit_code != 0
    assert "Mars" in result.stderr
    assert not (tmp_path / "d").exists()


def test_the_oldest_files_have_their_columns_in_alphabetical_order(tmp_path: Path) -> None:
    path = tmp_path / "tracerData2020-08-04.csv"
    path.write_text(
        "PV current,PV power H,PV power L,PV voltage,battery percentage,battery voltage,charge current,charge power H,"
        "charge power L,date,load current,load power,load voltage,time\n"
        "0.11,0.0,1.5,13.25,0.61,12.75,0.12,0.01,1.5,2020-01-13 16:16:38.680147,0.37,4.65,12.59,16:16:38.680034\n"
    )
    done("import", "tracer", path, "--data", tmp_path / "data", *OPTIONS)
    time = datetime(2020, 1, 13, 16, 16, 38, 680_000, tzinfo=NEW_YORK).timestamp()
    assert everything(tmp_path / "data") == {
        f"roof/tracer/{channel}": [(time, value)]
        for channel, value in {
            "pv_voltage": 13.25,
            "pv_current": 0.11,
            "pv_power": 1.5,
            "battery_voltage": 12.75,
            "charge_current": 0.12,
            "charge_power": 656.86,
            "load_voltage": 12.59,
            "load_current": 0.37,
            "load_power": 4.65,
            "battery_soc": 61.0,
        }.items()
    }
