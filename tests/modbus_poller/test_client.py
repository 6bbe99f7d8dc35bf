import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerType

from services.modbus_poller import client as client_module
from services.modbus_poller.client import LineClient
from services.modbus_poller.errors import (
    ExceptionResponse,
    InvalidFrame,
    LineDown,
    NoResponse,
    UnexpectedResponse,
)
from services.modbus_poller.options import DeviceOptions, LineOptions
from simulator.device import SimulatedDevice
from simulator.faults import Fault, Kind
from simulator.registers import Registers
from simulator.serial_line import SerialLine
from simulator.tcp_server import TcpServer
from tests.conftest import free_port
from tests.modbus_poller.pymodbus_server import PymodbusServer

Framing = Literal["tcp", "rtu"]
TIMEOUT = 10.0  # for devices that respond, on a loaded machine, too
SHORT = 0.05  # for devices that do not
DEVICES = (DeviceOptions(name="it", model="eastron_sdm120"),)


def simulated(name: str, offset: int) -> SimulatedDevice:
    registers = Registers()
    registers.inputs.update({at: at + offset for at in range(100)})
    registers.holdings.update({at: at + offset + 1000 for at in range(100)})
    registers.coils.update({at: at % 3 == 0 for at in range(20)})
    registers.discretes.update({at: at % 3 == 1 for at in range(20)})
    return SimulatedDevice(name, registers)


class Wire:
    """Two simulated units, their line, and the same with a time-out that a test can wait for."""

    def __init__(self, units: dict[int, SimulatedDevice], line: LineOptions) -> None:
        self.units = units
        self.line = line
        self.impatient = msgspec.structs.replace(line, timeout=SHORT)


def read_patiently(
    client: LineClient,
    unit_id: int,
    address: int,
    count: int,
    ignored: tuple[type[Exception], ...] = (NoResponse, InvalidFrame),
) -> list[int]:
    """The first valid response: on a loaded machine one may come after the time-out, and must not be taken for the next."""
    for _ in range(200):
        with suppress(*ignored):
            return client.read(unit_id, 4, address, count)
    raise AssertionError("no response")


@pytest.fixture(params=["serial", "tcp", "rtu+tcp"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    units = {1: simulated("one", 0), 2: simulated("two", 500)}
    timeout = TIMEOUT
    if request.param == "serial":
        with SerialLine(units) as serial:
            yield Wire(
                units,
                LineOptions(port=serial.path, devices=DEVICES, baud=115200, timeout=timeout),
            )
    else:
        framing = "tcp" if request.param == "tcp" else "rtu"
        with TcpServer(units, framing="tcp" if framing == "tcp" else "rtu") as server:
            yield Wire(
                units,
                LineOptions(
                    port=f"{request.param}://127.0.0.1:{server.port}",
                    devices=DEVICES,
                    timeout=timeout,
                ),
            )


def test_each_function_reads_its_table(wire: Wire) -> None:
    with LineClient(wire.line) as client:
        assert client.read(1, 4, 10, 3) == [10, 11, 12]
        assert client.read(2, 4, 10, 3) == [510, 511, 512]
        assert client.read(1, 3, 10, 1) == [1010]
        assert client.read(1, 1, 2, 3) == [0, 1, 0]
        assert client.read(1, 2, 1, 10) == [1, 0, 0, 1, 0, 0, 1, 0, 0, 1]
        assert client.read(1, 4, 0, 100) == list(range(100))


def test_an_exception_response_has_its_code(wire: Wire) -> None:
    with LineClient(wire.line) as client:
        with pytest.raises(ExceptionResponse) as caught:
            client.read(1, 4, 90, 20)
        assert caught.value.code == 2
        assert client.read(1, 4, 10, 1) == [10]


def test_a_unit_that_does_not_exist_does_not_respond(wire: Wire) -> None:
    with LineClient(wire.impatient) as client:
        with pytest.raises(NoResponse):
            client.read(9, 4, 0, 1)
        assert read_patiently(client, 1, 10, 1) == [10]


@pytest.mark.parametrize("kind", ["silence", "noise", "crc", "half"])
def test_a_disturbed_response_is_never_a_value_and_the_next_one_is_right(wire: Wire, kind: Kind) -> None:
    with LineClient(wire.impatient) as client:
        wire.units[1].fault = Fault(kind)
        for _ in range(2):
            with suppress(NoResponse, InvalidFrame):
                assert client.read(1, 4, 10, 3) == [10, 11, 12]
            assert read_patiently(client, 2, 20, 3) == [520, 521, 522]
        wire.units[1].fault = Fault()
        assert read_patiently(client, 1, 10, 3) == [10, 11, 12]


def test_silence_and_noise_are_different_errors(wire: Wire) -> None:
    with LineClient(wire.impatient) as client:
        wire.units[1].fault = Fault("silence")
        with pytest.raises(NoResponse):
            client.read(1, 4, 10, 3)
        wire.units[1].fault = Fault("half")
        with pytest.raises(InvalidFrame):
            read_patiently(client, 1, 10, 3, ignored=(NoResponse,))


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
def test_a_late_response_is_not_taken_for_the_next(framing: Framing) -> None:
    units = {1: simulated("one", 0), 2: simulated("two", 500)}
    scheme = "tcp" if framing == "tcp" else "rtu+tcp"
    with TcpServer(units, framing=framing) as server:
        units[1].fault = Fault("slow", 4 * SHORT)
        port = f"{scheme}://127.0.0.1:{server.port}"
        with LineClient(LineOptions(port=port, devices=DEVICES, timeout=SHORT)) as client:
            with pytest.raises(NoResponse):
                client.read(1, 4, 10, 3)
            units[1].fault = Fault()
            assert read_patiently(client, 1, 40, 3) == [40, 41, 42]
            assert read_patiently(client, 2, 40, 3) == [540, 541, 542]


def test_a_late_response_on_a_serial_line_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    late, good = [frame(1, 4, 2, 0, 7)], frame(1, 4, 2, 0, 8)

    def sleep(seconds: float) -> None:
        if seconds == client_module.SILENCE_SECONDS and late:
            os.write(ours, late.pop())
            select.select([theirs], [], [], 30)
        time.sleep(seconds)

    monkeypatch.setattr(client_module, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    try:
        with LineClient(LineOptions(port=os.ttyname(theirs), devices=DEVICES, baud=115200, timeout=SHORT)) as client:
            with pytest.raises(NoResponse):
                client.read(1, 4, 0, 1)
            assert not late
            answering = threading.Thread(target=lambda: (os.read(ours, 300), os.write(ours, good)))
            os.read(ours, 300)
            answering.start()
            assert client.read(1, 4, 0, 1) == [8]
            answering.join()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_real_server_is_read_with_rtu_frames_over_tcp() -> None:
    with PymodbusServer({4: {7: 1234, 8: 99}}, FramerType.RTU) as server:
        line = LineOptions(port=f"rtu+tcp://127.0.0.1:{server.port}", devices=DEVICES, timeout=10.0)
        with LineClient(line) as client:
            assert client.read(1, 4, 7, 2) == [1234, 99]


class Answering:
    """A TCP server that answers each request with the next of some bytes, or hangs up for b""."""

    def __init__(self, *answers: bytes) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.answers = list(answers)
        self.requests = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Answering":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, suppress(OSError):
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        while self.answers and connection.recv(300):
            self.requests += 1
            answer = self.answers.pop(0)
            if not answer:
                return
            connection.sendall(answer)


def frame(unit: int, *pdu: int) -> bytes:
    body = bytes((unit, *pdu))
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def line_of(server: Answering) -> LineOptions:
    return LineOptions(port=f"rtu+tcp://127.0.0.1:{server.port}", devices=DEVICES, timeout=10.0)


@pytest.mark.parametrize(
    "answer",
    [
        frame(1, 4, 2, 0, 7),
        frame(1, 4, 6, 0, 7, 0, 8, 0, 9),
        frame(1, 3, 4, 0, 7, 0, 8),
        frame(1, 1, 1, 3),
        frame(1, 6, 0, 1, 0, 2),
    ],
)
def test_a_valid_response_to_another_request_is_not_a_value(answer: bytes) -> None:
    with Answering(answer) as server, LineClient(line_of(server)) as client, pytest.raises(UnexpectedResponse):
        client.read(1, 4, 0, 2)


@pytest.mark.parametrize(("count", "data"), [(9, (1, 1)), (3, (2, 1, 1))])
def test_a_wrong_number_of_bits_is_not_a_value(count: int, data: tuple[int, ...]) -> None:
    with (
        Answering(frame(1, 2, *data)) as server,
        LineClient(line_of(server)) as client,
        pytest.raises(UnexpectedResponse),
    ):
        client.read(1, 2, 0, count)


@pytest.mark.parametrize("code", [10, 11])
def test_an_exception_of_the_gateway_is_no_response(code: int) -> None:
    with Answering(frame(1, 0x84, code)) as server, LineClient(line_of(server)) as client, pytest.raises(NoResponse):
        client.read(1, 4, 0, 2)


def test_a_connection_that_was_closed_while_idle_is_opened_again() -> None:
    good = frame(1, 4, 2, 0, 7)
    with Answering(good, b"", good) as server, LineClient(line_of(server)) as client:
        assert client.read(1, 4, 0, 1) == [7]
        assert client.read(1, 4, 0, 1) == [7]
        assert server.requests == 3


def test_a_device_behind_which_the_connection_always_closes_is_silent() -> None:
    with Answering(b"", b"") as server, LineClient(line_of(server)) as client, pytest.raises(NoResponse):
        client.read(1, 4, 0, 1)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=3),
    st.sampled_from([FramerType.RTU, FramerType.SOCKET]),
)
def test_any_bytes_are_a_value_or_one_of_our_errors(answers: list[bytes], framer: FramerType) -> None:
    scheme = "rtu+tcp" if framer == FramerType.RTU else "tcp"
    with Answering(*answers) as server:
        line = LineOptions(port=f"{scheme}://127.0.0.1:{server.port}", devices=DEVICES, timeout=0.01)
        with LineClient(line) as client:
            for _ in answers:
                with suppress(NoResponse, InvalidFrame, UnexpectedResponse, ExceptionResponse):
                    client.read(1, 4, 0, 2)


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=1, max_size=40))
def test_any_noise_on_a_serial_line_is_a_value_or_one_of_our_errors(noise: bytes) -> None:
    ours, theirs = os.openpty()
    try:
        line = LineOptions(port=os.ttyname(theirs), devices=DEVICES, baud=115200, timeout=0.01)
        with LineClient(line) as client:
            answering = threading.Thread(target=lambda: (os.read(ours, 300), os.write(ours, noise)))
            answering.start()
            with suppress(NoResponse, InvalidFrame, UnexpectedResponse, ExceptionResponse):
                client.read(1, 4, 0, 2)
            answering.join()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_port_that_is_not_there_is_a_line_that_is_down(tmp_path: Path) -> None:
    line = LineOptions(port=str(tmp_path / "ttyUSB9"), devices=DEVICES)
    with pytest.raises(LineDown, match="No such file"), LineClient(line):
        pass


def test_a_file_that_is_no_port_is_a_line_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "tty").touch()
    with pytest.raises(LineDown), LineClient(LineOptions(port=str(tmp_path / "tty"), devices=DEVICES)):
        pass


def test_a_host_that_refuses_is_a_line_that_is_down() -> None:
    line = LineOptions(port=f"tcp://127.0.0.1:{free_port()}", devices=DEVICES)
    with pytest.raises(LineDown, match="refused"), LineClient(line):
        pass


def test_a_port_that_goes_away_is_a_line_that_is_down() -> None:
    with SerialLine({1: simulated("one", 0)}) as serial:
        line = LineOptions(port=serial.path, devices=DEVICES, timeout=0.3)
        client = LineClient(line)
        client.__enter__()
        assert client.read(1, 4, 5, 1) == [5]
    with pytest.raises(LineDown, match="Input/output error"), client:
        client.read(1, 4, 5, 1)


def test_a_port_in_use_says_so() -> None:
    with SerialLine({}) as serial:
        line = LineOptions(port=serial.path, devices=DEVICES)
        with LineClient(line), pytest.raises(LineDown, match="in use by another program"), LineClient(line):
            pass
