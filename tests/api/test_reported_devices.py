"""What is remembered of devices that report over HTTP."""

from pathlib import Path

import pytest

from heliograph.messages import Channel, Info, Value
from services.api.ingest.reported_devices import ReportedDevices
from services.api.ingest.reports import Report


class Clock:
    """Seconds since some moment, long before the start."""

    def __init__(self) -> None:
        self.seconds = 5_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def devices(tmp_path: Path, clock: Clock) -> ReportedDevices:
    return ReportedDevices(tmp_path / "devices.json", clock)


@pytest.mark.parametrize(
    ("interval", "silence"), [(0.0, 86_400.0), (100.0, 300.0), (20.0, 60.0), (1.0, 60.0), (21.0, 63.0)]
)
def test_a_device_is_silent_once_after_three_intervals_a_minute_or_a_day(
    devices: ReportedDevices, clock: Clock, interval: float, silence: float
) -> None:
    for _ in range(2):  # a device that reports again may be silent again
        devices.update(Report("a", {"x": 1}, interval=interval))
        clock.seconds += silence
        assert devices.silent() == []
        clock.seconds += 0.5
        assert devices.silent() == ["a"]
        assert devices.silent() == []


def test_the_silence_of_a_device_that_is_remembered_begins_with_the_start(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "devices.json"
    first = ReportedDevices(file, clock)
    for device, interval in (("a", 100.0), ("b", 0.0)):
        first.update(Report(device, {"x": 1}, interval=interval))
    first.save(first.take_unsaved() or {})
    again = ReportedDevices(file, clock)
    assert again.silent() == []
    clock.seconds += 301
    assert again.silent() == ["a"]
    assert (again.infos, again.take_unsaved()) == (first.infos, None)


@pytest.mark.parametrize(
    ("value", "kind"), [(True, "state"), (False, "state"), (0, "gauge"), (1.5, "gauge"), ("on", "text")]
)
def test_a_channel_without_a_description_has_the_kind_of_its_value(
    devices: ReportedDevices, value: Value, kind: str
) -> None:
    info = devices.update(Report("a", {"x": value}))
    assert info is not None
    assert (info.channels["x"].kind, info.model, info.interval, info.service) == (kind, "HTTP", 0.0, "api")


def test_what_a_device_is_is_returned_only_when_it_has_changed(devices: ReportedDevices) -> None:
    described = {"x": Channel("W", "counter")}
    assert devices.update(Report("a", {"x": 1}, channels=described, model="ESP32", interval=60.0)) == Info(
        "ESP32", described, 60.0, "api"
    )
    assert devices.update(Report("a", {"x": 2})) is None
    assert devices.update(Report("a", {"y": 2}, interval=30.0)) == Info(
        "ESP32", described | {"y": Channel()}, 30.0, "api"
    )
    assert devices.update(Report("a", {"y": 2}, model="ESP8266")) == devices.infos["a"]
    assert devices.infos["a"].model == "ESP8266"


def test_what_is_not_in_the_file_is_taken_once_and_again_after_the_disk_refused(
    devices: ReportedDevices, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "devices.json"
    assert devices.take_unsaved() is None
    devices.update(Report("a", {"x": 1}))
    taken = devices.take_unsaved()
    assert taken == devices.infos
    assert taken is not devices.infos  # it is written in another thread
    assert devices.take_unsaved() is None
    file.mkdir()
    devices.save(taken)
    assert caplog.text.count("cannot remember the devices") == 1
    assert devices.take_unsaved() == taken
    file.rmdir()
    devices.save(taken)
    assert devices.take_unsaved() is None
    assert ReportedDevices(file).infos == taken
