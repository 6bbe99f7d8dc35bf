import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from heliograph import durable
from heliograph.messages import Channel, Info, Value
from services.api.errors import Busy, RequestRefused
from services.api.ingest.intake import HttpIntake
from services.api.ingest.reported_devices import ReportedDevices
from services.api.ingest.reports import MOST_DEVICES, Report
from services.api.live import LiveState
from services.api.removed_devices import RemovedDevices
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


def test_a_device_that_reports_often_is_not_offline_before_a_minute_has_passed(tmp_path: Path) -> None:
    producer, seconds = MemoryProducer(), [0.0]
    intake = intake_at(tmp_path, producer, lambda: seconds[0])
    asyncio.run(intake.accept([Report("a", {"x": 1}, interval=5)]))
    for at, state in ((60, "online"), (60.5, "offline")):
        seconds[0] = at
        intake.mark_silent_devices()
        assert producer.states == {"a": state}


def test_a_device_that_has_not_reported_since_the_start_is_offline_in_the_end(tmp_path: Path) -> None:
    asyncio.run(intake_at(tmp_path, MemoryProducer()).accept([Report("fast", {"a": 1}, interval=100)]))
    producer, seconds = MemoryProducer(), [0.0]
    restarted = intake_at(tmp_path, producer, lambda: seconds[0])
    restarted.mark_silent_devices()
    assert producer.states == {}
    seconds[0] = 301
    restarted.mark_silent_devices()
    assert producer.states == {"fast": "offline"}


def test_a_device_that_was_forgotten_is_gone_also_from_the_disk_until_it_reports_again(tmp_path: Path) -> None:
    file, removed_file = tmp_path / "api" / "devices.json", tmp_path / "removed.json"

    def started() -> tuple[HttpIntake, LiveState, MemoryProducer]:
        producer, live = MemoryProducer(), LiveState(removed=RemovedDevices(removed_file))
        return HttpIntake(producer, live, "roof", file), live, producer

    def forget(live: LiveState) -> None:
        live.update("heliograph/roof/devices/attic/info", b'{"model": "HTTP", "channels": {}}')
        live.update("heliograph/roof/devices/attic/info", b"")

    intake, live, _ = started()
    asyncio.run(intake.accept([Report("attic", {"a": 1}), Report("cellar", {"a": 1})]))
    forget(live)  # and the process is killed at once
    intake, live, producer = started()
    assert not intake.knows("attic")
    assert producer.infos.keys() == {"cellar"}
    asyncio.run(intake.accept([Report("attic", {"a": 1})]))
    live.update("heliograph/roof/devices/attic/state", b'{"time": 1, "values": {"a": 1}}')
    assert started()[2].infos.keys() == {"attic", "cellar"}
    forget(live)
    asyncio.run(intake.forget_removed_devices())
    assert b"attic" not in file.read_bytes()
    assert started()[2].infos.keys() == {"cellar"}


def test_a_sender_waits_a_limited_time_for_the_disk(tmp_path: Path) -> None:
    producer = MemoryProducer()
    intake = HttpIntake(producer, LiveState(), "roof", tmp_path / "api" / "devices.json", durable_seconds=0.05)

    async def asked() -> None:
        with pytest.raises(
            Busy, match=r"has not confirmed the readings within 0\.05 s; send them again, with the same"
        ):
            await intake.accept([Report("a", {"x": 1})], durable=True)
        producer.may_flush.set()
        await intake.accept([Report("a", {"x": 1})])

    producer.may_flush.clear()
    asyncio.run(asked())
    assert (producer.flushes, producer.forced) == (2, 0)


def test_the_file_of_devices_is_never_that_of_an_earlier_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender that waits for the disk and one that does not are served at the same time; the file is written one by one."""
    intake = intake_at(tmp_path, MemoryProducer())
    begun, may_write = threading.Event(), threading.Event()
    write = durable.write

    def slow_at_first(path: Path, content: bytes) -> None:
        if not begun.is_set():
            begun.set()
            assert may_write.wait(30)
        write(path, content)

    async def both() -> None:
        first = asyncio.create_task(intake.accept([Report("a", {"x": 1})]))
        assert await asyncio.to_thread(begun.wait, 30)
        second = asyncio.create_task(intake.accept([Report("b", {"x": 1})], durable=True))
        await asyncio.wait([second], timeout=0.05)  # without the order it would be through, and overwritten then
        may_write.set()
        await asyncio.gather(first, second)

    monkeypatch.setattr(durable, "write", slow_at_first)
    asyncio.run(both())
    assert list(ReportedDevices(tmp_path / "api" / "devices.json").infos) == ["a", "b"]


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


def test_the_newest_value_of_a_channel_is_that_of_the_latest_time_not_ahead_of_a_clock_that_is_right(
    tmp_path: Path,
) -> None:
    is_right = [True]
    intake = HttpIntake(
        MemoryProducer(),
        LiveState(),
        "roof",
        tmp_path / "devices.json",
        clock_is_right=lambda: is_right[0],
        now=lambda: 100.0,
    )

    def newest_after(at: float | None, **values: int) -> dict[str, tuple[float, Value]]:
        asyncio.run(intake.accept([Report("a", values, at)]))
        return dict(intake.newest("a"))

    assert newest_after(None, x=1) == {}
    assert newest_after(50.0, x=2, y=2) == {"x": (50.0, 2), "y": (50.0, 2)}
    assert newest_after(49.0, x=3, z=3) == {"x": (50.0, 2), "y": (50.0, 2), "z": (49.0, 3)}
    assert newest_after(50.0, x=4)["x"] == (50.0, 4)  # sent again, corrected
    assert newest_after(100.1, x=5)["x"] == (50.0, 4)
    assert newest_after(100.0, x=6)["x"] == (100.0, 6)
    is_right[0] = False
    assert newest_after(1000.0, x=7)["x"] == (1000.0, 7)
    assert intake.newest("b") == {}


def test_the_newest_value_of_a_device_of_this_node_comes_from_the_bus(tmp_path: Path) -> None:
    live = LiveState()
    intake = HttpIntake(MemoryProducer(), live, "roof", tmp_path / "devices.json")
    assert intake.newest_value("a", "x") is None
    live.update("heliograph/roof/devices/a/state", b'{"time": 1763634000.0, "values": {"x": 7}}')
    live.update("heliograph/barn/devices/b/state", b'{"time": 1763634000.0, "values": {"x": 8}}')
    assert intake.newest_value("a", "x") == 7
    assert intake.newest_value("a", "y") is None
    assert intake.newest_value("b", "x") is None


def test_a_report_is_refused_with_the_place_where_it_is_for_a_device_of_another_service_only(tmp_path: Path) -> None:
    live = LiveState()
    intake = HttpIntake(MemoryProducer(), live, "roof", tmp_path / "devices.json")
    report = Report("a", {"x": 1})
    live.update("heliograph/roof/devices/a/availability", b"online")
    for service in ("", "api"):
        live.update(
            "heliograph/roof/devices/a/info", b'{"model": "", "channels": {}, "service": "%s"}' % service.encode()
        )
        intake.check(report)
    live.update("heliograph/roof/devices/a/info", b'{"model": "", "channels": {}, "service": "calculator"}')
    for where, start in (("", "device: a is"), ("[3]", "[3].device: a is")):
        with pytest.raises(RequestRefused, match="published by calculator") as refused:
            intake.check(report, where)
        assert str(refused.value).startswith(start)
    intake.check(Report("b", {"x": 1}))


def test_a_channel_of_numbers_stays_one_of_numbers(tmp_path: Path) -> None:
    intake = intake_at(tmp_path, MemoryProducer())
    asyncio.run(intake.accept([Report("a", {"x": 1, "mode": "heat"})]))
    for values in ({"x": "heat"}, {"mode": 1}):
        with pytest.raises(RequestRefused, match="does not fit a channel of kind"):
            intake.check(Report("a", values))
    intake.check(Report("a", {"x": 2.5, "mode": "off"}))


def test_reports_without_values_are_counted_and_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    producer = MemoryProducer()
    intake = intake_at(tmp_path, producer)
    asyncio.run(intake.accept([Report("a", {}, missing=2), Report("b", {}, missing=1)]))
    assert producer.flushes == 0
    assert intake.counters() == {"readings_http": 0, "devices_http": 0, "no_value": 3}
    asyncio.run(intake.accept([Report("a", {"x": 1}, missing=1), Report("b", {"x": 1})]))
    assert producer.flushes == 1
    assert intake.counters() == {"readings_http": 2, "devices_http": 2, "no_value": 4}


def test_what_devices_are_is_published_again_after_a_start_and_with_each_change(tmp_path: Path) -> None:
    first = MemoryProducer()
    asyncio.run(intake_at(tmp_path, first).accept([Report("a", {"x": 1}, model="ESP32", interval=60.0)]))
    again = MemoryProducer()
    intake = intake_at(tmp_path, again)
    assert again.infos == first.infos == {"a": Info("ESP32", {"x": Channel()}, 60.0, "api")}
    again.infos.clear()
    asyncio.run(intake.accept([Report("a", {"x": 2})]))
    assert again.infos == {}
    asyncio.run(intake.accept([Report("a", {"x": 2}, channels={"x": Channel("W")})]))
    assert again.infos == {"a": Info("ESP32", {"x": Channel("W")}, 60.0, "api")}


def test_a_disk_that_refused_is_not_asked_again_at_once(tmp_path: Path) -> None:
    producer, seconds = MemoryProducer(), [10.0]
    intake = intake_at(tmp_path, producer, lambda: seconds[0])
    producer.disk_is_full = True
    for _ in range(5):
        with pytest.raises(Busy) as busy:
            asyncio.run(intake.accept([Report("a", {"a": 1})]))
        assert busy.value.status == 503
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


def test_the_first_start_without_a_file_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert intake_at(tmp_path, MemoryProducer()).counters()["devices_http"] == 0
    assert caplog.text == ""


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b'{"a": 7}', b'{"\xff": {}}', b"\xff", b'{"a": {"model": "\xff"}}']
)
def test_a_start_with_a_file_that_cannot_be_read_knows_no_device_and_says_so(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "api" / "devices.json"
    file.parent.mkdir()
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    assert intake_at(tmp_path, MemoryProducer()).counters()["devices_http"] == 0
    assert caplog.text.count("devices.json is not readable") == 1


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
