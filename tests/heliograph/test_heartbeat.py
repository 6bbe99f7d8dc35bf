import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heliograph import heartbeat
from heliograph.heartbeat import STALE_SECONDS, Heartbeat, fault


def ask(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "heliograph.heartbeat", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(folder)}
    )


def test_a_service_that_beats_is_alive(tmp_path: Path) -> None:
    Heartbeat(tmp_path / "x").beat()
    assert fault(tmp_path / "x", time.time()) == ""


def test_a_service_that_never_started_stopped_beating_or_has_a_beat_from_the_future_is_not(tmp_path: Path) -> None:
    file = tmp_path / "x"
    assert "has not started" in fault(file, time.time())
    file.touch()
    written = file.stat().st_mtime
    assert fault(file, written + STALE_SECONDS - 1) == ""
    assert "last heartbeat" in fault(file, written + STALE_SECONDS + 1)
    assert "last heartbeat" in fault(file, written - STALE_SECONDS - 1)


def test_beating_often_touches_the_file_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    file = tmp_path / "x"
    heart = Heartbeat(file)
    heart.beat()
    file.unlink()
    now[0] += heartbeat.BEAT_SECONDS - 0.1
    heart.beat()
    assert not file.exists()
    now[0] += 0.2
    heart.beat()
    assert file.exists()


def test_a_service_that_cannot_work_is_not_well_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case K7: refused by the broker, or a disk that takes nothing; its loop runs, and nothing comes of it."""
    now, why, published = [1000.0], [""], [0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    file = tmp_path / "storage.heartbeat"

    def publish() -> None:
        published[0] += 1

    heart = Heartbeat(file, lambda: why[0], publish)
    for sentence in ("", "the broker refuses storage: Not authorized", "", "the disk is full"):
        why[0] = sentence
        heart.beat()
        now[0] += heartbeat.BEAT_SECONDS
        assert fault(file, file.stat().st_mtime) == sentence == heartbeat.problem(file)
    assert published == [4]
    assert [path.name for path in tmp_path.iterdir()] == ["storage.heartbeat"]


def test_the_health_check_reports_by_its_exit_code_and_one_line(tmp_path: Path) -> None:
    dead = ask(tmp_path, "storage")
    assert (dead.returncode, dead.stderr.count("\n")) == (1, 1)
    file = tmp_path / f"heliograph-{os.getuid()}" / "storage.heartbeat"
    Heartbeat(file).beat()
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    alive = ask(tmp_path, "storage")
    assert (alive.returncode, alive.stderr) == (0, "")
    os.utime(file, (1000, 1000))
    stale = ask(tmp_path, "storage")
    assert (stale.returncode, stale.stderr.count("\n")) == (1, 1)
    assert ask(tmp_path).returncode == 2


def test_a_heartbeat_that_cannot_be_left_is_logged_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Case N1: the folder of another user, or of none."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    (tmp_path / "run").touch()
    heart = Heartbeat(tmp_path / "run" / "storage.heartbeat")
    for _ in range(3):
        heart.beat()
        now[0] += heartbeat.BEAT_SECONDS
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "no heartbeat, so a health check will fail"
    ]


def test_each_node_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(heartbeat.FOLDER, str(tmp_path / "roof"))
    assert heartbeat.path("storage") == tmp_path / "roof" / "storage.heartbeat"
