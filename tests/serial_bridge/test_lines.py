from hypothesis import given
from hypothesis import strategies as st

from services.serial_bridge.parsing.lines import MAX_BYTES, LineSplitter
from services.serial_bridge.parsing.readings import Piece


def line(data: bytes) -> Piece:
    return Piece(data, size=len(data))


def split(*pieces: bytes, joined_late: bool = False) -> list[Piece]:
    lines = LineSplitter(joined_late=joined_late)
    return [one for piece in pieces for one in lines.feed(piece)]


def test_cr_lf_and_both_end_a_line_and_empty_lines_do_not_count() -> None:
    assert split(b"a\r\nb\nc\rd\n\r\n\n", b"\r\ne") == [line(b"a"), line(b"b"), line(b"c"), line(b"d")]


def test_what_was_being_sent_while_the_port_was_opened_is_dropped_up_to_its_end() -> None:
    assert split(b"half a li", b"ne\r\nwhole\r\n", joined_late=True) == [line(b"whole")]


def test_an_overlong_line_is_dropped_up_to_its_end_and_reported_once() -> None:
    endless = b"x" * (MAX_BYTES - 1)
    lines = split(b"a\n", endless, b"xx", endless, endless, b"x\nb\n")
    assert [bool(one.error) for one in lines] == [False, True, False]
    assert [one.data for one in lines if not one.error] == [b"a", b"b"]


def test_an_overlong_line_that_comes_in_one_piece_does_not_touch_its_neighbours() -> None:
    lines = split(b"a\n" + b"x" * (MAX_BYTES + 1) + b"\nb\n")
    assert [bool(one.error) for one in lines] == [False, True, False]


def test_a_line_of_just_the_greatest_length_is_a_line() -> None:
    assert split(b"x" * MAX_BYTES, b"\n") == [line(b"x" * MAX_BYTES)]


@given(st.lists(st.text("ab\r\n").map(str.encode), max_size=20))
def test_where_a_stream_is_split_does_not_matter(pieces: list[bytes]) -> None:
    assert split(*pieces) == split(b"".join(pieces))


@given(st.binary(max_size=3 * MAX_BYTES), st.integers(1, 2 * MAX_BYTES))
def test_no_line_is_longer_than_the_limit(stream: bytes, size: int) -> None:
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    for one in split(*pieces):
        assert 0 < len(one.data) <= MAX_BYTES
