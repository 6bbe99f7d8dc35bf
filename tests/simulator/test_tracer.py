from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import ModbusTcpClient

from simulator import SimulatedDevice, Site, SitePlan, TcpServer
from simulator.readings import Controller, Energy, Meter
from simulator.sdm120 import encode_sdm120, encode_sdm630, floats, sdm120, sdm630
from simulator.tracer import decode_clock, encode, encode_clock, tracer

NOON = datetime(2026, 6, 21, 11, 30, 15, tzinfo=UTC)
READING = msgspec.structs.replace(
    Site(SitePlan(), NOON.timestamp()).controller(),
    pv_v=17.5,
    pv_a=57.14,
    pv_w=1000.0,
    battery_v=13.21,
    charge_a=4.5,
    load_a=6.0,
    load_w=79.26,
    soc=0.42,
    battery_c=-3.25,
    stage="boost",
    night=False,
    generated=Energy(1, 2, 3, 1234.56),
)
METER = Meter(
    volts=230,
    hertz=50,
    watts=1234.5,
    var=200,
    import_kwh=12.5,
    export_kwh=3.25,
    import_kvarh=1,
)


def ask(device: SimulatedDevice, function: int, start: int, count: int) -> list[int]:
    answer = device.answer(bytes([function, *start.to_bytes(2, "big"), *count.to_bytes(2, "big")]))
    assert answer[0] == function, f"exception {answer[1]}"
    words = answer[2:]
    return [int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2)]


def test_values_stand_where_the_makers_document_puts_them() -> None:
    words = encode(READING)
    assert words[0x3100] == 1750
    assert (words[0x3102], words[0x3103]) == (100_000 & 0xFFFF, 100_000 >> 16)
    assert words[0x3104] == 1321
    assert words[0x310E] == 7926
    assert words[0x3110] == 0x10000 - 325
    assert words[0x311A] == 42
    assert words[0x3201] >> 2 & 0b11 == 0b10
    assert (words[0x3312], words[0x3313]) == (123_456 & 0xFFFF, 123_456 >> 16)
    assert words[0x331B] | words[0x331C] << 16 == 0x1_0000_0000 - 150


@pytest.mark.parametrize(
    ("start", "count"),
    [
        (0x3000, 9),
        (0x300E, 1),
        (0x3100, 16),
        (0x3110, 3),
        (0x311A, 4),
        (0x3200, 3),
        (0x3300, 0x14),
        (0x331A, 5),
    ],
)
def test_the_blocks_that_pollers_read_exist(start: int, count: int) -> None:
    assert len(ask(tracer("t", lambda: READING), 4, start, count)) == count


@pytest.mark.parametrize("start", [0x3009, 0x3113, 0x311E, 0x3203, 0x3314, 0x331F, 0])
def test_an_address_between_the_blocks_is_exception_2(start: int) -> None:
    request = bytes([4, *start.to_bytes(2, "big"), 0, 1])
    assert tracer("t", lambda: READING).answer(request) == bytes([0x84, 2])


def test_the_night_flag_and_the_settings_are_there() -> None:
    night = msgspec.structs.replace(READING, night=True)
    assert tracer("t", lambda: night).answer(bytes([2, 0x20, 0x0C, 0, 1]))[2] == 1
    assert tracer("t", lambda: READING).answer(bytes([2, 0x20, 0x0C, 0, 1]))[2] == 0
    assert ask(tracer("t", lambda: READING), 3, 0x9003, 12)[4] == 1440


def test_the_clock_shows_the_readings_time_until_it_is_set() -> None:
    device = tracer("t", lambda: READING)
    words = ask(device, 3, 0x9013, 3)
    assert words == [30 << 8 | 15, 21 << 8 | 11, 26 << 8 | 6]
    assert decode_clock(words, UTC) == NOON
    later = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    data = b"".join(word.to_bytes(2, "big") for word in encode_clock(later))
    device.answer(bytes([16, 0x90, 0x13, 0, 3, 6]) + data)
    assert decode_clock(ask(device, 3, 0x9013, 3), UTC) == later


def test_a_clock_set_to_nonsense_continues() -> None:
    device = tracer("t", lambda: READING)
    device.answer(bytes([16, 0x90, 0x13, 0, 3, 6]) + b"\xff" * 6)
    assert decode_clock(ask(device, 3, 0x9013, 3), UTC) == NOON


def test_the_load_coil_switches_the_load() -> None:
    switched: list[bool] = []
    device = tracer("t", lambda: READING, switched.append)
    device.answer(bytes([5, 0, 2, 0, 0]))
    device.answer(bytes([5, 0, 2, 0xFF, 0]))
    assert switched == [False, True]


@given(st.builds(float, st.floats(-1e9, 1e9)), st.floats(-400, 400))
def test_any_reading_fits_into_registers(value: float, celsius: float) -> None:
    wild: Controller = msgspec.structs.replace(READING, pv_v=value, pv_w=value, load_a=value, battery_c=celsius)
    assert all(0 <= word <= 0xFFFF for word in encode(wild).values())


def test_a_real_client_reads_a_meters_floats() -> None:
    units = {2: sdm120("a", lambda: METER, unit=2), 3: sdm630("b", lambda: METER)}
    with (
        TcpServer(units) as server,
        ModbusTcpClient("127.0.0.1", port=server.port) as client,
    ):

        def read(unit: int, address: int) -> object:
            answer = client.read_input_registers(address, count=2, device_id=unit)
            return client.convert_from_registers(list(answer.registers), client.DATATYPE.FLOAT32)

        assert read(2, 0x0C) == 1234.5
        assert read(2, 0x48) == 12.5
        assert read(3, 0x34) == 1234.5
        assert read(3, 0x0C) == pytest.approx(1234.5 / 2)
        assert client.read_input_registers(0x0D, count=2, device_id=2).isError()
        assert client.read_input_registers(0, count=62, device_id=2).isError()
        assert client.read_input_registers(0, count=80, device_id=3).registers


def test_a_float_has_its_high_word_first() -> None:
    assert floats({0x0C: 1234.5}) == {0x0C: 0x449A, 0x0D: 0x5000}


def test_a_meter_agrees_with_itself() -> None:
    values = encode_sdm120(METER)
    assert values[0x12] ** 2 == pytest.approx(values[0x0C] ** 2 + values[0x18] ** 2)
    assert values[0x00] * values[0x06] == pytest.approx(values[0x12])
    assert values[0x1E] == pytest.approx(values[0x0C] / values[0x12])
    assert values[0x156] == values[0x48] + values[0x4A]


def test_three_phases_add_up_to_the_totals() -> None:
    values = encode_sdm630(METER)
    for first, total in [
        (0x06, 0x30),
        (0x0C, 0x34),
        (0x12, 0x38),
        (0x18, 0x3C),
        (0x15A, 0x48),
        (0x160, 0x4A),
        (0x166, 0x156),
        (0x16C, 0x4C),
    ]:
        phases = sum(values[first + 2 * phase] for phase in range(3))
        assert phases == pytest.approx(values[total])
