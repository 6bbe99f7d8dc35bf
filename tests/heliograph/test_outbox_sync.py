"""What a power cut may cost: the outbox reaches the disk after ten seconds, and no more often than it must."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from heliograph import durable
from heliograph.bus import Bus
from heliograph.clock import Clock
from heliograph.frame_delivery import SYNC_SECONDS, FrameDelivery
from heliograph.messages import Watermark
from heliograph.outbox import CAP_BYTES, Outbox
from heliograph.segment import Segment

ARCHITECTURE = Path(__file__).parents[2] / "docs/architecture.md"
NEVER = 1e9


class Disk:
    """Watches what is forced to the disk, and has the time that the outbox sees."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.synced: list[str] = []
        self.now = 1000.0
        real = os.fdatasync

        def fdatasync(descriptor: int) -> None:
            real(descriptor)
            self.synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

        patch.setattr(os, "fdatasync", fdatasync)
        patch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def outbox(tmp_path: Path, disk: Disk) -> Iterator[Outbox]:
    del disk  # it has to be there before the outbox
    made = Outbox(tmp_path, "boot", segment_bytes=300)
    yield made
    made.close()


def refuse(_file: int) -> None:
    raise OSError(5, "Input/output error")


def test_what_waits_for_ten_seconds_is_forced_to_the_disk_once(outbox: Outbox, disk: Disk) -> None:
    outbox.append(b"[1]")
    for later in (0.0, 5.0, 5.0):
        disk.now += later
        outbox.sync(10.0)
    assert disk.synced == []
    disk.now += 0.1
    outbox.sync(10.0)
    assert disk.synced == ["0000000001.segment"]
    disk.now += NEVER
    outbox.sync(10.0)
    assert len(disk.synced) == 1  # nothing has come since: no wear of the card
    outbox.append(b"[2]")
    outbox.append(b"[3]")
    outbox.sync(10.0)
    assert len(disk.synced) == 1
    disk.now += 10.1
    outbox.sync(10.0)
    assert len(disk.synced) == 2


def test_the_ten_seconds_count_from_the_first_frame_that_waits(outbox: Outbox, disk: Disk) -> None:
    for _ in range(4):
        outbox.append(b"[]")
        disk.now += 3.0
    outbox.sync(10.0)
    assert len(disk.synced) == 1


def test_a_disk_that_refuses_is_asked_again_after_ten_seconds_with_a_log_line_each_time(
    outbox: Outbox, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outbox.append(b"[1]")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", refuse)
        for _ in range(5):
            disk.now += 5.1
            outbox.sync(10.0)
    assert [record.getMessage() for record in caplog.records] == [
        "outbox: a power cut would cost readings: [Errno 5] Input/output error"
    ] * 2
    disk.now += 5.1
    outbox.sync(10.0)
    assert disk.synced == ["0000000001.segment"] * 2  # written again, and what has come since


def test_a_segment_that_is_full_and_synced_is_not_synced_again_while_the_next_one_has_no_room(
    outbox: Outbox, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    while outbox.size < 300:
        outbox.append(b"[12345678901234567890]")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        outbox.append(b"[1]")
    assert disk.synced == ["0000000001.segment"]
    disk.now += 10.1
    outbox.sync(10.0)
    assert (disk.synced, caplog.messages) == (["0000000001.segment"], [])


def test_what_is_forced_is_on_the_disk_with_the_name_of_its_file(
    outbox: Outbox, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(durable, "sync", folders.append)
    outbox.append(b"[1]")
    outbox.force()
    assert (disk.synced, folders) == (["0000000001.segment"], [outbox.folder, outbox.folder.parent])
    outbox.force()  # nothing has come since
    outbox.append(b"[2]")
    outbox.force()
    assert (len(disk.synced), len(folders)) == (2, 2)
    while len(outbox.segments) < 2:
        outbox.append(b"[12345678901234567890]")
    outbox.force()
    assert (disk.synced[-1], len(folders)) == ("0000000002.segment", 4)


def test_what_the_disk_refused_is_written_again_before_it_counts_as_confirmed(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux takes what it could not write for written: the next fdatasync would confirm it (fsync(2), "Errors", EIO)."""
    outbox.append(b"[1]")
    path = outbox.segments[0].path
    content = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", refuse)
        with pytest.raises(OSError, match="Input/output"):
            outbox.force()
    os.utime(path, (0, 0))
    outbox.force()
    assert path.stat().st_mtime > 0
    assert path.read_bytes() == content
    os.utime(path, (0, 0))
    outbox.append(b"[2]")
    outbox.force()
    assert Segment.load(path).next == 3


def test_what_the_disk_refused_and_lost_is_never_confirmed(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.append(b"[1]")
    path = outbox.segments[0].path
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", refuse)
        with pytest.raises(OSError, match="Input/output"):
            outbox.force()
    path.write_bytes(path.read_bytes()[:-3] + bytes(3))
    for _ in range(2):
        with pytest.raises(OSError, match="records that the disk refused are lost"):
            outbox.force()
    outbox.trim(outbox.epoch, 1)  # storage has it
    outbox.force()


def test_a_full_segment_that_the_disk_refused_is_forced_before_later_ones_are_confirmed(
    outbox: Outbox, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    while outbox.size < 300:
        outbox.append(b"[12345678901234567890]")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", refuse)
        with pytest.raises(OSError, match="Input/output"):
            outbox.append(b"[1]")
    outbox.append(b"[1]")
    outbox.force()
    assert disk.synced == ["0000000001.segment", "0000000002.segment"]


def test_an_end_forces_everything_to_the_disk(outbox: Outbox, disk: Disk) -> None:
    outbox.append(b"[1]")
    outbox.sync(-1)
    outbox.sync(-1)
    assert len(disk.synced) == 1


def test_what_storage_has_committed_is_not_forced_to_the_disk(outbox: Outbox, disk: Disk) -> None:
    outbox.append(b"[1]")
    outbox.append(b"[2]")
    outbox.trim(outbox.epoch, 1)
    disk.now += NEVER
    outbox.sync(10.0)
    assert len(disk.synced) == 1
    outbox.append(b"[3]")
    outbox.trim(outbox.epoch, 3)
    disk.now += NEVER
    outbox.sync(10.0)
    assert len(disk.synced) == 1


def test_a_full_segment_is_on_the_disk_before_the_next_one_begins(
    outbox: Outbox, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced_before: list[list[str]] = []
    create = Segment.create

    def watched(path: Path, epoch: str, boot: str, first: int) -> Segment:
        synced_before.append([*disk.synced])
        return create(path, epoch, boot, first)

    monkeypatch.setattr(Segment, "create", watched)
    while len(outbox.segments) < 3:
        outbox.append(b"[12345678901234567890]")
    assert synced_before == [[], ["0000000001.segment"], ["0000000001.segment", "0000000002.segment"]]


def test_the_delivery_forces_to_the_disk_what_storage_has_not_committed_for_ten_seconds(
    tmp_path: Path, disk: Disk
) -> None:
    assert SYNC_SECONDS == 10.0
    bus = cast(Bus, SimpleNamespace(connected=False, connects=0))
    delivery = FrameDelivery(bus, "pi", "meter", tmp_path / "outbox", Clock("trust", tmp_path), cap_bytes=CAP_BYTES)
    delivery.outbox.append(b"[]")
    delivery.send()
    disk.now += 9.0
    delivery.send()
    assert disk.synced == []
    disk.now += 1.1
    delivery.send()
    delivery.send()
    assert len(disk.synced) == 1
    delivery.outbox.append(b"[]")
    delivery.close()
    assert len(disk.synced) == 2


def test_a_delivery_says_since_when_nothing_was_stored(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = cast(Bus, SimpleNamespace(connected=False, connects=0))
    clock = Clock("trust", tmp_path)
    delivery = FrameDelivery(bus, "pi", "meter", tmp_path / "outbox", clock, cap_bytes=CAP_BYTES)
    monkeypatch.setattr(clock, "now", lambda: 1_763_633_121.0)
    monkeypatch.setattr(delivery._sender, "_now", lambda: disk.now)
    delivery.send()
    delivery.outbox.append(b"[]")
    disk.now += 119.0
    assert "not_stored_since" not in delivery.facts()
    disk.now += 2.0
    assert delivery.facts()["not_stored_since"] == 1_763_633_000
    delivery.watermark(Watermark(delivery.outbox.epoch, 1, 2, "s1", 1.0))
    assert "not_stored_since" not in delivery.facts()
    delivery.close()


def test_the_cap_is_the_one_that_the_documentation_promises(tmp_path: Path) -> None:
    assert f"its cap ({CAP_BYTES >> 20} MB" in ARCHITECTURE.read_text()
    box = Outbox(tmp_path, "boot")
    assert box.cap == CAP_BYTES
    box.close()


def test_a_segment_whose_head_is_written_halfway_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        write(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    box = Outbox(tmp_path, "boot")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", half)
        with pytest.raises(OSError, match="No space"):
            box.append(b"[]")
    assert list(tmp_path.glob("*.segment")) == []
    box.close()
    again = Outbox(tmp_path, "boot")
    assert (again.append(b"[]"), again.damaged) == (1, 0)
    again.close()


def test_a_segment_that_was_removed_confirms_nothing_and_the_next_frame_is_in_a_new_one(outbox: Outbox) -> None:
    outbox.append(b"[1]")
    outbox.segments[-1].path.unlink()
    with pytest.raises(FileNotFoundError, match="removed or moved"):
        outbox.force()
    outbox.append(b"[2]")
    outbox.force()
    assert b"[2]" in outbox.segments[-1].path.read_bytes()


def test_a_folder_that_was_moved_away_refuses_frames_until_it_is_back(outbox: Outbox, tmp_path: Path) -> None:
    outbox.append(b"[1]")
    folder, away = outbox.folder, tmp_path.with_name("away")
    folder.rename(away)
    with pytest.raises(OSError, match="No such file"):
        outbox.append(b"[2]")
    away.rename(folder)
    outbox.append(b"[2]")
    outbox.force()
    assert {b"[1]", b"[2]"} <= {
        record for segment in outbox.segments for record in (b"[1]", b"[2]") if record in segment.path.read_bytes()
    }
