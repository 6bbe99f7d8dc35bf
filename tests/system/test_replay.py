import csv
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

POLL_SECONDS = 0.1
COLUMNS = {
    "PV voltage": "pv_voltage",
    "PV current": "pv_current",
    "battery voltage": "battery_voltage",
    "battery current": "charge_current",
    "load voltage": "load_voltage",
    "load current": "load_current",
    "load power": "load_power",
}


def rows_of(path: Path) -> list[tuple[float, dict[str, float]]]:
    rows = []
    with path.open() as file:
        for row in csv.DictReader(file):
            moment = datetime.fromisoformat(row["datetime"]).replace(tzinfo=UTC).timestamp()
            values = {channel: float(row[column]) for column, channel in COLUMNS.items()}
            values["pv_power"] = round(float(row["PV power L"]) + 65536 * float(row["PV power H"]), 2)
            values["charge_power"] = round(float(row["battery power L"]) + 65536 * float(row["battery power H"]), 2)
            values["battery_soc"] = round(float(row["battery percentage"]) * 100)
            rows.append((moment, values))
    return rows


@pytest.fixture
def day(request: pytest.FixtureRequest, tmp_path: Path, processes: Any) -> Iterator[Path]:
    recorded = request.config.getoption("--day")
    if recorded:
        yield Path(recorded)
        return
    path = tmp_path / "day.csv"
    assert processes.start("simulator", "record", "--day", "2026-06-21", str(path)).wait() == 0
    yield path


def answer(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        return json.load(response)


@pytest.mark.timeout(1800)
def test_a_recorded_day_comes_out_of_the_api_with_its_numbers_and_times(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    broker: Any,
    processes: Any,
    eventually: Callable[..., Any],
    wrong_clock: Any,
    day: Path,
    free_ports: Callable[[], int],
) -> None:
    rows = rows_of(day)
    if not request.config.getoption("--full"):
        middle = len(rows) // 2
        rows = rows[middle : middle + 30]
    api_port = free_ports()
    config = tmp_path / "config.toml"
    config.write_text(
        f'[node]\nname = "pi1"\ndata = "{tmp_path / "data"}"\nclock = "trust"\n[broker]\nport = {broker.port}\n'
        f"[storage]\ncommit_seconds = 0.1\n[api]\nport = {api_port}\n"
        f'[[modbus_poller.lines]]\nport = "{tmp_path / "tracer"}"\nbaud = 115200\n'
        f'[[modbus_poller.lines.devices]]\nname = "tracer"\nmodel = "epever_tracer"\ninterval = {POLL_SECONDS}\n'
    )
    wrong_clock.say(rows[0][0])
    replay = ("--replay", str(day), "--replay-clock", "wall", "--link-folder", str(tmp_path))
    processes.start("simulator", *replay, **wrong_clock.environment)
    eventually((tmp_path / "tracer").exists)
    processes.start("services.storage", str(config), **wrong_clock.environment)
    processes.start("services.modbus_poller", str(config), **wrong_clock.environment)
    processes.start("services.api", str(config))

    def polled_since(moment: float) -> bool:
        try:
            latest = answer(api_port, "/api/v1/latest?series=pi1/tracer/pv_voltage")
        except OSError:
            return False
        newest = latest.get("pi1/tracer/pv_voltage", {"time": None})["time"]
        return newest is not None and newest >= moment

    for moment, _ in rows:
        wrong_clock.say(moment)
        eventually(lambda moment=moment: polled_since(moment), 30)
        time.sleep(POLL_SECONDS)
    end = rows[-1][0] + 60
    eventually(lambda: len(stored(api_port, "pv_voltage", rows[-1][0], end)) > 0)
    for channel in rows[0][1]:
        points = stored(api_port, channel, rows[0][0], end)
        for index, (moment, values) in enumerate(rows):
            following = rows[index + 1][0] if index + 1 < len(rows) else end
            mine = [(at, value) for at, value in points if moment <= at < following]
            assert mine, f"nothing at {moment}"
            at, value = mine[0]
            assert value == values[channel], f"{channel} of the row at {moment}"
            assert at - moment < 10, "the reading has the time of its row"


def stored(port: int, channel: str, start: float, end: float) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    cursor = ""
    while True:
        path = f"/api/v1/series?series=pi1/tracer/{channel}&from={start}&to={end}{cursor}"
        page = answer(port, path)
        series = page["series"].get(f"pi1/tracer/{channel}", {"time": [], "value": []})
        points += zip(series["time"], series["value"], strict=True)
        if page["next"] is None:
            return points
        cursor = f"&next={page['next']}"
