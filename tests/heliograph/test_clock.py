import ctypes
import json
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

KERNEL = clock_module._kernel_is_synchronised
CHECK_SECONDS = clock_module.CHECK_SECONDS


@pytest.fixture(autouse=True)
def _kernel_not_synchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the machine that runs the tests is synchronised; these tests need one that is not."""
    monkeypatch.setattr(clock_module, "_kernel_is_synchronised", lambda: False)
    monkeypatch.setattr(clock_module, "CHECK_SECONDS", 0.0)


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


def test_a_trusted_clock_is_right_at_once(tmp_path: Path, sign: Path) -> None:
    clock = make(tmp_path, sign, mode="trust")
    assert clock.synchronised
    assert clock.booted(clock.boot) == pytest.approx(time.time() - clock.since_boot(), abs=1)


def test_a_reading_of_now_is_not_in_the_future(tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = make(tmp_path, sign, mode="trust")
    for now in (1_763_600_000.0005, 1_763_600_000.0006, 1_763_600_000.9996, 1_763_600_000.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert round(clock.now(), 3) <= clock.latest() < now + 0.002


def test_a_clock_is_wrong_until_the_time_service_has_synchronised_it(tmp_path: Path, sign: Path) -> None:
    clock = make(tmp_path, sign)
    assert not clock.synchronised
    assert clock.booted(clock.boot) is None
    sign.touch()
    assert clock.synchronised
    assert clock.booted(clock.boot) == pytest.approx(time.time() - clock.since_boot(), abs=1)


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


def test_an_earlier_boot_is_remembered_with_its_moment(tmp_path: Path, sign: Path) -> None:
    sign.touch()
    first = make(tmp_path, sign, "monday")
    assert first.synchronised
    sign.unlink()
    second = make(tmp_path, sign, "tuesday")
    assert not second.synchronised
    assert second.booted("monday") == pytest.approx(time.time() - second.since_boot(), abs=1)
    assert second.booted("sunday") is None
    assert second.booted("tuesday") is None


def test_a_clock_that_is_set_moves_the_moment_of_boot(
    tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = make(tmp_path, sign)
    right = time.time()
    monkeypatch.setattr(time, "time", lambda: right - 6 * 3600)
    assert not clock.synchronised
    monkeypatch.setattr(time, "time", lambda: right)
    sign.touch()
    assert clock.synchronised
    assert boots(tmp_path)[clock.boot] == pytest.approx(right - clock.since_boot(), abs=1)


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


@settings(max_examples=100)
@given(content=st.binary(max_size=100))
def test_any_content_of_the_file_of_boots_is_survived(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock").mkdir()
    (folder / "clock" / "boots.json").write_bytes(content)
    assert not make(folder, folder / "synchronized").synchronised


def test_a_boot_that_cannot_be_saved_is_saved_later(tmp_path: Path, sign: Path) -> None:
    (tmp_path / "clock").write_text("a file where the folder should be")
    sign.touch()
    clock = make(tmp_path, sign)
    assert clock.synchronised
    (tmp_path / "clock").unlink()
    assert clock.synchronised
    assert list(boots(tmp_path)) == [clock.boot]
