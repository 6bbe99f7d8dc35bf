"""Any response of a device is a value or an error that is set aside; and memory does not grow."""

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import pytest
from pymodbus.framer import FramerRTU

from heliograph import topics
from heliograph.messages import encode, is_value
from services.modbus_poller import models
from services.modbus_poller.client import LineClient
from services.modbus_poller.errors import ExceptionResponse, InvalidFrame, NoResponse, UnexpectedResponse
from services.modbus_poller.options import DeviceOptions, LineOptions
from services.modbus_poller.polling import PolledDevice
from services.modbus_poller.reads import ReadRequest
from services.modbus_poller.scan import identify
from services.modbus_poller.sunspec import models as sunspec
from services.modbus_poller.sunspec.device import SunSpecDevice
from tests import fuzzing

ANYONE = (DeviceOptions(name="it", model="eastron_sdm120"),)
TIMEOUT = 0.01
FUNCTIONS = [1, 2, 3, 4]
ABSENT: list[Callable[[], Exception]] = [
    lambda: NoResponse("no answer"),
    lambda: InvalidFrame("00"),
    lambda: UnexpectedResponse("1 value"),
]
CODES = [1, 2, 3, 4, 6, 11]
EDGES = [0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7F80, 0xFF80, 0x7FC0, 2000]


class Hostile:
    """Answers requests in both framings: sometimes well, mostly nearly so, now and then with anything."""

    def __init__(self, framing: str) -> None:
        self._framing = framing
        self._chance = random.Random(4)

    def answer(self, request: bytes) -> bytes:
        fate = self._chance.random()
        if fate < 0.1:
            return self._chance.randbytes(self._chance.randrange(1, 300))
        good = self._good(request)
        return good if fate < 0.2 else fuzzing.mutated(self._chance, good)[:300] or b"\0"

    def _good(self, request: bytes) -> bytes:
        unit, function, *_ = pdu = request[6:] if self._framing == "tcp" else request[:-2]
        count = int.from_bytes(pdu[4:6], "big") % 126
        size = -(-count // 8) if function in (1, 2) else 2 * count
        body = bytes([unit, function, size]) + self._chance.randbytes(size)
        if self._chance.random() < 0.1:
            body = bytes([unit, function | 0x80, self._chance.randrange(256)])
        if self._framing == "tcp":
            return request[:4] + len(body).to_bytes(2, "big") + body
        return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


@contextmanager
def host(framing: str) -> Iterator[str]:
    """A host that speaks Modbus TCP, or RTU frames over TCP; yields its port as a line names it."""
    hostile = Hostile(framing)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    while len(request := connection.recv(300)) >= 8:
                        connection.sendall(hostile.answer(request))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"{'tcp' if framing == 'tcp' else 'rtu+tcp'}://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def port(_framing: str) -> Iterator[str]:
    """A serial port; yields its path."""
    ours, theirs = os.openpty()
    hostile = Hostile("rtu")

    def serve() -> None:
        with suppress(OSError):  # the other end is closed
            while True:
                request = os.read(ours, 300)
                if len(request) >= 8:
                    os.write(ours, hostile.answer(request))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        os.close(theirs)
        thread.join()
        os.close(ours)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("open_line", "framing"), [(host, "tcp"), (host, "rtu"), (port, "rtu")])
def test_any_response_is_the_requested_number_of_registers_or_an_error(
    open_line: Callable[[str], AbstractContextManager[str]], framing: str, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(5)
    with (
        open_line(framing) as name,
        LineClient(LineOptions(port=name, devices=ANYONE, baud=115200, timeout=TIMEOUT), latest=TIMEOUT) as client,
    ):

        def turn() -> None:
            function, count = chance.choice(FUNCTIONS), chance.choice([1, 2, 9, 125])
            with suppress(NoResponse, InvalidFrame, UnexpectedResponse, ExceptionResponse):
                if chance.random() < 0.1:
                    client.write(1, chance.choice([5, 6, 16]), 7, [1])
                registers = client.read(1, function, chance.randrange(0xFF00), count)
                assert len(registers) == count
                assert all(0 <= word <= (1 if function < 3 else 0xFFFF) for word in registers)

        assert fuzzing.grows(turn, request, turns=30) < fuzzing.MOST_GROWTH


class Registers:
    """A device that has anything in its registers, and now and then a SunSpec map that is nearly one."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._models = [*sunspec.PREFIXES, sunspec.COMMON, sunspec.END, 9999]

    def read(self, block: ReadRequest) -> list[int]:
        if self._chance.random() < 0.02:
            raise (
                self._chance.choice(ABSENT)()
                if self._chance.random() < 0.5
                else ExceptionResponse(self._chance.choice(CODES))
            )
        if block.count == 2 and block.address in sunspec.BASES and self._chance.random() < 0.8:
            return list(sunspec.MARKER)
        if block.count == 2 and self._chance.random() < 0.8:
            return [self._chance.choice(self._models), self._chance.choice([0, 1, 50, 66, 154, 700, self._word()])]
        return [self._word() for _ in range(block.count)]

    def _word(self) -> int:
        return self._chance.choice(EDGES) if self._chance.random() < 0.3 else self._chance.randrange(0x10000)


def check(polled: PolledDevice, registers: Registers, now: float) -> None:
    result = polled.poll(registers.read, now)
    assert all(topics.is_channel(name) and is_value(value) for name, value in result.values.items())
    assert all(isinstance(bad.why, str) and isinstance(bad.what, str) for bad in result.invalid)
    encode(polled.info("modbus_poller"))


@pytest.mark.timeout(1200)
def test_any_sunspec_map_has_values_that_can_be_published(request: pytest.FixtureRequest) -> None:
    registers, kept, turns = Registers(4), SunSpecDevice(DeviceOptions(name="it", model="sunspec")), iter(range(10**9))

    def turn() -> None:
        now = float(next(turns))
        check(kept, registers, 10 * now)
        fresh = SunSpecDevice(DeviceOptions(name="it", model="sunspec"))
        for again in range(3):
            check(fresh, registers, 10.0 * again)
        sunspec.points.cache_clear()  # which has a limit of its own

    assert fuzzing.grows(turn, request, turns=5) < fuzzing.MOST_GROWTH


@pytest.mark.timeout(1200)
def test_any_registers_are_values_that_can_be_published_in_every_model(request: pytest.FixtureRequest) -> None:
    registers, turns = Registers(5), iter(range(10**9))
    known = [name for name in models.names() if name != models.SUNSPEC]
    kept = [PolledDevice(DeviceOptions(name="it", model=name)) for name in known]

    def turn() -> None:
        number = next(turns)
        check(kept[number % len(kept)], registers, 10.0 * number)
        check(PolledDevice(DeviceOptions(name="it", model=known[number % len(known)])), registers, 0.0)

    assert fuzzing.grows(turn, request, turns=40) < fuzzing.MOST_GROWTH


@pytest.mark.timeout(1200)
def test_any_registers_match_one_model_or_none(request: pytest.FixtureRequest) -> None:
    registers = Registers(6)

    def turn() -> None:
        match = identify.best_match(registers.read, models.names())
        assert match is None or match.model in (*models.names(), models.SUNSPEC)

    assert fuzzing.grows(turn, request, turns=100) < fuzzing.MOST_GROWTH
