import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from heliograph import config
from heliograph.bus import Bus
from heliograph.clock import Clock
from heliograph.frame_delivery import FrameDelivery
from heliograph.messages import Block, Watermark
from heliograph.sender import UnstampedFrame

NOON = 1_763_640_000.0  # 2025-11-20 12:00:00 UTC
CAP = 20_000
WEEK = 7 * 86_400.0


class FakeClock(Clock):
    def __init__(self, folder: Path) -> None:
        super().__init__("trust", folder)
        self.time = NOON

    def now(self) -> float:
        return self.time


class Rig:
    """A producer's outbox with a small cap; storage is away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock(folder)
        self.start()

    def start(self) -> None:
        bus = Bus(config.Broker(port=1), "pi", "meter")
        self.delivery = FrameDelivery(
            bus, "pi", "meter", self.folder / "outbox", self.clock, cap_bytes=CAP, segment_bytes=1_000
        )

    def restart(self) -> None:
        self.delivery.close()
        self.start()

    def fill(self, frames: int) -> None:
        """Append frames with two readings each, a minute apart."""
        for _ in range(frames):
            at = NOON + 60 * self.delivery.outbox.next
            blocks = [Block("meter", ("power",), [[at, 1], [at + 30, 2]])]
            self.delivery.outbox.append(msgspec.json.encode(blocks))
        self.date_files()

    def date_files(self) -> None:
        """Let each file look as written when the last of its frames was."""
        for segment in self.delivery.outbox.segments:
            at = NOON + 60 * (segment.next - 1)
            os.utime(segment.path, (at, at))
        self.clock.time = NOON + 60 * self.delivery.outbox.next

    def commit(self) -> None:
        outbox = self.delivery.outbox
        self.delivery.watermark(Watermark(outbox.epoch, outbox.next - 1, outbox.next, "s", 10.0, gap=False))

    def problems(self) -> list[str]:
        problems = self.delivery.facts()["outbox_problems"]
        assert isinstance(problems, list)
        return problems


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.delivery.close()


def test_an_outbox_that_is_half_full_is_a_problem_with_the_room_that_is_left(rig: Rig) -> None:
    rig.fill(10)
    assert rig.problems() == []
    while 2 * rig.delivery.outbox.size <= CAP:
        rig.fill(1)
    (problem,) = rig.problems()
    assert problem.startswith("the outbox is 50 % full: storage has not stored its readings since 2025-11-20 12:")
    frames = rig.delivery.outbox.next - 1
    hours = float(problem.split("room for ")[1].split(" hours more at this rate")[0])
    assert hours * 60 == pytest.approx(frames, rel=0.15)  # one frame a minute filled the first half
    rig.commit()
    assert rig.problems() == []


def test_what_the_cap_costs_is_reported_with_readings_and_span_until_a_week_later(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rig.fill(500)
    dropped = rig.delivery.counters()["frames_dropped"]
    assert rig.delivery.counters()["readings_dropped"] == 2 * dropped > 0
    filling, lost = rig.problems()
    assert "% full" in filling
    assert lost.startswith(
        f"the outbox is full: {2 * dropped} readings ({dropped} frames) from 2025-11-20 12:01:00 UTC to "
    )
    begin = [line for line in caplog.messages if "outbox is full" in line]
    assert len(begin) == 1
    rig.restart()
    assert lost in rig.problems()
    rig.fill(100)
    assert [line for line in caplog.messages if "outbox is full" in line] == begin
    rig.commit()
    rig.commit()
    (over,) = [line for line in caplog.messages if "loses nothing any more" in line]
    (lost,) = rig.problems()
    assert lost.startswith("the outbox was full: ")
    assert over.endswith(lost.removeprefix("the outbox was full: "))
    rig.restart()
    assert rig.problems() == [lost]
    rig.clock.time += WEEK + 1
    assert rig.problems() == []


def test_a_loss_after_a_week_is_a_new_one(rig: Rig) -> None:
    rig.fill(500)
    rig.commit()
    rig.clock.time += WEEK + 1
    later = rig.clock.time
    for number in range(500):
        blocks = [Block("meter", ("power",), [[later + number, 1]])]
        rig.delivery.outbox.append(msgspec.json.encode(blocks))
    assert 0 < rig.delivery._losses.loss.readings < 500
    first = rig.delivery._losses.loss.first
    assert first is not None
    assert first >= later


def test_readings_of_a_boot_whose_time_is_not_known_are_counted_without_a_span(rig: Rig) -> None:
    for number in range(500):
        frame = UnstampedFrame("another boot", [Block("meter", ("power",), [[number, 1]])])
        rig.delivery.outbox.append(msgspec.json.encode(frame))
    assert any("frames) of a time that is not known are lost" in problem for problem in rig.problems())


def test_a_disk_without_room_for_the_record_of_a_loss_costs_no_frame(rig: Rig) -> None:
    (rig.folder / "outbox" / "losses.json.partial").mkdir()
    rig.fill(500)
    counters = rig.delivery.counters()
    assert counters["frames_dropped"] + counters["frames_backlog"] == 500


@pytest.mark.parametrize("content", [b"", b"{", b'{"frames": "x"}', b"\xff"])
def test_a_damaged_record_of_losses_stops_nothing(rig: Rig, content: bytes) -> None:
    (rig.folder / "outbox" / "losses.json").write_bytes(content)
    rig.restart()
    assert rig.problems() == []
    rig.fill(500)
    assert len(rig.problems()) == 2


def test_a_damaged_file_is_a_problem_for_a_week_after_it_was_seen_and_not_again(rig: Rig) -> None:
    rig.fill(40)
    first, second = rig.delivery.outbox.segments[:2]
    first.path.write_bytes(b"?" + first.path.read_bytes()[1:])
    content = second.path.read_bytes()
    second.path.write_bytes(content[:300] + b"?" + content[301:])
    sentence = f"files of the outbox were damaged, frames are lost: {first.path.name}, {second.path.name}"
    rig.restart()
    assert rig.problems()[-1] == sentence
    rig.clock.time += WEEK - 10
    rig.restart()
    assert rig.problems()[-1] == sentence
    rig.clock.time += 20
    assert sentence not in rig.problems()
    rig.restart()
    assert not any("damaged" in problem for problem in rig.problems())
    assert rig.delivery.counters()["outbox_damaged"] == 1  # it is there still; the other one was set aside


def test_damage_that_is_seen_before_the_clock_is_set_is_shown_for_a_week_from_then_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.fill(40)
    rig.delivery.outbox.segments[0].path.write_bytes(b"?")
    with monkeypatch.context() as before:
        before.setattr(FakeClock, "synchronised", False)
        rig.clock.time = 100.0
        rig.restart()
        assert "damaged" in rig.problems()[-1]
    rig.clock.time = NOON + 86_400
    assert "damaged" in rig.problems()[-1]
    rig.restart()
    rig.clock.time += WEEK - 10
    assert "damaged" in rig.problems()[-1]
    rig.clock.time += 20
    assert not any("damaged" in problem for problem in rig.problems())


def test_an_outbox_whose_files_are_removed_or_moved_away_is_a_problem(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.fill(3)
    assert rig.problems() == []
    (tmp_path / "outbox").rename(tmp_path / "away")
    [problem] = rig.problems()
    assert problem.startswith(f"the files of the outbox are gone from {tmp_path}/outbox: ")
    (tmp_path / "away").rename(tmp_path / "outbox")
    assert rig.problems() == []
    shutil.rmtree(tmp_path / "outbox")
    assert len(rig.problems()) == 1
