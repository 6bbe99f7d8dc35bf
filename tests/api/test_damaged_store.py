"""What the API answers while a page of a year is damaged."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliograph.messages import Block, Channel, Info
from heliograph.store import folder, history, open_reader, open_writer
from heliograph.store.damage import Damage
from tests.api.conftest import Running

DAY = 86_400
START = 1_704_067_200  # 2024-01-01 00:00 UTC
DAYS, PER_DAY = 40, 30  # too few for cells


def damaged_page(path: Path) -> None:
    """Overwrite 3,000 bytes of a page of chunks: its head stays, so that SQLite finds no fault, and no rows."""
    with closing(sqlite3.connect(path)) as db:
        (block,) = db.execute("SELECT v FROM chunk ORDER BY k LIMIT 1 OFFSET 20").fetchone()
    content = bytearray(path.read_bytes())
    begin = content.index(block) // history.PAGE * history.PAGE + 1096
    content[begin : begin + 3000] = random.Random(1).randbytes(3000)
    path.write_bytes(content)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with closing(open_writer(tmp_path, now=lambda: START + (DAYS + 1) * DAY)) as writer:
        writer.declare("roof", "meter", Info("", {"power": Channel("W"), "other": Channel("W")}))
        chance = random.Random(2)
        rows = [[START + n * DAY / PER_DAY, chance.random(), chance.random()] for n in range(DAYS * PER_DAY)]
        assert writer.write("roof", [Block("meter", ("power", "other"), rows)]) == []
        writer.commit({})
        writer.settle()
    damaged_page(history.file(folder(tmp_path), 2024))
    running = Running(partial(open_reader, tmp_path, damage=Damage()))
    running.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}/api/v1", timeout=10) as opened:
        yield opened
    running.stop()


def series(client: httpx.Client, **more: str) -> dict[str, Any]:
    asked = {"series": "roof/meter/power", "from": str(START), "to": str(START + DAYS * DAY), **more}
    answer = client.get("/series", params=asked)
    assert answer.status_code == 200
    content: dict[str, Any] = answer.json()
    return content


def test_an_answer_that_lacks_points_says_so_and_health_too_and_the_log_once(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):
        raw = series(client)
        assert "history-2024.db" in str(raw["damaged"])
        times = raw["series"]["roof/meter/power"]["time"]
        assert 0 < len(times) < DAYS * PER_DAY
        assert "history-2024.db" in str(
            series(client, bucket="7m", functions="mean,n", to=str(START + 35 * DAY))["damaged"]
        )
        health = client.get("/health")
        assert health.status_code == 200
        (problem,) = [one for one in health.json()["problems"] if one["code"] == "store_problem"]
        assert problem["summary"].startswith("history-2024.db")
        assert "heliograph store salvage" in problem["summary"]
    assert len([line for line in caplog.messages if "history-2024.db" in line]) == 1


def test_an_answer_beside_the_damage_is_as_ever(client: httpx.Client) -> None:
    series(client)
    start, end = START + (DAYS - 2) * DAY, START + DAYS * DAY
    beside = series(client, series="roof/meter/other", **{"from": str(start), "to": str(end)})
    assert "damaged" not in beside
    assert len(beside["series"]["roof/meter/other"]["time"]) == 2 * PER_DAY


def test_an_export_that_lacks_points_breaks_off_after_all_that_can_be_read(client: httpx.Client) -> None:
    asked = {"series": "roof/meter/power", "from": str(START), "to": str(START + DAYS * DAY)}
    lines: list[str] = []
    with client.stream("GET", "/export", params=asked, headers={"accept-encoding": "identity"}) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            lines.extend(answer.iter_lines())
    raw = series(client)["series"]["roof/meter/power"]
    assert len(raw["time"]) == len(lines) - 1
