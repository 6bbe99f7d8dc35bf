"""What is written to a board, and when, by a clock that the test sets."""

import time
from itertools import pairwise
from typing import Any

import pytest

from services.serial_bridge.radio import commands
from services.serial_bridge.radio.command_queue import CommandQueue
from services.serial_bridge.radio.settings import RadioOptions


class Board:
    """A command queue and its clock."""

    def __init__(self, line_format: str = "rfm2pi", *, synchronised: bool = True, **settings: Any) -> None:
        self.now = 1000.0
        self.synchronised = synchronised
        self.command_queue = CommandQueue(
            RadioOptions(**settings), lambda: self.now, lambda: self.synchronised, oem=line_format == "oem"
        )
        self.command_queue.opened()

    def wait(self, seconds: float) -> list[bytes]:
        written = []
        for _ in range(round(seconds * 10)):
            if command := self.command_queue.due():
                written.append(command)
            self.now += 0.1
        return written


def test_an_old_firmware_gets_the_number_first_and_a_new_one_letter_first() -> None:
    wanted: dict[str, Any] = {"group": 210, "base_id": 5, "frequency": 433, "vcal": 268.97, "period": 9.8}
    wanted["ical"] = ((90.9, 4.2), (16.67, 6.0))
    board = Board("oem", **wanted)
    assert board.wait(0.5) == [b"4v\n"]
    board.command_queue.received("> 4v")
    assert board.wait(5) == [b"5i\n", b"4b\n", b"210g\n"]
    for response in ("4v", ""):
        board = Board("oem", **wanted)
        assert board.wait(0.5) == [b"4v\n"]
        if response:
            board.command_queue.received(response)
        new = [b"i5\n", b"b4\n", b"g210\n", b"d9.8\n", b"k0 268.97 0.00\n", b"k1 90.90 4.20\n", b"k2 16.67 6.00\n"]
        assert board.wait(9) == new


def test_a_format_2_board_without_settings_is_left_alone() -> None:
    assert Board("oem").wait(10) == []


def test_commands_are_a_second_apart() -> None:
    board = Board(group=210, base_id=5)
    written = [(round(board.now, 1), command) for _ in range(50) for command in board.wait(0.1)]
    assert [command for _, command in written] == [b"v", b"5i", b"210g"]
    moments = [moment for moment, _ in written]
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(moments))


def test_packets_wait_until_the_board_is_set_and_the_time_until_there_is_one() -> None:
    board = Board(group=210, time_broadcast_interval=60.0, synchronised=False)
    board.command_queue.send(20, bytes([14, 38]))
    assert board.wait(10) == [b"v", b"210g", b"20,14,38,0s"]
    board.synchronised = True
    (first,) = board.wait(30)
    assert first.startswith(b"00,")
    assert first.endswith(b",00,s")
    assert len(board.wait(120)) == 2


def test_a_board_that_is_plugged_in_again_is_set_again() -> None:
    board = Board(group=210)
    assert board.wait(5) == [b"v", b"210g"]
    board.command_queue.opened()
    board.command_queue.received("[RF12demo.12] E i15* g210 @ 433 MHz q1")
    assert board.wait(5) == [b"v"]
    assert board.command_queue.firmware == "RF12demo.12"


def test_a_changed_setting_is_sent_alone() -> None:
    board = Board(group=210, frequency=433)
    assert board.wait(6) == [b"v", b"4b", b"210g"]
    board.command_queue.configure(RadioOptions(group=210, frequency=868))
    assert board.wait(6) == [b"8b"]


def test_a_board_that_oemgateway_and_emonhub_set_is_set_to_the_same() -> None:
    board = Board(group=210, frequency=433, base_id=15, time_broadcast_interval=60.0)
    *written, _ = board.wait(6)
    assert sorted(written[1:]) == [b"15i", b"210g", b"4b"]
    board.command_queue.configure(RadioOptions(group=210, frequency=868, base_id=15, time_broadcast_interval=60.0))
    assert board.wait(10) == [b"8b"]
    assert commands.time_packet(time.struct_time((2026, 11, 21, 10, 28, 59, 5, 325, 0))) == b"00,10,28,00,s"
    board = Board(base_id=5, frequency=433, group=210, quiet="on", calibration="230V")
    assert board.wait(9) == [b"v", b"5i", b"4b", b"210g", b"1q", b"1p"]
    changed = RadioOptions(base_id=5, frequency=868, group=210, quiet="off", calibration="110V")
    board.command_queue.configure(changed)
    assert board.wait(9) == [b"8b", b"0q", b"2p"]


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("[RF12demo.12] E i15* g210 @ 433 MHz q1", {"i": "15", "g": "210", "b": "4", "q": "1"}),
        (" i5 g0 @ 915 MHz", {"i": "5", "g": "0", "b": "9", "q": "0"}),
    ],
)
def test_a_settings_line_says_what_is_in_force(line: str, known: dict[str, str]) -> None:
    assert commands.settings(line) == known


def test_too_many_packets_for_a_slow_radio_are_the_newest() -> None:
    board = Board()
    for number in range(150):
        board.command_queue.send(1, bytes([number]))
    written = board.wait(160)
    assert written[0] == b"v"
    assert written[1] == b"1,50,0s"
    assert written[-1] == b"1,149,0s"
