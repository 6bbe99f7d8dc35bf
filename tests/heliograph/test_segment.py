from io import BufferedReader
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.segment import HEADER, LONGEST_PAYLOAD, Segment, SegmentRecord, packed

PAYLOADS = [b"[]", b'[{"d":"meter","k":["power"],"r":[[1763633000,1]]}]', b"[1,2,3]", b"", b"[4]"]


def written(path: Path, payloads: list[bytes] = PAYLOADS) -> bytes:
    Segment.create(path, "epoch", "boot", 7)
    with path.open("ab") as file:
        for sequence, payload in enumerate(payloads, 7):
            file.write(packed(sequence, payload))
    return path.read_bytes()


def records(segment: Segment) -> list[SegmentRecord]:
    with segment.open() as file:
        return list(iter(lambda: segment.record(file), None))


def true_records() -> list[SegmentRecord]:
    return [SegmentRecord("epoch", sequence, payload) for sequence, payload in enumerate(PAYLOADS, 7)]


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "1.segment"
    size = len(written(path))
    segment = Segment.load(path)
    assert (segment.epoch, segment.boot, segment.first, segment.next) == ("epoch", "boot", 7, 12)
    assert segment.size == size
    assert not segment.damaged
    assert records(segment) == true_records()


def test_a_full_segment_is_read_byte_for_byte_about_once(tmp_path: Path) -> None:
    class Counted:
        def __init__(self, file: BufferedReader) -> None:
            self._file = file
            self.bytes = 0

        def read(self, size: int = -1) -> bytes:
            data = self._file.read(size)
            self.bytes += len(data)
            return data

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    path = tmp_path / "1.segment"
    size = len(written(path, [b"x" * 100] * 1000))
    segment = Segment.load(path)
    with segment.open() as file:
        counted = Counted(file)
        assert len(list(iter(lambda: segment.record(cast(BufferedReader, counted)), None))) == 1000
    assert counted.bytes <= size


def test_a_segment_without_records_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "1.segment"
    Segment.create(path, "epoch", "boot", 7)
    segment = Segment.load(path)
    assert segment.next == segment.first == 7
    assert segment.size == path.stat().st_size
    assert records(segment) == []


def test_a_payload_is_at_most_half_of_what_the_broker_takes_in_one_message() -> None:
    conf = (Path(__file__).parents[2] / "mosquitto/mosquitto.conf").read_text()
    assert f"\nmax_packet_size {2 * LONGEST_PAYLOAD}\n" in conf


def test_the_longest_payload_fits_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "1.segment"
    written(path, [b"x" * LONGEST_PAYLOAD])
    assert [len(record.payload) for record in records(Segment.load(path))] == [LONGEST_PAYLOAD]
    with pytest.raises(ValueError, match="longer than"):
        packed(1, b"x" * (LONGEST_PAYLOAD + 1))


def test_a_damaged_record_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "1.segment"
    data = bytearray(written(path))
    position = data.index(PAYLOADS[1]) + 5
    data[position] ^= 1
    path.write_bytes(data)
    segment = Segment.load(path)
    assert segment.damaged
    assert [record.sequence for record in records(segment)] == [7, 9, 10, 11]


def test_a_page_of_zeros_costs_only_the_records_on_it(tmp_path: Path) -> None:
    path = tmp_path / "1.segment"
    payloads = [b'{"n":%d}' % number * 20 for number in range(200)]
    data = bytearray(written(path, payloads))
    data[4096:8192] = bytes(4096)
    path.write_bytes(data)
    segment = Segment.load(path)
    read = records(segment)
    assert segment.damaged
    assert segment.next == 207
    assert all(record.payload == payloads[record.sequence - 7] for record in read)
    assert 200 - len(read) <= 4096 // (HEADER.size + len(payloads[0])) + 2


def test_a_file_cut_anywhere_gives_its_complete_records(tmp_path: Path) -> None:
    path = tmp_path / "1.segment"
    data = written(path)
    head = data.index(b"\n") + 1
    for length in range(len(data)):
        path.write_bytes(data[:length])
        if length < head:
            with pytest.raises(ValueError, match="first line"):
                Segment.load(path)
        else:
            read = records(Segment.load(path))
            assert read == true_records()[: len(read)]


@settings(max_examples=300)
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_never_yields_a_wrong_frame(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("segment") / "1.segment"
    data = bytearray(written(path))
    head = data.index(b"\n") + 1
    position %= len(data)
    data[position] ^= 1 << bit
    path.write_bytes(data)
    if position < head:
        with pytest.raises(ValueError, match="first line"):
            Segment.load(path)
        return
    segment = Segment.load(path)
    read = records(segment)
    assert set(read) < set(true_records())
    assert len(read) == len(PAYLOADS) - 1


@settings(max_examples=200)
@given(data=st.binary(max_size=400), behind_a_head=st.booleans())
def test_any_bytes_are_a_segment_or_a_value_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, behind_a_head: bool
) -> None:
    path = tmp_path_factory.mktemp("segment") / "1.segment"
    if behind_a_head:
        Segment.create(path, "epoch", "boot", 1)
        path.write_bytes(path.read_bytes() + data)
        records(Segment.load(path))
    else:
        path.write_bytes(data)
        with pytest.raises(ValueError, match="first line"):
            Segment.load(path)


def test_a_spot_that_cannot_be_read_ends_the_segment_there(tmp_path: Path) -> None:
    path = tmp_path / "1.segment"
    written(path)
    segment = Segment.load(path)

    class BadSpot:
        def tell(self) -> int:
            return 0

        def seek(self, _position: int) -> None:
            raise OSError(5, "Input/output error")

        def read(self, _length: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    assert segment.record(cast(BufferedReader, BadSpot())) is None
