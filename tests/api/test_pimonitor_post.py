import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from heliograph.messages import Channel
from services.api.errors import RequestRefused
from services.api.ingest import pimonitor
from tests.api.receiver import KEY, Receiver, receiver_at

HASH = hashlib.sha256(KEY.encode()).hexdigest()
SENSOR = {"sensorType": "DHT22", "temperature": 70.52, "humidity": 41.3}
C38: dict[str, Any] = {"api_hash": HASH, "location": "attic", "timestamp": "02/25/2021 19:04:56", "sensors": [SENSOR]}
SECONDS = 1614297896.0  # 2021-02-26 00:04:56 UTC
SUCCESS = "[02/25/2021 19:04:56] Successfully received and inserted into database."
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture
def receiver(tmp_path: Path, data: Path) -> Iterator[Receiver]:
    with receiver_at(tmp_path) as made:
        yield made


def post(receiver: Receiver, **changes: Any) -> httpx.Response:
    content = {name: value for name, value in {**C38, **changes}.items() if value is not None}
    headers = {"content-type": "application/json", "accept": "text/plain"}
    return receiver.post("/", key="", content=json.dumps(content), headers=headers)


def parts(answer: httpx.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.headers["content-type"], answer.text


def test_a_report_is_answered_as_the_original_does(receiver: Receiver) -> None:
    assert parts(post(receiver)) == (200, "text/html; charset=utf-8", SUCCESS)
    assert receiver.producer.readings == [("attic", {"temperature": 21.4, "humidity": 41.3}, SECONDS)]
    info = receiver.producer.infos["attic"]
    assert info.model == "pimonitor DHT22"
    assert info.channels == {"temperature": Channel("°C"), "humidity": Channel("%")}


def test_every_sensor_of_a_report_is_stored(receiver: Receiver) -> None:
    sensors = [SENSOR, {**SENSOR, "temperature": 32}, {"sensorType": "BMP180", "pressure": 1013}]
    assert post(receiver, sensors=sensors).status_code == 200
    assert [(device, values) for device, values, _ in receiver.producer.readings] == [
        ("attic", {"temperature": 21.4, "humidity": 41.3}),
        ("attic_2", {"temperature": 0, "humidity": 41.3}),
        ("attic_3", {"pressure": 1013}),
    ]


def test_two_locations_with_one_name_are_never_one_device(receiver: Receiver) -> None:
    assert post(receiver, location="Attic", sensors=[SENSOR, SENSOR]).status_code == 200
    for location in ("attic_2", "attic 2"):
        answer = post(receiver, location=location)
        assert answer.status_code == 422
        assert (
            answer.text == f"sensor 1: '{location}' would be called attic_2, which is the name of 'sensor 2 of Attic'"
        )
    assert post(receiver, location="x" * 70).status_code == 200
    assert [device[:9] for device, _, _ in receiver.producer.readings] == ["attic", "attic_2", "x" * 9]


def test_the_hash_of_the_key_is_checked(receiver: Receiver) -> None:
    for wrong in (None, "", 7, KEY, "0" * 64, "\u00fc"):
        answer = post(receiver, api_hash=wrong)
        assert answer.status_code == 401, wrong
        assert answer.headers["content-type"].startswith("text/plain")
    assert receiver.producer.readings == []
    assert post(receiver, api_hash=HASH.upper()).status_code == 200


def test_a_form_gets_the_response_of_the_original(receiver: Receiver) -> None:
    answer = receiver.post("/", key="", data={"location": "attic"})
    assert parts(answer) == (415, "text/plain; charset=utf-8", "An unexpected error occured.  Try again.")


def test_what_was_not_inserted_is_not_called_success(receiver: Receiver) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"location": None}, "location"),
        ({"location": "%"}, "location"),
        ({"timestamp": None}, "timestamp"),
        ({"timestamp": "31/31/2021"}, "timestamp: '31/31/2021' is not a time"),
        ({"timestamp": "01/01/0001 00:00:00"}, "timestamp"),
        ({"timestamp": "01/01/2099 00:00:00"}, "in the future"),
        ({"timestamp": 7}, "timestamp"),
        ({"sensors": None}, "sensors"),
        ({"sensors": []}, "sensors"),
        ({"sensors": [7]}, "sensor 1: not an object"),
        ({"sensors": [{"sensorType": "DHT22"}]}, "sensor 1: no values"),
        ({"sensors": [{"temperature": "warm"}]}, "sensor 1: 'temperature': 'warm' is not a number"),
    ]
    for changes, words in cases:
        answer = post(receiver, **changes)
        assert answer.status_code == 422
        assert words in answer.text
    assert receiver.producer.readings == []
    assert HASH not in str(receiver.aside)
    assert len(receiver.aside) == 12


def test_good_sensors_of_a_report_are_kept(receiver: Receiver) -> None:
    answer = post(receiver, sensors=[SENSOR, {"temperature": "warm"}, {"temperature": None}])
    assert answer.status_code == 422
    assert answer.text == "sensor 2: 'temperature': 'warm' is not a number; the other sensors were inserted"
    assert len(receiver.producer.readings) == 1
    assert receiver.intake.counters()["no_value"] == 1


def test_bad_json_is_400_and_a_full_disk_503(receiver: Receiver) -> None:
    headers = {"content-type": "application/json"}
    for body in (b"", b"{", b"\xff", b"[" * 50_000):
        assert receiver.post("/", content=body, headers=headers).status_code == 400
    assert receiver.post("/", content=b"[]", headers=headers).status_code == 422
    receiver.producer.disk_is_full = True
    answer = post(receiver)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


def test_without_a_time_zone_reports_are_not_taken(tmp_path: Path, data: Path) -> None:
    with receiver_at(tmp_path, tz="") as receiver:
        answer = post(receiver)
        assert (answer.status_code, "set tz in [api.pimonitor]" in answer.text) == (404, True)


def test_the_hour_that_comes_twice_is_the_one_nearer_to_now() -> None:
    first, second = 1762061400.0, 1762065000.0  # 01:30 of 2 November 2025
    for now, expected in ((first + 5, first), (second + 5, second)):
        assert pimonitor.moment("11/02/2025 01:30:00", NEW_YORK, now) == (expected, "11/02/2025 01:30:00")


def test_the_hour_that_is_left_out_is_refused() -> None:
    with pytest.raises(RequestRefused, match="the clock was put forward"):
        pimonitor.moment("03/09/2025 02:30:00", NEW_YORK, 0)
