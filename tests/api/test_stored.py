from collections.abc import Iterator

import httpx
import pytest

from heliograph.errors import StoreAway
from heliograph.store.interface import Reader, Series
from tests.api.conftest import START, Running
from tests.api.memory import MemoryReader, checked

POWER = Series(1, "roof", "tracer", "pv_power", "W", "gauge")
DOOR = Series(2, "shed", "door", "open", "", "state")
NEW = Series(3, "shed", "door", "battery", "V", "gauge")


@pytest.fixture
def reader() -> MemoryReader:
    return MemoryReader([POWER, DOOR, NEW], [(START, 1, 5.0), (START + 60, 2, True)])


@pytest.fixture
def site(reader: MemoryReader) -> Iterator[Running]:
    running = Running(lambda: checked(reader))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def http(site: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{site.port}/api/v1", timeout=30, verify=False) as client:
        yield client


def test_a_series_without_a_reading_since_the_start_has_the_value_of_the_store(http: httpx.Client) -> None:
    assert http.get("/latest", params={"series": "*/*/*"}).json() == {
        "roof/tracer/pv_power": {"time": START, "value": 5.0, "unit": "W"},
        "shed/door/battery": {"time": None, "value": None, "unit": "V"},
        "shed/door/open": {"time": START + 60, "value": True, "unit": ""},
    }


@pytest.mark.parametrize(("stored", "value"), [(START + 35_999, 8.0), (START + 36_000, 8.0), (START + 36_001, 5.0)])
def test_the_newest_of_bus_and_store_wins(
    site: Running, http: httpx.Client, reader: MemoryReader, stored: float, value: float
) -> None:
    reader.points = [(stored, 1, 5.0)]
    site.state("tracer", pv_power=8.0)  # at START + 36000
    assert http.get("/latest", params={"series": POWER.name}).json()[POWER.name]["value"] == value


def test_a_part_of_the_store_that_cannot_be_read_is_shown_and_the_rest_serves(
    http: httpx.Client, reader: MemoryReader
) -> None:
    reader.damages = ["history-2019.db cannot be read"]
    answer = http.get("/health")
    assert answer.status_code == 200
    health = answer.json()
    assert (health["status"], health["store"], health["bus"]) == ("degraded", True, True)
    assert [problem["summary"] for problem in health["problems"]] == ["history-2019.db cannot be read"]
    assert "history-2019.db" in health["detail"]
    reader.damages = []
    assert http.get("/health").json()["status"] == "ok"


def test_without_the_store_health_has_the_reason_and_latest_the_live_values() -> None:
    def away() -> Reader:
        raise StoreAway("no database at …")

    running = Running(away)
    running.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}/api/v1", timeout=30, verify=False) as client:
        answer = client.get("/health")
        latest = client.get("/latest", params={"series": "*/*/*"})
    running.stop()
    assert answer.status_code == 503
    assert "no database at …" in answer.json()["detail"]
    assert (latest.status_code, latest.json()) == (200, {})
