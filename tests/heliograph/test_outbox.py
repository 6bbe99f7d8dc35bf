import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.lock import Taken
from heliograph.outbox import Outbox, OutboxReader
from heliograph.segment import LONGEST_PAYLOAD, Segment

ROOT = Path(__file__).parents[2]


@contextmanager
def opened(folder: Path, boot: str = "boot", **options: Any) -> Iterator[Outbox]:
    outbox = Outbox(folder, boot, **options)
    try:
        yield outbox
    finally:
        outbox.close()


def payload(number: int) -> bytes:
    return b'[{"d":"m","k":["n"],"r":[[1,%d]]}]' % number


def fill(outbox: Outbox, count: int, start: int = 1) -> None:
    for number in range(start, start + count):
        outbox.append(payload(number))


@contextmanager
def reading(outbox: Outbox) -> Iterator[OutboxReader]:
    reader = OutboxReader(outbox)
    yield reader
    reader.start()


def held(outbox: Outbox) -> list[tuple[str, int, bytes]]:
    frames = []
    with reading(outbox) as reader:
        while record := reader.peek():
            frames.append((record.epoch, record.sequence, record.payload))
            reader.advance()
    return frames


def sequences(outbox: Outbox) -> list[int]:
    return [sequence for _, sequence, _ in held(outbox)]


def files(folder: Path, kind: str = "segment") -> list[Path]:
    return sorted(folder.glob(f"*.{kind}"))


def undeletable(path: Path, *, missing_ok: bool = False) -> None:
    raise OSError(errno.EIO, "Input/output error", str(path))


def test_frames_are_read_in_the_order_in_which_they_were_appended(tmp_path: Path) -> None:
    with opened(tmp_path) as outbox:
        assert [outbox.append(payload(number)) for number in (1, 2, 3)] == [1, 2, 3]
        assert held(outbox) == [(outbox.epoch, number, payload(number)) for number in (1, 2, 3)]


def test_a_reader_at_the_end_sees_what_is_appended_later(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=200) as outbox, reading(outbox) as reader:
        for number in range(1, 50):
            assert reader.peek() is None
            outbox.append(payload(number))
            record = reader.peek()
            assert record
            assert record.payload == payload(number)
            reader.advance()


def test_a_reopened_outbox_continues_its_sequence(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 20)
        epoch = outbox.epoch
    with opened(tmp_path, segment_bytes=300) as outbox:
        assert outbox.epoch == epoch
        assert outbox.append(payload(21)) == 21
        assert held(outbox) == [(epoch, number, payload(number)) for number in range(1, 22)]


def test_a_new_boot_begins_a_new_epoch_and_keeps_the_old_frames(tmp_path: Path) -> None:
    with opened(tmp_path, "monday") as outbox:
        fill(outbox, 3)
        before = outbox.epoch
    with opened(tmp_path, "tuesday") as outbox:
        assert outbox.epoch != before
        assert outbox.append(payload(4)) == 1
        assert [(epoch == before, sequence) for epoch, sequence, _ in held(outbox)] == [
            (True, 1),
            (True, 2),
            (True, 3),
            (False, 1),
        ]


def test_a_boot_without_a_frame_leaves_no_file(tmp_path: Path) -> None:
    for boot in ("monday", "tuesday", "wednesday"):
        with opened(tmp_path, boot):
            pass
    assert files(tmp_path) == []


def test_a_segment_whose_first_frame_the_disk_refused_is_gone_with_its_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, "monday") as outbox:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", lambda _file, _data: 0)
            with pytest.raises(OSError, match="No space"):
                outbox.append(payload(1))
        epoch = outbox.epoch
        assert len(files(tmp_path)) == 1
    with opened(tmp_path, "monday") as outbox:
        assert (outbox.epoch, len(files(tmp_path))) == (epoch, 1)
    with opened(tmp_path, "tuesday") as outbox:
        assert files(tmp_path) == []
        assert outbox.append(payload(1)) == 1
    with opened(tmp_path, "wednesday") as outbox:
        assert [sequence for _, sequence, _ in held(outbox)] == [1]


def test_the_first_frame_of_an_epoch_is_looked_for_in_that_epoch(tmp_path: Path) -> None:
    with opened(tmp_path, "old", segment_bytes=300, cap_bytes=600) as outbox:
        fill(outbox, 40)
        old, first = outbox.epoch, outbox.segments[0].first
        assert 1 < first == outbox.first(old)
    with opened(tmp_path, "new", segment_bytes=300) as outbox:
        assert outbox.first(outbox.epoch) == 1 << 63
        outbox.append(payload(1))
        assert outbox.first(outbox.epoch) == 1
        assert outbox.first(old) == first
        assert outbox.first("another") == 1 << 63


def test_trimming_forgets_whole_segments_but_not_the_newest_committed_one(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 40)
        firsts = [segment.first for segment in outbox.segments]
        assert len(firsts) > 4
        outbox.trim(outbox.epoch, firsts[3] - 1)
        assert [segment.first for segment in outbox.segments] == firsts[2:]
        assert len(files(tmp_path)) == len(outbox.segments)
        assert outbox.first(outbox.epoch) == firsts[2]
        outbox.trim(outbox.epoch, 40)
        assert [segment.first for segment in outbox.segments] == firsts[-1:]
        outbox.trim("another epoch", 1 << 60)
        assert outbox.segments


def test_a_reader_can_go_back_and_forth(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 40)
        with reading(outbox) as reader:
            for sequence in (40, 1, 17, 18, 2, 39):
                reader.rewind(outbox.epoch, sequence)
                record = reader.peek()
                assert record
                assert record.sequence == sequence
            reader.rewind(outbox.epoch, 41)
            assert reader.peek() is None
            outbox.trim(outbox.epoch, 30)
            reader.rewind(outbox.epoch, 2)
            record = reader.peek()
            assert record
            assert record.sequence == outbox.first(outbox.epoch) > 2


def test_a_reader_continues_when_its_segment_is_dropped(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300, cap_bytes=1500) as outbox:
        fill(outbox, 5)
        with reading(outbox) as reader:
            assert reader.peek()
            fill(outbox, 100, 6)
            reader.advance()
            record = reader.peek()
            assert record
            assert record.sequence == outbox.first(outbox.epoch) > 5


def test_over_the_cap_the_oldest_are_dropped_and_counted(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300, cap_bytes=2000) as outbox:
        fill(outbox, 200)
        assert outbox.size <= 2000
        assert sequences(outbox) == list(range(outbox.first(outbox.epoch), 201))
        assert outbox.dropped == outbox.first(outbox.epoch) - 1 > 0
        assert sum(path.stat().st_size for path in files(tmp_path)) == outbox.size


def test_a_cap_smaller_than_a_segment_leaves_the_one_that_is_written(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300, cap_bytes=200) as outbox:
        for number in range(1, 30):
            outbox.append(payload(number))
            assert sequences(outbox)[-1] == number
        assert len(outbox.segments) == 1


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    with opened(tmp_path / "data/outbox/meter") as outbox:
        assert outbox.append(payload(1)) == 1
    with opened(tmp_path / "data/outbox/meter") as outbox:
        assert outbox.size == sum(path.stat().st_size for path in files(outbox.folder))


def test_frames_that_are_committed_stay_so_when_storage_is_set_back(tmp_path: Path) -> None:
    dropped: list[tuple[int, int]] = []
    options: dict[str, Any] = {"drop": lambda segment: dropped.append((segment.done, segment.next))}
    with opened(tmp_path, segment_bytes=300, cap_bytes=2000, **options) as outbox:
        fill(outbox, 3)
        outbox.trim(outbox.epoch, 2)
        outbox.trim(outbox.epoch, 1)
        fill(outbox, 40, 4)
        end = outbox.segments[0].first
        assert dropped[0][0] == 3
        assert sum(following - done for done, following in dropped) == outbox.dropped == end - 3


def test_a_segment_that_may_not_be_read_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as outbox:
        fill(outbox, 3)

    def refused(path: Path) -> Segment:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Segment, "load", refused)
    with pytest.raises(PermissionError):
        Outbox(tmp_path, "boot")
    assert [path.name for path in tmp_path.glob("0*")] == ["0000000001.segment"]


def test_a_segment_that_the_disk_does_not_give_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 20)
        broken = outbox.segments[1]
    load = Segment.load

    def refused(path: Path) -> Segment:
        if path == broken.path:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return load(path)

    monkeypatch.setattr(Segment, "load", refused)
    with opened(tmp_path, segment_bytes=300) as outbox:
        assert outbox.damaged == 1
        assert sequences(outbox) == [*range(1, broken.first), *range(broken.next, 21)]
    assert files(tmp_path, "damaged") == [broken.path.with_suffix(".damaged")]


def test_a_segment_that_somebody_deleted_does_not_stop_the_next_ones(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 20)
        outbox.segments[0].path.unlink()
        outbox.trim(outbox.epoch, 20)
        assert [segment.next for segment in outbox.segments] == [21]


def test_a_segment_that_the_disk_does_not_delete_is_logged_and_deleted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 20)
        all_files = files(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", undeletable)
            outbox.trim(outbox.epoch, 20)
            assert [segment.path for segment in outbox.segments] == all_files
            assert f"{all_files[0]} cannot be deleted" in caplog.text
        outbox.trim(outbox.epoch, 20)
        assert [segment.path for segment in outbox.segments] == all_files[-1:] == files(tmp_path)


def test_what_the_cap_drops_is_counted_once_also_if_the_disk_deletes_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, segment_bytes=300, cap_bytes=2000) as outbox:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", undeletable)
            fill(outbox, 60)
            assert outbox.dropped == outbox.segments[0].next - 1 > 0
            assert outbox.size > outbox.cap
        fill(outbox, 10, 61)
        assert outbox.size <= outbox.cap
        assert outbox.dropped == outbox.first(outbox.epoch) - 1


def test_committed_frames_do_not_count_as_dropped(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300, cap_bytes=2000) as outbox:
        fill(outbox, 20)
        outbox.trim(outbox.epoch, 20)
        while outbox.first(outbox.epoch) <= 20:
            fill(outbox, 1)
        assert outbox.dropped == outbox.first(outbox.epoch) - 21


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path):
        with pytest.raises(Taken, match="another process uses this outbox") as failure:
            Outbox(tmp_path, "boot")
        assert "\n" not in str(failure.value)
    with opened(tmp_path):
        pass


def test_the_longest_frame_fits_and_a_longer_one_is_refused_without_harm(tmp_path: Path) -> None:
    with opened(tmp_path) as outbox:
        outbox.append(b"x" * LONGEST_PAYLOAD)
        with pytest.raises(ValueError, match="longer than"):
            outbox.append(b"x" * (LONGEST_PAYLOAD + 1))
        assert outbox.append(b"[]") == 2
    with opened(tmp_path) as outbox:
        assert [len(data) for _, _, data in held(outbox)] == [LONGEST_PAYLOAD, 2]


def test_a_last_record_torn_anywhere_costs_itself_and_its_epoch(tmp_path: Path) -> None:
    with opened(tmp_path) as outbox:
        fill(outbox, 5)
        epoch = outbox.epoch
    path = files(tmp_path)[0]
    whole = path.read_bytes()
    last = len(whole) - 16 - len(payload(5))
    for length in range(last + 1, len(whole)):
        for other in files(tmp_path):
            other.unlink()
        path.write_bytes(whole[:length])
        for _ in range(2):  # a start that appends nothing must not hide the damage from the next one
            with opened(tmp_path) as outbox:
                assert outbox.epoch != epoch
                assert sequences(outbox) == [1, 2, 3, 4]
        with opened(tmp_path) as outbox:
            assert outbox.append(payload(6)) == 1
        with opened(tmp_path) as outbox:
            assert sequences(outbox) == [1, 2, 3, 4, 1]
            assert outbox.append(payload(7)) == 2


def test_a_record_that_is_damaged_at_the_end_is_never_numbered_again(tmp_path: Path) -> None:
    with opened(tmp_path) as outbox:
        fill(outbox, 5)
        epoch = outbox.epoch
    path = files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    for _ in range(3):
        with opened(tmp_path) as outbox:
            assert outbox.epoch != epoch


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b'{"epoch": "e"', b"[1]\n", b"{}\n", b"[" * 4000, b"\xff\n"])
def test_an_invalid_segment_is_set_aside_and_its_numbers_are_not_used_again(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 20)
        epoch = outbox.epoch
        last = outbox.segments[-1]
    last.path.write_bytes(content)
    for start in range(3):
        with opened(tmp_path, segment_bytes=300) as outbox:
            assert outbox.damaged == (1 if start == 0 else 0)
            assert outbox.epoch != epoch
            assert sequences(outbox) == list(range(1, last.first))
    assert len(files(tmp_path, "damaged")) == 1
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 3)
        assert int(outbox.segments[-1].path.stem) > int(last.path.stem)


def test_a_segment_set_aside_in_the_middle_does_not_end_the_epoch(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 20)
        epoch = outbox.epoch
        middle = outbox.segments[1]
    middle.path.write_bytes(b"noise")
    with opened(tmp_path, segment_bytes=300) as outbox:
        assert outbox.epoch == epoch
        assert outbox.append(payload(21)) == 21
        assert sequences(outbox) == [*range(1, middle.first), *range(middle.next, 22)]


def test_a_half_written_start_of_a_segment_is_ignored(tmp_path: Path) -> None:
    with opened(tmp_path) as outbox:
        fill(outbox, 3)
        epoch = outbox.epoch
    (tmp_path / "0000000002.partial").write_bytes(b'{"epo')
    (tmp_path / "notes.segment").write_bytes(b"not ours")
    with opened(tmp_path) as outbox:
        assert outbox.epoch == epoch
        assert sequences(outbox) == [1, 2, 3]


@settings(max_examples=50)  # each opens four outboxes; test_segment.py flips bits of a single segment
@given(flips=st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 7)), min_size=1, max_size=3))
def test_flipped_bits_never_yield_a_wrong_frame_or_use_a_number_twice(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("outbox")
    with opened(folder, segment_bytes=300) as outbox:
        fill(outbox, 20)
        true = held(outbox)
    paths = files(folder)
    sizes = [path.stat().st_size for path in paths]
    for position, bit in flips:
        position %= sum(sizes)
        for path, size in zip(paths, sizes, strict=True):
            if position < size:
                data = bytearray(path.read_bytes())
                data[position] ^= 1 << bit
                path.write_bytes(data)
                break
            position -= size
    for start in range(2):
        with opened(folder, segment_bytes=300) as outbox:
            frames = held(outbox)
            old = [frame for frame in frames if frame[2] != b"new"]
            assert set(old) <= set(true)
            assert old == sorted(old, key=lambda frame: frame[1])
            if start:
                outbox.append(b"new")
    with opened(folder, segment_bytes=300) as outbox:
        new = [(epoch, sequence) for epoch, sequence, data in held(outbox) if data == b"new"]
        assert len(new) == 1
        assert new[0] not in {(epoch, sequence) for epoch, sequence, _ in true}


def test_damage_that_appears_while_running_costs_only_the_damaged_frames(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 20)
        broken = outbox.segments[1]
        data = bytearray(broken.path.read_bytes())
        data[data.index(payload(broken.first + 1))] ^= 1
        broken.path.write_bytes(data)
        expected = [number for number in range(1, 21) if number != broken.first + 1]
        assert sequences(outbox) == expected
        assert sequences(outbox) == expected
        assert outbox.damaged == 1
        with reading(outbox) as reader:
            reader.rewind(outbox.epoch, broken.first + 1)
            record = reader.peek()
            assert record
            assert record.sequence == broken.first + 2


def test_damage_at_the_end_of_the_segment_that_is_written_does_not_stop_appending(tmp_path: Path) -> None:
    with opened(tmp_path) as outbox:
        fill(outbox, 5)
        path = outbox.segments[0].path
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        with reading(outbox) as reader:
            reader.rewind(outbox.epoch, 5)
            assert reader.peek() is None
            assert outbox.append(payload(6)) == 6
            record = reader.peek()
            assert record
            assert record.sequence == 6
            assert sequences(outbox) == [1, 2, 3, 4, 6]
        assert outbox.damaged == 1


def test_damage_found_while_going_back_does_not_skip_the_frame_behind_it(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 20)
        first, second = outbox.segments[:2]
        size = first.path.stat().st_size
        os.truncate(first.path, size - 3)
        with reading(outbox) as reader:
            reader.rewind(outbox.epoch, first.next - 1)
            record = reader.peek()
            assert record
            assert record.sequence == second.first


def test_an_outbox_behind_its_storage_starts_a_new_epoch(tmp_path: Path) -> None:
    with opened(tmp_path) as outbox:
        fill(outbox, 3)
        before = outbox.epoch
        outbox.renew()
        assert outbox.append(payload(4)) == 1
    with opened(tmp_path) as outbox:
        assert outbox.epoch != before
        assert sequences(outbox) == [1, 2, 3, 1]


@pytest.mark.parametrize("room", [0, 1, 10, 16, 30, 49, 700])
def test_a_full_disk_loses_nothing_that_was_accepted(tmp_path: Path, room: int) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        from heliograph.outbox import Outbox, OutboxReader
        folder, room = Path(sys.argv[1]), int(sys.argv[2])
        outbox = Outbox(folder, "boot", segment_bytes=2000)
        accepted = [outbox.append(b"[%d]" % number) for number in range(10)]
        size = outbox.segments[-1].path.stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
        refused = 0
        for number in range(10, 60):
            try:
                accepted.append(outbox.append(b"[%d]" % number))
            except OSError:
                refused += 1
        assert refused
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert outbox.size == sum(path.stat().st_size for path in folder.glob("*.segment"))
        accepted += [outbox.append(b"[%d]" % number) for number in range(60, 70)]
        reader, read = OutboxReader(outbox), []
        while record := reader.peek():
            read.append(record.sequence)
            reader.advance()
        assert read == accepted == list(range(1, len(accepted) + 1)), (read, accepted)
        outbox.close()
        again = Outbox(folder, "boot")
        assert again.epoch == outbox.epoch and again.next == outbox.next and not again.damaged
        print(len(accepted), refused)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "outbox"), str(room)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    accepted, refused = map(int, done.stdout.split())
    assert accepted + refused == 70


def test_a_disk_that_is_full_when_a_segment_is_full_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(tmp_path, segment_bytes=300) as outbox:
        while outbox.size < 300:
            fill(outbox, 1)
        accepted = outbox.next - 1
        with monkeypatch.context() as patched:
            patched.setattr(Path, "write_bytes", full)
            for _ in range(3):
                with pytest.raises(OSError, match="No space"):
                    outbox.append(payload(1))
        assert outbox.append(payload(1)) == accepted + 1
        assert sequences(outbox) == list(range(1, accepted + 2))


def test_a_disk_that_cannot_sync_is_tried_again_and_never_mixes_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with opened(tmp_path, segment_bytes=300) as outbox:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", broken)
            for number in range(1, 60):
                try:
                    outbox.append(payload(number))
                except OSError:
                    continue
            outbox.sync(-1)
        fill(outbox, 5)
        outbox.sync(-1)
        last = outbox.next - 1
        assert sequences(outbox) == list(range(1, last + 1))
    with opened(tmp_path, segment_bytes=300) as outbox:
        assert sequences(outbox) == list(range(1, last + 1))


def test_a_frame_survives_the_death_of_the_process_right_after_it(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from heliograph.outbox import Outbox\n"
        "outbox = Outbox(Path(sys.argv[1]), 'boot')\n"
        "while True: print(outbox.append(b'[]'), flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout
    reported = [int(process.stdout.readline()) for _ in range(500)]
    process.kill()
    reported += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
    process.stdout.close()
    process.wait()
    with opened(tmp_path) as outbox:
        assert sequences(outbox)[: len(reported)] == reported


def test_a_segment_that_could_not_be_opened_once_is_read_when_it_can_be(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path, "boot")) as outbox:
        outbox.append(b"[1]")
        path = outbox.segments[0].path
        reader = OutboxReader(outbox)
        path.rename(tmp_path / "away")
        with pytest.raises(FileNotFoundError):
            reader.peek()
        (tmp_path / "away").rename(path)
        record = reader.peek()
        assert record is not None
        assert record.payload == b"[1]"
        reader.start()  # closes the file
