"""Whatever comes, every byte of a stream is in a piece, in the one that has begun, or counted as dropped."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.serial_bridge.formats import dsmr_p1, sml, vedirect
from services.serial_bridge.parsing.lines import MAX_BYTES, LineSplitter
from services.serial_bridge.parsing.readings import Piece, StreamSplitter
from tests.serial_bridge.meter_port import ESMR, FLUVIUS, telegram
from tests.serial_bridge.test_obis import EASYMETER
from tests.serial_bridge.test_obis import sml as transmission
from tests.serial_bridge.test_telegrams import encrypted, victron

SPLITTERS: dict[str, Callable[[bool], StreamSplitter]] = {
    "lines": lambda late: LineSplitter(joined_late=late),
    "dsmr_p1": dsmr_p1.splitter,
    "sml": sml.splitter,
    "vedirect": vedirect.splitter,
}
WHOLE = {
    "lines": [b"a:1\r\n", b"b\n", b"x" * MAX_BYTES + b"\n", b"y" * 2 * MAX_BYTES + b"\n"],
    "dsmr_p1": [telegram(*ESMR), telegram(*FLUVIUS), telegram("/X", "1-0:1.7.0(1*kW)", checked=False), encrypted(60)],
    "sml": [transmission(EASYMETER, [((1, 0, 1, 8, 0, 255), 30, 0, b"\x1b\x1b\x1b\x1b")]), sml.START + bytes(9000)],
    "vedirect": [victron("PID=0xA053 V=12800"), victron("V=1 I=2")],
}
TEXT_FORMATS = {"lines", "dsmr_p1"}  # in which ends of lines are not counted
NOISE = st.binary(max_size=40).map(lambda noise: noise.replace(b":", b""))  # VE.Direct skips what follows a colon


def size(content: bytes, name: str) -> int:
    return len(content.replace(b"\r", b"").replace(b"\n", b"") if name in TEXT_FORMATS else content)


def fed(splitter: StreamSplitter, stream: bytes, step: int) -> list[Piece]:
    return [piece for at in range(0, len(stream), step) for piece in splitter.feed(stream[at : at + step])]


@pytest.mark.parametrize("name", SPLITTERS)
@settings(max_examples=40)
@given(data=st.data(), late=st.booleans(), step=st.sampled_from([3, 64, 100_000]))
def test_every_byte_is_taken_set_aside_waited_for_or_counted(
    name: str, data: st.DataObject, late: bool, step: int
) -> None:
    whole = st.sampled_from(WHOLE[name])
    cut = st.builds(lambda one, first, last: one[first:last], whole, st.integers(0, 90), st.integers(0, 400))
    stream = b"".join(data.draw(st.lists(whole | cut | NOISE, max_size=8)))
    splitter = SPLITTERS[name](late)
    pieces = fed(splitter, stream, step)
    assert all(piece.size for piece in pieces)
    accounted = sum(piece.size for piece in pieces) + splitter.dropped + size(splitter.unfinished, name)
    assert accounted == size(stream, name)


@settings(max_examples=40)
@given(
    parts=st.lists(st.tuples(st.sampled_from([ESMR, FLUVIUS]), st.none() | st.integers(2, 150)), max_size=8),
    step=st.sampled_from([7, 100_000]),
)
def test_whole_telegrams_are_read_and_cut_ones_are_set_aside_one_by_one(
    parts: list[tuple[tuple[str, ...], int | None]], step: int
) -> None:
    splitter = dsmr_p1.TelegramSplitter()
    pieces = fed(splitter, b"".join(telegram(*lines)[:end] for lines, end in parts), step)
    if splitter.unfinished:
        pieces += splitter.feed(b"\r\n" + telegram(*ESMR))
        assert not pieces.pop().error
    assert [bool(piece.error) for piece in pieces] == [end is not None for _, end in parts]
    assert splitter.dropped == 0
