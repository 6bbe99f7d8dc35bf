import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import ModbusSerialClient

import simulator
from simulator import SimulatorOptions, SitePlan
from simulator.replay import (
    COLUMNS,
    HEADER,
    LoggerRow,
    NoRowsError,
    Replay,
    line,
    parse,
    read,
    record,
)
from simulator.tracer import encode

DAY = datetime(2026, 6, 21, tzinfo=UTC)
SAMPLE = "2021-02-24 07:40:12.694530,13.35,0.08,1.09,0.0,12.15,0.09,1.09,0.0,12.15,0.18,2.18,0.38"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recorded") / "day.csv"
    file.write_text("\n".join(record(SitePlan(), DAY, 120, 720)) + "\n")
    return file


def test_a_row_of_the_logger_becomes_its_registers() -> None:
    row = parse(SAMPLE, ZoneInfo("America/New_York"))
    assert row.time == datetime(2021, 2, 24, 12, 40, 12, 694530, tzinfo=UTC)
    words = encode(Replay([row]).at(0))
    assert [words[address] for address in COLUMNS.values()] == [
        1335, 8, 109, 0, 1215, 9, 109, 0, 1215, 18, 218, 38,
    ]  # fmt: skip
    assert line(row) == SAMPLE


def test_a_power_beyond_one_word_keeps_both() -> None:
    row = parse(SAMPLE.replace("1.09,0.0,12.15,0.09", "344.64,0.01,12.15,0.09"), UTC)
    reading = Replay([row]).at(0)
    assert reading.pv_w == 1000.0
    assert (encode(reading)[0x3102], encode(reading)[0x3103]) == (34464, 1)


def test_every_row_of_a_day_comes_back_at_its_own_time(day: Path) -> None:
    replay = Replay(read([day], UTC))
    with day.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 720
    for number, row in enumerate(rows):
        moment = datetime.fromisoformat(row["datetime"]).replace(tzinfo=UTC)
        words = encode(replay.at(moment.timestamp() + (0, 119.9)[number % 2]))
        assert {name: words[at] / 100 for name, at in COLUMNS.items()} == {name: float(row[name]) for name in COLUMNS}


def test_the_first_and_the_last_row_stand_for_what_is_outside(day: Path) -> None:
    replay = Replay(read([day], UTC))
    assert replay.at(0).time == DAY
    assert replay.at(4e9).time == DAY + timedelta(minutes=2 * 719)


def test_energy_and_extremes_are_worked_out_of_the_rows(day: Path) -> None:
    replay = Replay(read([day], UTC))
    last = replay.at(4e9)
    assert 0.1 < last.generated.today < 2
    assert last.pv_range.high > 15
    totals = [replay.at(replay.start + 600 * i).consumed.total for i in range(144)]
    assert totals == sorted(totals)


def test_files_are_joined_by_time(tmp_path: Path) -> None:
    files = []
    for number in (2, 1):
        start = DAY + timedelta(hours=number)
        files.append(tmp_path / f"{number}.csv")
        files[-1].write_text("\n".join(record(SitePlan(), start, 120, 3)))
    times = [row.time for row in read(files, UTC)]
    assert times == sorted(times)
    assert len(times) == 6


def test_broken_lines_are_reported_and_the_rest_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "torn.csv"
    bad = [SAMPLE[:40], SAMPLE + ",1", SAMPLE.replace("13.35", "nan"), "\0\udcff"]
    file.write_bytes("\n".join([HEADER, *bad, SAMPLE, ""]).encode(errors="surrogateescape"))
    assert len(read([file], UTC)) == 1
    assert len(caplog.records) == len(bad)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.csv"
    file.write_text(HEADER)
    with pytest.raises(NoRowsError):
        read([file], UTC)


@given(st.text() | st.lists(st.text(max_size=8), min_size=13, max_size=13).map(",".join))
def test_any_line_is_a_row_or_a_value_error(text: str) -> None:
    try:
        assert isinstance(parse(text, UTC), LoggerRow)
    except ValueError:
        return


def test_a_replayed_row_is_read_through_the_pseudo_terminal(day: Path) -> None:
    rows = read([day], UTC)
    with (
        simulator.run(SimulatorOptions(replay=[day], speed=0.001)) as site,
        ModbusSerialClient(site.line.path, timeout=30) as client,
    ):
        answer = client.read_input_registers(0x3100, count=16, device_id=1)
        for address, word in rows[0].words.items():
            if address != 0x311A:
                assert answer.registers[address - 0x3100] == word
