from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliograph import sender as sender_module
from heliograph.messages import Block, Frame, Watermark, frames
from heliograph.outbox import Outbox
from heliograph.sender import IDLE_SECONDS, LIVE_FRAMES, WATERMARK_SECONDS, WINDOW, Sender, UnstampedFrame

ARCHITECTURE = Path(__file__).parents[2] / "docs/architecture.md"


class Clock:
    def __init__(self) -> None:
        self.boot = "today"
        self.boots: dict[str, float] = {}

    def booted(self, boot: str) -> float | None:
        return self.boots.get(boot)


class Rig:
    """An outbox and its sender, a broker that can refuse, and a time that is set by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.now = 0.0
        self.up = True
        self.sent: list[tuple[bool, Frame]] = []
        self.open("today")

    def open(self, boot: str, **options: Any) -> None:
        self.outbox = Outbox(self.folder, boot, **options)
        self.clock.boot = boot
        self.sender = Sender(self.outbox, self.clock, self.publish, lambda: self.now)

    def close(self) -> None:
        self.sender.close()
        self.outbox.close()

    def publish(self, news: bool, payload: bytes) -> bool:
        if self.up:
            self.sent += [(news, frame) for frame in frames(payload)]
        return self.up

    def append(self, count: int, payload: bytes = b"[]") -> None:
        for _ in range(count):
            self.outbox.append(payload)

    def start(self) -> None:
        self.sender.connect()
        self.pump(WATERMARK_SECONDS + 0.01)

    def pump(self, later: float = 0.0) -> list[int]:
        self.now += later
        before = len(self.sent)
        self.sender.pump()
        return [frame.sequence for _, frame in self.sent[before:]]

    def mark(self, committed: int, wanted: int = 0, *, gap: bool = False, storage: str = "s1", epoch: str = "") -> None:
        mark = Watermark(epoch or self.outbox.epoch, committed, wanted or committed + 1, storage, 1.0, gap)
        self.sender.watermark(mark)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def test_nothing_is_sent_before_the_connection_and_everything_after(rig: Rig) -> None:
    rig.append(3)
    assert rig.pump() == []
    rig.start()
    assert [frame.sequence for _, frame in rig.sent] == [1, 2, 3]
    assert {frame.base for _, frame in rig.sent} == {1}


def test_a_new_process_waits_for_the_watermark_and_starts_from_there(rig: Rig) -> None:
    rig.append(10)
    rig.sender.connect()
    assert rig.pump() == []
    rig.mark(7)
    assert rig.pump() == [8, 9, 10]


def test_a_sender_says_in_how_many_seconds_it_has_something_to_do(rig: Rig) -> None:
    rig.append(10)
    assert rig.sender.pump() == IDLE_SECONDS
    rig.sender.connect()
    rig.now += 0.25
    assert rig.sender.pump() == WATERMARK_SECONDS - 0.25
    assert rig.sent == []
    rig.now += WATERMARK_SECONDS - 0.25
    assert rig.sender.pump() == IDLE_SECONDS
    assert len(rig.sent) == 10


def test_only_a_process_that_has_frames_of_another_waits_for_a_watermark(rig: Rig) -> None:
    rig.sender.connect()
    rig.append(1)
    assert rig.pump() == [1]
    rig.sender.disconnect()
    rig.sender.connect()
    assert rig.pump() == []
    rig.mark(0)
    assert rig.pump() == [1]
    rig.append(1)
    rig.sender.disconnect()
    rig.sender.connect()
    assert rig.pump() == [1, 2]  # storage has answered this process


def test_no_more_than_a_window_is_under_way(rig: Rig) -> None:
    rig.append(WINDOW + 500)
    rig.start()
    assert len(rig.sent) == WINDOW
    assert f"At most {WINDOW:,} frames go out beyond" in ARCHITECTURE.read_text()
    rig.mark(300)
    assert rig.pump() == list(range(WINDOW + 1, WINDOW + 301))


def test_a_gap_is_sent_again_from_where_it_begins_but_not_for_every_complaint(rig: Rig) -> None:
    rig.append(20)
    rig.start()
    rig.mark(4, 6, gap=True)
    assert rig.pump(0.001) == list(range(6, 21))
    rig.mark(4, 6, gap=True)
    assert rig.pump(0.001) == []
    rig.now += 0.1
    rig.mark(4, 8, gap=True)
    assert rig.pump() == list(range(8, 21))
    assert rig.sender.resent == 15 + 13


def test_for_how_long_nothing_was_stored_is_known_whether_the_broker_is_there_or_not(rig: Rig) -> None:
    rig.start()
    rig.pump(1000.0)
    assert rig.sender.seconds_not_stored == 0.0
    rig.append(20)
    rig.pump(30.0)
    assert rig.sender.seconds_not_stored == 30.0
    rig.sender.disconnect()
    rig.pump(100.0)
    assert rig.sender.seconds_not_stored == 130.0
    rig.mark(5)
    assert rig.sender.seconds_not_stored == 0.0
    rig.pump(7.0)
    assert rig.sender.seconds_not_stored == 7.0
    rig.mark(20)
    rig.pump(7.0)
    assert rig.sender.seconds_not_stored == 0.0


def test_a_new_connection_sends_uncommitted_frames_again(rig: Rig) -> None:
    rig.append(10)
    rig.start()
    rig.mark(4)
    rig.sender.disconnect()
    assert rig.pump(5) == []
    rig.sender.connect()
    assert rig.pump() == [5, 6, 7, 8, 9, 10]


def test_a_broker_that_refuses_a_frame_does_not_make_it_lost(rig: Rig) -> None:
    rig.start()
    rig.append(3)
    rig.up = False
    assert rig.pump() == []
    assert rig.pump() == []
    rig.up = True
    assert rig.pump() == [1, 2, 3]
    rig.append(2)
    rig.up = False
    assert rig.pump() == []
    rig.up = True
    assert rig.pump() == [4, 5]
    assert rig.sender.resent == 0
    assert {frame.base for _, frame in rig.sent} == {1}


def test_while_storage_is_away_only_single_frames_probe_for_it(rig: Rig) -> None:
    rig.append(WINDOW * 2)
    rig.start()
    for _ in range(3600):
        rig.pump(1.0)
    probes = len(rig.sent) - WINDOW
    assert 50 <= probes <= 80
    rig.mark(0)
    rig.pump(61)
    for committed in range(0, WINDOW * 2 + 1, 500):
        rig.mark(committed)
        rig.pump()
    assert rig.sender.backlog == 0
    assert rig.sender.sent == WINDOW * 2


def test_while_storage_takes_its_time_to_commit_nothing_is_sent_twice(rig: Rig) -> None:
    rig.append(20)
    rig.start()
    rig.sender.watermark(Watermark(rig.outbox.epoch, 1, 21, "s1", 10.0))
    assert [rig.pump(1.0) for _ in range(20)] == [[]] * 20
    rig.sender.watermark(Watermark(rig.outbox.epoch, 15, 21, "s1", 10.0))
    assert [rig.pump(1.0) for _ in range(20)] == [[]] * 20
    assert rig.sender.resent == 0
    assert rig.pump(0.9) == []
    assert rig.pump(0.2) == [16]  # 21 seconds: now it is time to ask


def test_a_storage_with_a_mad_commit_interval_does_not_stop_the_probing(rig: Rig) -> None:
    rig.append(3)
    rig.start()
    rig.sender.watermark(Watermark(rig.outbox.epoch, 0, 1, "s1", 1e300))
    assert rig.pump(61) == [1]


def test_only_new_frames_close_to_the_end_go_to_the_journal(rig: Rig) -> None:
    rig.append(LIVE_FRAMES + 30)
    rig.start()
    assert [news for news, _ in rig.sent] == [False] * 30 + [True] * LIVE_FRAMES
    rig.sender.disconnect()
    rig.sender.connect()
    before = len(rig.sent)
    rig.pump(2)
    assert not any(news for news, _ in rig.sent[before:])
    rig.mark(LIVE_FRAMES + 30)
    rig.append(1)
    rig.pump()
    assert rig.sent[-1][0]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_frames_of_an_earlier_boot_are_not_news_and_those_of_this_one_wait_for_them(rig: Rig, count: int) -> None:
    rig.append(count)
    rig.close()
    rig.open("tomorrow")
    rig.append(2)
    old = rig.outbox.segments[0].epoch
    rig.start()
    assert [(news, frame.epoch == old) for news, frame in rig.sent] == [(False, True)] * count
    for committed in range(count):
        rig.mark(committed, epoch=old)
        assert rig.pump() == []
    rig.mark(count, epoch=old)
    rig.pump()
    assert [(news, frame.epoch == old) for news, frame in rig.sent[count:]] == [(True, False)] * 2


def test_a_watermark_of_an_earlier_boot_trims_nothing_of_this_one(rig: Rig) -> None:
    rig.append(3)
    rig.close()
    rig.open("tomorrow", segment_bytes=200)
    old = rig.outbox.segments[0].epoch
    rig.append(100)
    rig.start()
    rig.mark(3, epoch=old)
    rig.pump()
    assert rig.outbox.first(rig.outbox.epoch) == 1
    assert [frame.sequence for _, frame in rig.sent] == [1, 2, 3, *range(1, 101)]
    assert {frame.base for _, frame in rig.sent} == {1}


def test_an_earlier_boot_that_is_settled_is_no_backlog(rig: Rig) -> None:
    rig.append(5)
    rig.close()
    rig.open("tomorrow")
    old = rig.outbox.segments[0].epoch
    rig.append(2)
    assert rig.sender.backlog == 7
    rig.start()
    rig.mark(3, epoch=old)
    assert rig.sender.backlog == 4
    rig.mark(5, epoch=old)
    rig.pump()
    assert rig.sender.backlog == 2
    rig.mark(2)
    assert rig.sender.backlog == 0


def test_the_backlog_is_what_is_not_committed_however_many_segments_hold_it(rig: Rig) -> None:
    rig.close()
    rig.open("today", segment_bytes=200)
    assert rig.sender.backlog == 0
    rig.append(60)
    rig.start()
    assert rig.sender.backlog == 60
    for committed in range(61):
        rig.mark(committed)
        assert rig.sender.backlog == 60 - committed


def test_frames_dropped_by_the_cap_are_declared_once_all_before_them_are_settled(rig: Rig) -> None:
    rig.close()
    rig.open("today", segment_bytes=200, cap_bytes=600)
    rig.append(5)
    rig.start()
    rig.sender.disconnect()
    rig.append(60)
    first = rig.outbox.first(rig.outbox.epoch)
    assert first > 6
    rig.sender.connect()
    sent = rig.pump(2)
    assert sent == list(range(first, 66))
    assert {frame.base for _, frame in rig.sent[5:]} == {first}


def test_a_storage_restored_from_a_backup_receives_again_what_is_held(rig: Rig) -> None:
    rig.append(20)
    rig.start()
    rig.mark(20)
    rig.mark(12, gap=True, storage="s2")
    assert rig.pump() == list(range(13, 21))
    assert {frame.base for _, frame in rig.sent} == {1}


def test_a_storage_that_was_set_back_behind_an_epoch_gets_its_end_again(rig: Rig) -> None:
    rig.append(5)
    rig.close()
    rig.open("tomorrow")
    old = rig.outbox.segments[0].epoch
    rig.append(2)
    rig.start()
    rig.mark(5, epoch=old)
    rig.pump()
    rig.mark(1)
    rig.sent.clear()
    rig.mark(3, gap=True, storage="s2", epoch=old)
    assert rig.pump() == [4, 5]
    rig.mark(5, storage="s2", epoch=old)
    assert rig.pump() == [1, 2]


def test_a_storage_that_knows_more_than_was_ever_written_makes_a_new_epoch(rig: Rig) -> None:
    rig.append(3)
    rig.start()
    before = rig.outbox.epoch
    rig.mark(100)
    assert rig.outbox.epoch != before
    rig.append(2)
    rig.pump()
    assert [(frame.epoch == before, frame.sequence) for _, frame in rig.sent[3:]] == [(False, 1), (False, 2)]


def test_frames_that_are_held_are_never_declared_lost_to_a_storage_that_was_set_back_further(rig: Rig) -> None:
    rig.append(4)
    rig.append(1, b'["damaged"]')
    rig.append(5)
    path = rig.outbox.segments[0].path
    path.write_bytes(path.read_bytes().replace(b"damaged", b"Damaged"))
    rig.start()
    rig.mark(4)
    assert rig.pump() == [6, 7, 8, 9, 10]
    assert rig.sent[-1][1].base == 6
    rig.mark(2, storage="s2")
    rig.sender.disconnect()
    rig.sender.connect()
    assert rig.pump() == [3, 4]
    assert {frame.base for _, frame in rig.sent[-2:]} == {1}


def held(boot: str, *rows: list[float]) -> bytes:
    return msgspec.json.encode(UnstampedFrame(boot, [Block("meter", ("power",), list(rows))]))


def test_a_held_frame_waits_for_the_clock_and_is_then_stamped(rig: Rig) -> None:
    rig.outbox.append(held("today", [12.5, 100], [13.5, 101]))
    rig.append(1)
    rig.start()
    assert rig.sent == []
    assert rig.sender.waits_for_clock
    rig.clock.boots["today"] = 1_700_000_000.0
    assert rig.pump() == [1, 2]
    assert not rig.sender.waits_for_clock
    assert rig.sent[0][1].blocks == [Block("meter", ("power",), [[1_700_000_012.5, 100], [1_700_000_013.5, 101]])]


def test_a_frame_of_an_earlier_boot_is_stamped_if_its_moment_is_known(rig: Rig) -> None:
    rig.outbox.append(held("yesterday", [12.5, 100]))
    rig.clock.boots["yesterday"] = 1_600_000_000.0
    rig.start()
    assert rig.sent[0][1].blocks == [Block("meter", ("power",), [[1_600_000_012.5, 100]])]
    assert rig.sender.unstamped == 0


def test_a_frame_of_a_boot_of_unknown_time_is_counted_once_and_never_stamped(rig: Rig) -> None:
    rig.outbox.append(held("yesterday", [12.5, 100], [13.5, 100]))
    rig.up = False
    rig.start()
    assert rig.sender.unstamped == 0
    rig.up = True
    rig.pump()
    assert rig.sender.unstamped == 2
    for _ in range(2):
        rig.sender.disconnect()
        rig.sender.connect()
        rig.pump(2)
    assert [(frame.blocks, frame.unstamped) for _, frame in rig.sent] == [([], 2)] * 3
    assert rig.sender.unstamped == 2


def test_a_backlog_is_sent_in_few_messages_that_are_not_too_long(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[bytes] = []

    def publish(_news: bool, payload: bytes) -> bool:
        messages.append(payload)
        return True

    rig.sender = Sender(rig.outbox, rig.clock, publish, lambda: rig.now)
    monkeypatch.setattr(sender_module, "LIVE_FRAMES", 0)
    rig.append(100)
    rig.append(30, b'["' + b"x" * 30_000 + b'"]')
    rig.start()
    assert len(messages) < 30
    assert max(map(len, messages)) < sender_module.BATCH_BYTES + 32_000
