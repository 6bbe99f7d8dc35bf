from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sensor_reader.pulses.count_file import SLOT_BYTES, CountFile, SavedCount, copies, slot


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sensor_reader/gas.count"


def kept(path: Path, start: int = 0) -> int:
    file = CountFile(path, start)
    file.close()
    return file.count


def test_a_new_file_begins_where_the_user_says(path: Path) -> None:
    assert kept(path, 1234) == 1234
    assert kept(path, 99) == 1234


def test_a_saved_count_needs_no_close(path: Path) -> None:
    file = CountFile(path)
    for count in range(1, 8):
        file.save(count)
        assert max(copies(path.read_bytes())).pulses == count
    file.close()
    assert kept(path) == 7


@given(st.sampled_from([0, SLOT_BYTES]), st.integers(0, 51))
def test_a_torn_write_costs_at_most_the_last_count(torn: int, written: int) -> None:
    content = bytearray(b"".join(slot(SavedCount(count, count)).ljust(SLOT_BYTES, b"\0") for count in (42, 41)))
    content[torn + written : torn + 60] = b"\xff" * (60 - written)
    assert max(copies(bytes(content))).pulses in ((41, 42) if written < 51 else (42,))


def test_a_file_with_one_torn_copy_has_the_other_count(path: Path) -> None:
    file = CountFile(path)
    file.save(41)
    file.save(42)
    file.close()
    content = bytearray(path.read_bytes())
    content[20:60] = b"\xff" * 40
    path.write_bytes(content)
    assert kept(path) == 41


def test_a_file_without_an_intact_copy_is_kept_beside_the_new_one(path: Path) -> None:
    kept(path, 5)
    path.write_bytes(b"rubbish")
    file = CountFile(path, 7)
    file.close()
    assert file.damaged
    assert file.count == 7
    assert path.with_suffix(".damaged").read_bytes() == b"rubbish"
    assert kept(path) == 7


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    file = CountFile(path, 3)
    file.close()
    assert (file.count, file.damaged) == (3, False)


@given(st.integers(0, 1 << 60), st.integers(0, 1 << 60))
def test_a_copy_is_read_as_it_was_written(turn: int, pulses: int) -> None:
    content = slot(SavedCount(turn, pulses)).ljust(SLOT_BYTES, b"\0") + b"noise"
    assert copies(content) == [SavedCount(turn, pulses)]


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_noise_holds_no_copy(first: bytes, second: bytes) -> None:
    assert copies(first.ljust(SLOT_BYTES, b"\0") + second) == []


@given(st.integers(0, 1 << 60), st.integers(0, 50), st.integers(1, 255))
def test_a_changed_byte_is_noticed(pulses: int, where: int, change: int) -> None:
    content = bytearray(slot(SavedCount(7, pulses)))
    content[where] ^= change
    assert copies(bytes(content)) == []
