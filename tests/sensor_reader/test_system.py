import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliograph import units
from services.sensor_reader.errors import InvalidValue
from services.sensor_reader.sensor import ReadResult, read
from services.sensor_reader.sources import disk_writes, sysfs, system, throttling
from tests.sensor_reader.tree import SOC, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "root")
    tree.machine()
    return tree


def reading(tree: Tree) -> ReadResult:
    (sensor,) = system.discover(tree.root, tree.root)
    return read(sensor, lambda _: None)


def test_a_pi_reports_every_channel(tree: Tree) -> None:
    (sensor,) = system.discover(tree.root, tree.root)
    result = reading(tree)
    assert sensor.name == "system"
    assert sensor.model == "Raspberry Pi 4 Model B Rev 1.4"
    assert result.failure == ""
    values = result.values
    assert set(values) == set(sensor.channels)
    assert {name: values[name] for name in ("temperature", "memory_used", "memory_available", "load", "uptime")} == {
        "temperature": 48.686,
        "memory_used": 25.0,
        "memory_available": 768.0,
        "load": 0.42,
        "uptime": 7200.5,
    }
    assert values["swap_used"] == 0.0
    assert 0 <= float(values["disk_used"]) <= 100
    for channel in sensor.channels.values():
        assert units.spelled(channel.unit) == channel.unit


def test_the_flags_of_the_firmware_are_states(tree: Tree) -> None:
    values = reading(tree).values
    assert {name for name in throttling.BITS if values[name]} == {
        "under_voltage",
        "throttled",
        "under_voltage_since_boot",
        "throttled_since_boot",
    }


def test_a_pi_5_has_its_firmware_elsewhere(tree: Tree) -> None:
    (tree.root / SOC / "soc:firmware/get_throttled").unlink()
    tree.write("sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled", "0\n")
    assert reading(tree).values["under_voltage"] is False


def test_vcgencmd_is_used_where_the_kernel_has_no_flags(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree.root / SOC / "soc:firmware/get_throttled").unlink()
    tree.write("dev/vcio", "")
    command = tmp_path / "bin/vcgencmd"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50000\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    values = reading(tree).values
    assert (values["under_voltage"], values["under_voltage_since_boot"]) == (False, True)
    command.write_text("#!/bin/sh\necho VCHI initialization failed; exit 1\n")
    result = reading(tree)
    assert "vcgencmd failed" in result.failure
    assert "under_voltage" not in result.values
    assert "load" in result.values


def test_the_alarm_of_the_supply_driver_is_the_last_resort(tree: Tree) -> None:
    (tree.root / SOC / "soc:firmware/get_throttled").unlink()
    tree.hwmon(2, "platform/soc/x", "rpi_volt", in0_lcrit_alarm="1")
    values = reading(tree).values
    assert values["under_voltage"] is True
    assert "throttled" not in values


def test_a_machine_that_is_not_a_pi_reports_what_it_can(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "bare")
    assert set(reading(tree).values) == {"disk_used", "disk_free"}


def test_the_zone_of_the_processor_is_chosen_among_many(tree: Tree) -> None:
    tree.write("sys/class/thermal/thermal_zone0/type", "acpitz\n")
    tree.write("sys/class/thermal/thermal_zone1/type", "cpu-thermal\n")
    tree.write("sys/class/thermal/thermal_zone1/temp", "61000\n")
    assert reading(tree).values["temperature"] == 61.0


def test_a_file_that_cannot_be_read_affects_only_its_channels(tree: Tree) -> None:
    tree.write("proc/meminfo", "MemTotal: lots\n")
    tree.write("proc/loadavg", "")
    result = reading(tree)
    assert "load" not in result.values
    assert "memory_used" not in result.values
    assert "temperature" in result.values
    assert "meminfo" in result.invalid[0].why


def test_the_card_is_found_under_the_folder_with_the_data(tree: Tree) -> None:
    device = tree.root.stat().st_dev
    disk = tree.root / "sys/devices/pci/sda"
    tree.write(disk / "stat", "1 2 3 4 5 6 4000 8 9 10 11\n")
    tree.write(disk / "sda2/partition", "2\n")
    tree.write(disk / "sda2/stat", "1 2 3 4 5 6 7 8 9 10 11\n")
    tree.link(f"sys/dev/block/{os.major(device)}:{os.minor(device)}", disk / "sda2")
    assert disk_writes.disk(tree.root, tree.root) == disk / "stat"
    assert reading(tree).values["written"] == 2.0


def test_without_a_known_device_the_first_card_is_taken(tree: Tree) -> None:
    values = reading(tree).values
    assert values["written"] == 102.4
    assert values["written_per_day"] == pytest.approx(102.4 * 86400 / 7200.5, abs=0.1)


def test_writes_older_than_a_day_are_forgotten() -> None:
    daily = disk_writes.DailyWrites()
    assert daily.per_day(1800, 10_000_000) is None
    per_day = None
    for hour in range(1, 72):
        total = 500_000_000 + hour * 1_000_000  # a start with many writes, then a megabyte an hour
        per_day = daily.per_day(hour * 3600.0, total)
    assert per_day == pytest.approx(24_000_000)


def test_another_disk_restarts_the_rate() -> None:
    daily = disk_writes.DailyWrites()
    daily.per_day(90_000, 10_000_000)
    assert daily.per_day(91_000, 5_000) is None
    assert daily.per_day(94_700, 5_000) == 0.0


@given(st.text(max_size=120))
def test_any_text_is_read_or_set_aside(content: str) -> None:
    for parse in (system.memory, throttling.flags, disk_writes.written, lambda text: sysfs.decimal(text, "x")):
        with suppress(InvalidValue):
            assert parse(content) is not None


@given(content=st.binary(max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_leaves_the_disk_readable(tree: Tree, content: bytes) -> None:
    for path in ("proc/meminfo", "proc/loadavg", "proc/uptime", "sys/block/mmcblk0/stat", "proc/device-tree/model"):
        tree.write(path, content)
    tree.write(f"{SOC}/soc:firmware/get_throttled", content)
    assert "disk_used" in reading(tree).values
