"""Lines of telegrams that are more, or less, than a value; telegrams that are not whole, or not readable."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from heliograph.names import NameOwners
from services.serial_bridge.decoder import DecoderFactory, StreamDecoder
from services.serial_bridge.formats import dsmr_p1
from services.serial_bridge.intake import MAX_UNREAD, SerialIntake
from services.serial_bridge.options import PortOptions, SocketOptions
from services.serial_bridge.parsing.readings import NotAReading
from services.serial_bridge.radio.unknown_nodes import UnknownNodes
from services.serial_bridge.socket_source import SocketClient, SocketSource
from services.serial_bridge.source import ParserContext
from tests.serial_bridge.meter_port import ESMR, FLUVIUS, Port, gas, telegram
from tests.service_stub import ServiceStub

ACE4000: tuple[str, ...] = (
    "/ACE4\\3kk101234567",
    "",
    "0-0:96.1.1(00)",
    "1-0:1.8.1*255(03456.789*kWh)",
    "1-0:1.8.2*255(01234.567*kWh)",
)
ACE4000 += ("1-0:1.7.0*255(0000.45*kW)", "7-0:0.0.0*255(00)", "7-0:23.1.0*255(02339.900*m3)(15-06-17 13:00:00)")


@pytest.fixture
def port(tmp_path: Path) -> Port:
    return Port(tmp_path)


def test_the_peak_of_the_month_has_the_time_at_which_it_was_measured(port: Port) -> None:
    port.say(telegram(*FLUVIUS), telegram(*FLUVIUS))
    peaks = [(values, at) for (_, values), at in zip(port.stub.readings, port.stub.times, strict=True) if at]
    assert peaks == [({"power_import_peak": 4.329}, 1_794_762_900.0)]  # 2026-11-15 18:15 +01:00
    assert port.kind("house", "power_import_peak") == ("kW", "gauge")
    assert port.of("house", "obis_1_0_1_4_0") == [1.234] * 2
    assert port.unread == []


def test_a_peak_with_a_time_that_cannot_be_is_no_reading(port: Port) -> None:
    port.say(telegram("/X", "1-0:1.6.0(632525252525S)(04.329*kW)", "1-0:1.7.0(00.300*kW)"))
    assert port.stub.readings == [("house", {"power_import": 0.3})]
    assert port.stub.counters["no_sensor"] == 1
    assert port.unread == []


def test_a_value_with_a_time_behind_it_is_read(port: Port) -> None:
    port.say(telegram(*ACE4000, checked=False))
    assert port.of("house", "energy_import_t1") == [3456.789]
    assert port.of("house_gas", "volume") == [2339.9]
    assert port.unread == []


@pytest.mark.parametrize(
    "line",
    [
        "1-0:1.8.0(1)(2)(3*kWh)",
        "1-0:1.8.0(x*kWh)",
        "1-0:1.8.0()(x)",
        "0-1:24.2.1()(x)",
        "1-0:77.1.0(5)",
        "1.8.0(123*kWh)",
        "1-0:1.8.0(1*kWh",
        "0-1:24.2.1(00001.000*m3)(1)",
        "0-1:24.3.0(x)(00)(60)(1)(0-1:24.2.1)(m3)(00001.001)",
        "1-0:92.1.0(5)",
        "0-0:92.1.0(5)",
        "1-0:42.0.0(5)",
        "hello",
    ],
)
def test_lines_that_are_not_understood_are_counted_and_shown(
    port: Port, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    port.say(*[telegram(*ESMR, line)] * 3)
    assert port.stub.counters["unread_lines"] == 3
    assert port.unread == [line]
    assert caplog.text.count("not understood") == 1
    assert port.of("house", "power_import") == [0.3] * 3


@pytest.mark.parametrize(
    "line",
    [
        "1-0:0.2.0(5)",
        "0-0:93.1.0(5)",
        "0-0:96.50.68(ON)",
        "0-0:96.13.1()",
        "1-0:1.8.0()",
        "0-0:42.0.0(ABC)",
        "0-1:24.4.0(1)",
        "0-1:96.1.1(4819)",
        "0-1:24.2.1()",
        "1-0:99.97.0(1)(0-0:96.7.19)(000104180320W)(0000237126*s)",
    ],
)
def test_what_a_meter_says_of_itself_is_neither_a_value_nor_counted(port: Port, line: str) -> None:
    port.say(telegram(*ESMR, line))
    assert port.unread == []
    assert port.stub.invalid == []
    assert port.stub.readings == [("house", {"energy_import_t1": 100.0, "power_import": 0.3})]


def test_lines_that_are_not_understood_are_shown_even_when_only_a_gas_meter_has_a_value(port: Port) -> None:
    port.say(telegram("/X", "hello", "0-1:24.1.0(003)", gas("261130080000W", "01023.855*m3")))
    assert port.unread == ["hello"]
    assert port.of("house_gas", "volume") == [1023.855]


def test_what_is_shown_of_lines_that_are_not_understood_is_bounded(port: Port) -> None:
    port.say(telegram(*ESMR, *(f"word{number}" for number in range(100))))
    assert len(port.unread) == MAX_UNREAD
    assert port.stub.counters["unread_lines"] == 100


def test_labels_of_a_victron_device_that_are_not_known_are_counted_and_shown(tmp_path: Path) -> None:
    port = Port(tmp_path, "victron", "vedirect")
    block = b"\r\nPID\t0xA053\r\nSER#\tHQ1\r\nV\t12800\r\nXYZ\t5\r\nChecksum\t"
    port.say(block + bytes([-sum(block) % 256]))
    assert port.of("victron", "battery_voltage") == [12.8]
    assert port.unread == ["XYZ(5)"]
    assert port.stub.counters["unread_lines"] == 1


def victron(fields: str, tail: bytes = b"") -> bytes:
    """A block of a Victron device, a field for each blank-separated LABEL=VALUE, and what follows its checksum."""
    block = "".join("\r\n{}\t{}".format(*field.split("=")) for field in fields.split()).encode() + b"\r\nChecksum\t"
    return block + bytes([-sum(block) % 256]) + tail


def test_hex_frames_between_blocks_of_a_victron_device_cost_no_block(tmp_path: Path) -> None:
    port = Port(tmp_path, "victron", "vedirect")
    frame = b":A0102000543\n"
    port.say(victron("PID=0xA053 V=12800", frame), frame + victron("PID=0xA053 V=12810", frame * 2))
    assert port.of("victron", "battery_voltage") == [12.8, 12.81]
    assert port.stub.invalid == []


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ("PID=0xA389 V=26201 VS=12800 MON=0 Alarm=ON AR=2", {"battery_voltage": 26.201, "starter_voltage": 12.8, "alarm": True}),
        ("PID=0xA389 V=13000 I=-5200 MON=-8", {"battery_voltage": 13, "battery_current": -5.2}),
        ("PID=0xA331 V=13600 V2=13500 V3=--- AC_OUT_I=-1", {"battery_voltage": 13.6, "battery_2_voltage": 13.5, "ac_current": -0.1}),
    ],
    ids=["smart_shunt", "dc_meter", "charger"],
)  # fmt: skip
def test_monitors_and_chargers_of_victron_are_read(tmp_path: Path, fields: str, values: dict[str, float]) -> None:
    port = Port(tmp_path, "victron", "vedirect")
    port.say(victron(fields))
    assert {name: port.of("victron", name) for name in values} == {name: [value] for name, value in values.items()}
    assert port.stub.invalid == []


def test_the_charge_ever_drawn_from_a_battery_is_a_gauge(tmp_path: Path) -> None:
    port = Port(tmp_path, "victron", "vedirect")
    port.say(b"\r\nH1\t-102738\r\nH6\t-1234567\r\nH9\t86400\r\nH17\t1234\r\nH18\t2345\r\nChecksum\t\x9f")
    assert port.of("victron", "drawn_total") == [-1234.567]
    assert port.kind("victron", "drawn_total") == ("Ah", "gauge")
    assert port.kind("victron", "energy_discharged") == ("kWh", "counter")


def encrypted(length: int = 680) -> bytes:
    head = b"\xdb\x08SAGgg\x13\x4b\x92\x82" + length.to_bytes(2, "big") + b"\x30"
    return head + bytes(number * 7 % 256 for number in range(length - 1))


def pieces(port_splitter: dsmr_p1.TelegramSplitter, data: bytes, size: int) -> Iterator[Any]:
    for start in range(0, len(data), size):
        yield from port_splitter.feed(data[start : start + size])


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_an_encrypted_telegram_is_named_as_encrypted(size: int) -> None:
    good = telegram(*ESMR)
    split = list(pieces(dsmr_p1.TelegramSplitter(), good + encrypted() * 12 + good + encrypted()[:300], size))
    assert [piece.counter for piece in split] == ["", *["encrypted_telegrams"] * 12, ""]
    assert "decrypted" in split[1].error
    assert split[0] == split[-1]


def test_an_encrypted_telegram_ends_with_its_last_byte() -> None:
    frame = encrypted()[:-1] + b"!"
    for behind in (b"\r\n", b""):
        split = list(dsmr_p1.TelegramSplitter().feed(frame + behind + telegram(*ESMR)))
        assert [piece.counter for piece in split] == ["encrypted_telegrams", ""]


def one_piece(data: bytes, *, joined_late: bool = False) -> list[tuple[str, str]]:
    return [(piece.error, piece.counter) for piece in dsmr_p1.TelegramSplitter(joined_late=joined_late).feed(data)]


def test_a_telegram_without_a_beginning_is_counted_unless_the_port_was_just_opened() -> None:
    end = b"1-0:1.7.0(00.300*kW)\r\n!1234\r\n"
    assert one_piece(end) == [("the beginning of the telegram is missing", "bad_checksums")]
    assert one_piece(end, joined_late=True) == []
    assert len(one_piece(end + end, joined_late=True)) == 1
    assert one_piece(end + telegram(*ESMR), joined_late=True) == [("", "")]


def test_an_encrypted_telegram_is_waited_for_to_its_last_byte_unless_it_is_too_long() -> None:
    longest = encrypted(dsmr_p1.LONGEST_BYTES - 13)
    for whole in (encrypted(), longest):
        assert one_piece(whole[:-1]) == []
        assert one_piece(whole) == [(dsmr_p1.ENCRYPTED, "encrypted_telegrams")]
    too_long = encrypted(dsmr_p1.LONGEST_BYTES - 12)
    assert one_piece(too_long[:100]) == [(dsmr_p1.ENCRYPTED, "encrypted_telegrams")]


def test_a_telegram_with_a_wrong_checksum_is_counted_and_the_next_one_is_read() -> None:
    good = telegram(*ESMR)
    wrong = good.replace(b"00.300", b"00.301")
    assert one_piece(wrong + good) == [("the checksum is wrong", "bad_checksums"), ("", "")]
    assert one_piece(good[:-6] + good[-6:].lower()) == [("", "")]


def test_an_end_without_anything_before_it_is_a_telegram_without_a_beginning() -> None:
    assert one_piece(b"!1234\r\n") == [("the beginning of the telegram is missing", "bad_checksums")]


def test_what_is_longer_than_a_telegram_is_counted_once_and_dropped() -> None:
    noise = b"1-0:1.7.0(00.300*kW)\r\n" * 400
    assert dsmr_p1.LONGEST_BYTES == 8192 < len(noise) < 2 * 8192
    splitter = dsmr_p1.TelegramSplitter()
    assert [piece.counter for piece in splitter.feed(noise)] == ["overlong_lines"]
    assert list(splitter.feed(b"(1)\r\n!\r\n")) == []  # its end is no second fault
    assert [piece.counter for piece in splitter.feed(telegram(*ESMR))] == [""]
    exact = b"/X\r\n" + b"x" * (dsmr_p1.LONGEST_BYTES - 4)
    assert one_piece(exact) == []
    assert one_piece(exact + b"x") == [("longer than any telegram", "overlong_lines")]


def test_telegrams_that_are_cut_off_again_and_again_do_not_pile_up() -> None:
    splitter, good = dsmr_p1.TelegramSplitter(), telegram(*ESMR)
    cut = [("the end of the telegram is missing", "bad_checksums")]
    for number in range(2 * dsmr_p1.LONGEST_BYTES // len(good)):
        assert [(piece.error, piece.counter) for piece in splitter.feed(good[:-20])] == cut * (number > 0)
        assert list(splitter.feed(b"\r\n")) == []
    assert [(piece.error, piece.counter) for piece in splitter.feed(good)] == [*cut, ("", "")]
    assert splitter.dropped == 0


def test_a_telegram_that_is_cut_off_is_set_aside_and_the_next_one_is_read(port: Port) -> None:
    good = telegram("/X", "1-0:1.7.0(00.300*kW)")
    port.say(good, telegram(*ESMR)[:90], good, b"noise\r\n", good[:9], good[:12], good)
    assert port.of("house", "power_import") == [0.3, 0.3, 0.3]
    assert port.stub.counters["bad_checksums"] == len(port.stub.invalid) == 3
    assert {why for why, _, _ in port.stub.invalid} == {"the end of the telegram is missing"}
    assert port.stub.counters["dropped_bytes"] == port.intake.facts()["dropped_bytes"] == len(b"noise")


def test_a_telegram_that_a_client_does_not_finish_is_set_aside(tmp_path: Path) -> None:
    stub = ServiceStub(tmp_path)
    intake = SerialIntake("door", stub.service, stub.producer, UnknownNodes(), NameOwners(9))
    options = SocketOptions(name="door", port=1, format="dsmr_p1")
    source = SocketSource(options, ParserContext({}), stub.service, intake)
    client = SocketClient(source)
    client.feed(b"noise\r\n" + telegram(*ESMR) + telegram(*FLUVIUS)[:50])
    client.ended()
    assert [why for why, _, _ in stub.invalid] == ["the client disconnected in the middle of a line"]
    assert (stub.counters["unfinished_lines"], stub.counters["dropped_bytes"]) == (1, 5)
    source.stop()
    source.start()  # ends at once, and closes what it opened
    source.join(5)


@pytest.mark.parametrize(
    "lines", [(), ("1-3:0.2.8(50)", "0-0:96.1.1(1234)"), ("hello",), ("0-1:24.1.0(003)", "0-1:96.1.0(30)")]
)
def test_a_telegram_without_values_is_set_aside_as_such(port: Port, lines: Sequence[str]) -> None:
    port.say(telegram("/X", *lines))
    assert [why for why, _, _ in port.stub.invalid] == ["a telegram without values"]
    assert port.stub.counters["noise_lines"] == 1
    port.say(telegram("/X", "1-0:1.7.0(00.300*kW)"))
    assert port.stub.counters["noise_lines"] == 1
    assert port.of("house", "power_import") == [0.3]


def test_a_wrong_value_is_shown_beside_the_good_ones(port: Port) -> None:
    port.say(telegram("/X", "1-0:1.7.0(1.2.3*kW)", "1-0:2.7.0(00.300*kW)"))
    assert [what for _, what, _ in port.stub.invalid] == ["1-0:1.7.0(1.2.3*kW): not a number"]
    assert port.of("house", "power_export") == [0.3]


def test_a_decoder_of_telegrams_says_why_a_telegram_is_not_a_reading() -> None:
    options = PortOptions(name="house", port="/x", format="dsmr_p1")
    decoder = DecoderFactory(options, ParserContext({})).decoder(joined_late=False)
    assert isinstance(decoder, StreamDecoder)
    (piece,) = decoder.feed(telegram("/X", "hello"))
    assert isinstance(piece.result, NotAReading)
