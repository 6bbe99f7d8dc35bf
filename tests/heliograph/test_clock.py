import ctypes
import json
import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph import clock as clock_module
from heliograph import durable
from heliograph.clock import Clock

NOW = 1_763_633_000.0
SINCE_BOOT = 500.0
BOOTED = NOW - SINCE_BOOT
KERNEL = clock_module._kernel_is_synchronised
CHECK_SECONDS = clock_module.CHECK_SECONDS


@pytest.fixture(autouse=True)
def _kernel_not_synchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the machine that runs the tests is synchronised; these tests need one that is not."""
    monkeypatch.setattr(clock_module, "_kernel_is_synchronised", lambda: False)
    monkeypatch.setattr(clock_module, "CHECK_SECONDS", 0.0)


@pytest.fixture
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is NOW, SINCE_BOOT seconds after the boot, for the whole test."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(Clock, "since_boot", lambda _clock: SINCE_BOOT)


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    return tmp_path / "synchronized"


def make(tmp_path: Path, sign: Path, boot: str = "", **options: Any) -> Clock:
    clock = Clock(options.pop("mode", "auto"), tmp_path / "clock", sign)
    if boot:
        clock.boot = boot
    return clock


def boots(tmp_path: Path) -> dict[str, float]:
    moments: dict[str, float] = json.loads((tmp_path / "clock" / "boots.json").read_text())
    return moments


@pytest.mark.usefixtures("_still")
def test_a_trusted_clock_is_right_at_once(tmp_path: Path, sign: Path) -> None:
    clock = make(tmp_path, sign, mode="trust")
    assert clock.synchronised
    assert clock.booted(clock.boot) == BOOTED


def test_the_boot_is_the_one_that_the_kernel_names(tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "boot_id"
    named.write_text("4c1e3c2c-7a3c-4d5b-9a53-3d6f9b7c8e10\n")
    monkeypatch.setattr(clock_module, "BOOT_ID", named)
    assert make(tmp_path, sign).boot == "4c1e3c2c-7a3c-4d5b-9a53-3d6f9b7c8e10"
    named.unlink()
    assert make(tmp_path, sign).boot == "unknown"


def test_the_seconds_since_boot_are_those_of_the_kernel(tmp_path: Path, sign: Path) -> None:
    def uptime() -> float:
        return float(Path("/proc/uptime").read_text().split()[0])

    before = uptime()
    assert before <= make(tmp_path, sign).since_boot() < uptime() + 0.01  # it is cut to hundredths


def test_a_reading_of_now_is_not_in_the_future(tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = make(tmp_path, sign, mode="trust")
    for now in (1_763_600_000.0005, 1_763_600_000.0006, 1_763_600_000.9996, 1_763_600_000.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert round(clock.now(), 3) <= clock.latest() < now + 0.002


@pytest.mark.usefixtures("_still")
def test_a_clock_is_wrong_until_the_time_service_has_synchronised_it(tmp_path: Path, sign: Path) -> None:
    clock = make(tmp_path, sign)
    assert not clock.synchronised
    assert clock.booted(clock.boot) is None
    assert clock.latest() == math.inf
    sign.touch()
    assert clock.synchronised
    assert clock.booted(clock.boot) == BOOTED


def test_a_clock_that_the_kernel_synchronised_is_right(
    tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = make(tmp_path, sign)
    assert not clock.synchronised
    monkeypatch.setattr(clock_module, "_kernel_is_synchronised", lambda: True)
    assert clock.synchronised


@pytest.mark.parametrize(("state", "is_right"), [(0, True), (1, True), (4, True), (5, False), (-1, False)])
def test_what_the_kernel_says_of_the_clock_is_believed(
    monkeypatch: pytest.MonkeyPatch, state: int, is_right: bool
) -> None:
    asked: list[int] = []

    def adjtimex(timex: Any) -> int:
        asked.append(timex._obj.modes)
        return state

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(adjtimex=adjtimex))
    assert KERNEL() is is_right
    assert asked == [0]  # it only asks


def test_the_clock_is_asked_once_a_second_until_it_is_right(
    tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_module, "CHECK_SECONDS", CHECK_SECONDS)
    asked: list[float] = []
    clock = make(tmp_path, sign)
    now = [100.0]
    monkeypatch.setattr(clock, "since_boot", lambda: now[0])
    monkeypatch.setattr(clock_module, "_kernel_is_synchronised", lambda: asked.append(now[0]))
    for now[0] in (100.0, 100.5, 100.9, 101.0, 101.9, 102.0):
        assert not clock.synchronised
    assert asked == [100.0, 101.0, 102.0]


def test_a_boot_is_written_once(tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    write = durable.write

    def watched(path: Path, content: bytes) -> None:
        written.append(path)
        write(path, content)

    monkeypatch.setattr(durable, "write", watched)
    sign.touch()
    clock = make(tmp_path, sign)
    assert [clock.synchronised for _ in range(5)] == [True] * 5
    assert make(tmp_path, sign).synchronised
    assert written == [tmp_path / "clock" / "boots.json"]


def test_a_clock_that_was_right_stays_right_and_a_restart_remembers_it(tmp_path: Path, sign: Path) -> None:
    sign.touch()
    assert make(tmp_path, sign).synchronised
    sign.unlink()
    assert make(tmp_path, sign).synchronised


@pytest.mark.usefixtures("_still")
def test_an_earlier_boot_is_remembered_with_its_moment(tmp_path: Path, sign: Path) -> None:
    sign.touch()
    first = make(tmp_path, sign, "monday")
    assert first.synchronised
    sign.unlink()
    second = make(tmp_path, sign, "tuesday")
    assert not second.synchronised
    assert second.booted("monday") == BOOTED
    assert second.booted("sunday") is None
    assert second.booted("tuesday") is None


@pytest.mark.usefixtures("_still")
def test_a_clock_that_is_set_moves_the_moment_of_boot(
    tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = make(tmp_path, sign)
    monkeypatch.setattr(time, "time", lambda: NOW - 6 * 3600)
    assert not clock.synchronised
    monkeypatch.setattr(time, "time", lambda: NOW)
    sign.touch()
    assert clock.synchronised
    assert boots(tmp_path)[clock.boot] == BOOTED


def test_the_moment_of_boot_is_the_same_to_the_last_digit_until_the_clock_is_set(
    tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign.touch()
    now, since_boot = [1_763_633_000.0], [500.0]

    def asked(clock: Clock) -> float | None:
        monkeypatch.setattr(clock, "now", lambda: now[0])
        monkeypatch.setattr(clock, "since_boot", lambda: since_boot[0])
        return clock.booted(clock.boot)

    clock = make(tmp_path, sign)
    assert asked(clock) == 1_763_632_500.0
    for jitter in (0.001, 0.0503, 0.09):
        now[0], since_boot[0] = now[0] + 10.0, since_boot[0] + 10.0 - jitter
        assert asked(clock) == 1_763_632_500.0
        assert asked(make(tmp_path, sign)) == 1_763_632_500.0  # and for the next process
        since_boot[0] += jitter
    now[0] += 0.15
    assert asked(clock) == pytest.approx(1_763_632_500.15, abs=1e-6)
    now[0] += 3600.0
    assert asked(clock) == pytest.approx(1_763_636_100.15, abs=1e-6)


def test_a_limited_number_of_boots_is_kept_and_the_newest_is_among_them(tmp_path: Path, sign: Path) -> None:
    sign.touch()
    for number in range(40):
        assert make(tmp_path, sign, f"boot{number}").synchronised
    assert list(boots(tmp_path)) == [f"boot{number}" for number in range(8, 40)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"null",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"\xff\xfe": 1763633000}',
        b'{"monday": 1763633',
        b'{"monday": "1763633000"}',
        b'{"monday": true}',
        b'{"monday": null}',
        b'{"monday": NaN}',
        b'{"monday": 1e999}',
        b'{"monday": -1e300}',
        b'{"monday": 12}',
        b'{"monday": ' + b"1" * 500 + b"}",
    ],
)
def test_a_damaged_file_of_boots_stamps_nothing_and_is_written_again(
    tmp_path: Path, sign: Path, content: bytes
) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "boots.json").write_bytes(content)
    clock = make(tmp_path, sign)
    assert clock.booted("monday") is None
    assert not clock.synchronised
    sign.touch()
    assert clock.synchronised
    assert list(boots(tmp_path)) == [clock.boot]


@pytest.mark.parametrize(
    ("at", "is_known"),
    [
        (946_684_799.9, False),
        (946_684_800.0, True),  # 2000, before there was a Raspberry Pi
        (32_503_680_000.0, True),  # 3000
        (32_503_680_000.1, False),
    ],
)
def test_a_boot_at_a_time_that_cannot_be_is_not_known(tmp_path: Path, sign: Path, at: float, is_known: bool) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "boots.json").write_text(json.dumps({"monday": at}))
    assert make(tmp_path, sign).booted("monday") == (at if is_known else None)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
BOOTS = st.dictionaries(st.text(), LEAVES | st.lists(LEAVES, max_size=2)) | LEAVES


@settings(max_examples=100)
@given(content=st.binary(max_size=100) | BOOTS.map(lambda boots: json.dumps(boots).encode()))
def test_any_content_of_the_file_of_boots_is_survived(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock").mkdir()
    (folder / "clock" / "boots.json").write_bytes(content)
    assert not make(folder, folder / "synchronized").synchronised


def test_a_boot_that_cannot_be_saved_is_saved_later(
    tmp_path: Path, sign: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "clock").write_text("a file where the folder should be")
    sign.touch()
    clock = make(tmp_path, sign)
    assert clock.synchronised
    assert clock.synchronised
    (tmp_path / "clock").unlink()
    assert clock.synchronised
    assert [record.getMessage()[:16] for record in caplog.records].count("the clock is set") == 1
    assert list(boots(tmp_path)) == [clock.boot]
