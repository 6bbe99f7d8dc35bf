import random
import struct
from decimal import Decimal

import pytest

from heliograph import units
from services.modbus_poller import frames, models
from services.modbus_poller.client import LineClient
from services.modbus_poller.options import DeviceOptions, LineOptions
from services.modbus_poller.polling import PolledDevice
from services.modbus_poller.reads import ReadRequest
from tests.modbus_poller.pymodbus_server import PymodbusServer

FORMATS = {
    "uint16": "H",
    "int16": "h",
    "uint32": "I",
    "int32": "i",
    "uint64": "Q",
    "int64": "q",
    "float32": "f",
    "float64": "d",
}


def raw_number(type_name: str, choice: random.Random) -> int | float:
    if type_name.startswith("float"):
        return choice.randrange(-9_999, 9_999) / 8  # exact in a float32
    low = -(2 ** (int(type_name[-2:]) - 1)) if type_name[0] == "i" else 0
    return choice.randrange(low, low + 2 ** int(type_name[-2:]))


def words(type_name: str, number: int | float, order: str) -> list[int]:
    data = struct.pack(f">{FORMATS[type_name]}", number)
    big = list(struct.unpack(f">{len(data) // 2}H", data))
    return big[::-1] if order == "CDAB" else big


def meaning(register: models.Register, number: int | float, bit: bool) -> object:
    if bit and not register.texts:
        return bool(number)
    if register.bits:
        high, *rest = map(int, register.bits.split("-"))
        low = rest[0] if rest else high
        number = int(f"{int(number):016b}"[15 - high : 16 - low], 2)
        if high == low and not register.texts:
            return bool(number)
        if register.signed:
            magnitude = number % 2 ** (high - low)
            return float(magnitude if magnitude == number else -magnitude)
    if register.texts:
        return register.texts.get(str(number), f"code {number}")
    exact = Decimal(number) * Decimal(str(register.scale)) + Decimal(str(register.offset))
    return float(exact)


@pytest.mark.parametrize("name", models.names())
def test_every_channel_of_a_device_file_comes_out_as_it_went_in(name: str) -> None:
    model = models.load(name)
    choice = random.Random(name)
    tables: dict[int, dict[int, int]] = {}
    numbers: dict[tuple[int, int, str], int | float] = {}
    expected = {}
    for channel, register in model.registers.items():
        function = model.function(channel)
        table = tables.setdefault(function, {})
        where = (function, register.address, register.type)
        if where not in numbers:
            number = numbers[where] = raw_number(register.type, choice)
            if function in frames.BITS:
                number = numbers[where] = int(number) & 1
            for i, word in enumerate(words(register.type, number, model.header.byte_order)):
                assert table.setdefault(register.address + i, word) == word
        expected[channel] = meaning(register, numbers[where], function in frames.BITS)
    device = DeviceOptions(name="it", model=name)
    polled = PolledDevice(device)
    requests = []
    with (
        PymodbusServer(tables) as server,
        LineClient(LineOptions(port=f"tcp://127.0.0.1:{server.port}", devices=(device,), timeout=10.0)) as client,
    ):

        def read(block: ReadRequest) -> list[int]:
            requests.append(block)
            return client.read(1, block.function, block.address, block.count)

        result = polled.poll(read, 0)
        assert not polled.probe(read)
    assert result.failure == ""
    assert result.invalid == []
    assert result.values == expected
    assert all(block.count <= model.header.max_registers for block in requests)


@pytest.mark.parametrize("name", models.names())
def test_every_device_file_names_its_document_and_units_that_exist(name: str) -> None:
    model = models.load(name)
    assert model.header.document
    assert model.header.products
    for channel in model.registers:
        meaning = model.channel(channel)
        assert units.DEVICE_CLASSES[meaning.unit] is not None
        if meaning.unit in ("kWh", "kvarh"):
            assert meaning.kind == "counter"


def test_integer_counters_roll_over_where_their_registers_end_and_floats_do_not() -> None:
    for name in models.names():
        model = models.load(name)
        for channel, register in model.registers.items():
            meaning = model.channel(channel)
            whole = register.type.startswith("uint") and meaning.kind == "counter"
            assert meaning.rollover == pytest.approx(register.scale * 2.0 ** int(register.type[-2:]) if whole else 0.0)


def test_there_are_at_least_twenty_device_files() -> None:
    assert len(models.names()) >= 20


WRITABLE = [
    (name, channel) for name in models.names() for channel, r in models.load(name).registers.items() if r.writable
]


@pytest.mark.parametrize(("name", "channel"), WRITABLE)
def test_every_writable_channel_is_written_within_its_limits_and_reads_back(name: str, channel: str) -> None:
    model = models.load(name)
    register = model.registers[channel]
    device = DeviceOptions(name="it", model=name)
    polled = PolledDevice(device)
    assert register.writable
    low, high = map(int, register.writable)
    bit = model.function(channel) in frames.BITS
    tables = {model.function(channel): dict.fromkeys(range(register.address, register.address + 16), 0)}
    with (
        PymodbusServer(tables) as server,
        LineClient(LineOptions(port=f"tcp://127.0.0.1:{server.port}", devices=(device,), timeout=10.0)) as client,
    ):

        def read(block: ReadRequest) -> list[int]:
            return client.read(1, block.function, block.address, block.count)

        def write(function: int, address: int, words: list[int]) -> None:
            client.write(1, function, address, words)

        for value in (high, low):
            done, refused = polled.write({channel: value}, write, read)
            named = register.texts.get(str(value), value)
            assert (done, refused) == ({channel: bool(value) if bit else named}, {})
        for value in (high + 1, low - 1):
            done, refused = polled.write({channel: value}, write, read)
            assert not done
            assert set(refused) == {channel}


def test_the_tracer_is_read_in_the_blocks_of_its_document() -> None:
    asked = []

    def read(block: ReadRequest) -> list[int]:
        asked.append((block.function, block.address, block.count))
        return [0] * block.count

    polled = PolledDevice(DeviceOptions(name="it", model="epever_tracer"))
    polled.poll(read, 0.0)
    first, asked = asked, []
    polled.poll(read, 10.0)
    assert set(first) - set(asked) == {(4, 0x3000, 9), (4, 0x300E, 1)}
    assert asked == [
        (1, 0x0002, 1),
        (2, 0x2000, 1),
        (2, 0x200C, 1),
        (4, 0x3100, 16),
        (4, 0x3110, 3),
        (4, 0x311A, 4),
        (4, 0x3200, 3),
        (4, 0x3300, 20),
        (4, 0x331A, 3),
        (4, 0x331D, 2),
    ]


@pytest.mark.parametrize(("name", "requests"), [("eastron_sdm120", 3), ("eastron_sdm630", 2)])
def test_a_meter_is_read_in_few_requests_of_whole_values(name: str, requests: int) -> None:
    asked = []

    def read(block: ReadRequest) -> list[int]:
        asked.append(block)
        return [0] * block.count

    PolledDevice(DeviceOptions(name="it", model=name)).poll(read, 0.0)
    assert len(asked) == requests
    assert all(b.address % 2 == 0 and b.count % 2 == 0 for b in asked)
