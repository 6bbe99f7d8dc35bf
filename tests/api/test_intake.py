import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from services.api.errors import Busy, RequestRefused
from services.api.ingest.intake import HttpIntake
from services.api.ingest.reported_devices import ReportedDevices
from services.api.ingest.reports import MOST_DEVICES, Report
from services.api.live import LiveState
from tests.api.receiver import MemoryProducer


def intake_at(folder: Path, producer: MemoryProducer, now: Callable[[], float] = lambda: 0.0) -> HttpIntake:
    return HttpIntake(producer, LiveState(), "roof", folder / "api" / "devices.json", monotonic=now)


def test_a_device_that_is_silent_for_three_intervals_is_offline_until_it_speaks(tmp_path: Path) -> None:
    producer, seconds = MemoryProducer(), [0.0]
    intake = intake_at(tmp_path, producer, lambda: seconds[0])
    asyncio.run(intake.accept([Report("fast", {"a": 1}, interval=100), Report("rare", {"a": 1})]))
    for at, fast, rare in [
        (299, "online", "online"),
        (301, "offline", "online"),
        (86_399, "offline", "online"),
        (86_401, "offline", "offline"),
    ]:
        seconds[0] = at
        intake.mark_silent_devices()
        assert producer.states == {"fast": fast, "rare": rare}
    asyncio.run(intake.accept([Report("fast", {"a": 1})]))
    assert producer.states["fast"] == "online"


def test_a_device_that_has_not_reported_since_the_start_is_offline_in_the_end(tmp_path: Path) -> None:
    asyncio.run(intake_at(tmp_path, MemoryProducer()).accept([Report("fast", {"a": 1}, interval=100)]))
    producer, seconds = MemoryProducer(), [0.0]
    restarted = intake_at(tmp_path, producer, lambda: seconds[0])
    restarted.mark_silent_devices()
    assert producer.states == {}
    seconds[0] = 301
    restarted.mark_silent_devices()
    assert producer.states == {"fast": "offline"}


def test_there_is_an_end_to_devices(tmp_path: Path) -> None:
    producer = MemoryProducer()
    intake = intake_at(tmp_path, producer)
    asyncio.run(intake.accept([Report(f"d{number}", {"a": 1}) for number in range(MOST_DEVICES)]))
    with pytest.raises(RequestRefused, match=f"there are {MOST_DEVICES} devices already"):
        asyncio.run(intake.accept([Report("one_more", {"a": 1})]))
    asyncio.run(intake.accept([Report("d7", {"a": 2})]))
    assert len(producer.readings) == MOST_DEVICES + 1


def test_readings_that_are_valid_one_by_one_are_refused_if_they_are_not_together(tmp_path: Path) -> None:
    producer = MemoryProducer()
    intake = intake_at(tmp_path, producer)
    many = [Report("a", {f"c{number}": number}) for number in range(257)]
    for reports, words in (
        (many, "at most 256 channels"),
        ([Report("a", {"b": 1}), Report("a", {"b": "x"})], "text there"),
    ):
        for report in reports:
            intake.check(report)
        with pytest.raises(RequestRefused, match=words):
            asyncio.run(intake.accept(reports))
    assert producer.readings == []


def test_a_disk_that_refused_is_not_asked_again_at_once(tmp_path: Path) -> None:
    producer, seconds = MemoryProducer(), [10.0]
    intake = intake_at(tmp_path, producer, lambda: seconds[0])
    producer.disk_is_full = True
    for _ in range(5):
        with pytest.raises(Busy):
            asyncio.run(intake.accept([Report("a", {"a": 1})]))
    assert len(producer.readings) == 1  # the producer keeps it and tries again; repeats do not pile up
    producer.disk_is_full = False
    seconds[0] += 2
    asyncio.run(intake.accept([Report("a", {"a": 1})]))
    assert intake.readings == 1


def test_only_a_report_that_changes_its_device_writes_the_file_and_what_the_disk_refused_comes_with_the_next(
    tmp_path: Path,
) -> None:
    intake, file = intake_at(tmp_path, MemoryProducer()), tmp_path / "api" / "devices.json"

    def saved(report: Report) -> tuple[int, list[str]]:
        asyncio.run(intake.accept([report]))
        return (file.stat().st_mtime_ns, sorted(ReportedDevices(file).infos)) if file.exists() else (0, [])

    first = saved(Report("a", {"x": 1}))
    assert first[1] == ["a"]
    assert saved(Report("a", {"x": 2})) == first
    assert saved(Report("a", {"x": 3}, time=1763634000.0, interval=0.0)) == first
    assert saved(Report("b", {"x": 1}))[1] == ["a", "b"]
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("in the way")
    assert saved(Report("c", {"x": 1})) == (0, [])
    file.parent.unlink()
    assert saved(Report("a", {"x": 4}))[1] == ["a", "b", "c"]  # which changes nothing itself


def test_a_file_that_is_damaged_or_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "api" / "devices.json"
    file.parent.mkdir()
    file.write_bytes(b'{"a": 7}')
    intake = intake_at(tmp_path, MemoryProducer())
    assert "is not readable" in caplog.text
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("in the way")
    asyncio.run(intake.accept([Report("a", {"a": 1})]))
    assert "cannot remember the devices" in caplog.text
    assert intake.knows("a")
