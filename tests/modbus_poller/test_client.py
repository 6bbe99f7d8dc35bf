import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerType

from services.modbus_poller import models
from services.modbus_poller.client import LineClient
from services.modbus_poller.errors import (
    ExceptionResponse,
    InvalidFrame,
    LineDown,
    NoResponse,
    UnexpectedResponse,
)
from services.modbus_poller.options import DeviceOptions, LineOptions
from services.modbus_poller.outstanding import Reuse
from services.modbus_poller.polling import failure_text
from simulator.device import SimulatedDevice
from simulator.faults import Fault, Kind
from simulator.registers import Registers
from simulator.serial_line import SerialLine
from simulator.tcp_server import TcpServer
from tests.conftest import free_port
from tests.modbus_poller.pymodbus_server import PymodbusServer
from tests.modbus_poller.simulated_line import Registers as ModelRegisters
from tests.modbus_poller.simulated_line import SimulatedLine, options

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
            return client.read(unit_id, 4, address, count, reuse=Reuse.SAME)
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
                assert client.read(1, 4, 10, 3, reuse=Reuse.SAME) == [10, 11, 12]
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
            assert read_patiently(client, 1, 40, 4) == [40, 41, 42, 43]
            assert read_patiently(client, 2, 40, 3) == [540, 541, 542]


def test_a_late_response_on_a_serial_line_is_discarded() -> None:
    ours, theirs = os.openpty()
    try:
        line = LineOptions(port=os.ttyname(theirs), devices=DEVICES, baud=115200, timeout=SHORT)
        with LineClient(line) as client:
            with pytest.raises(NoResponse):
                client.read(1, 4, 0, 1)
            os.read(ours, 300)
            os.write(ours, frame(1, 4, 2, 0, 7))
            answering = threading.Thread(target=lambda: (os.read(ours, 300), os.write(ours, frame(1, 4, 2, 0, 8))))
            answering.start()
            assert read_patiently(client, 1, 5, 1) == [8]
            answering.join()
            assert client.late_responses == 1
    finally:
        os.close(ours)
        os.close(theirs)


def test_noise_on_a_serial_line_is_counted_byte_by_byte() -> None:
    ours, theirs = os.openpty()
    try:
        line = LineOptions(port=os.ttyname(theirs), devices=DEVICES, baud=115200, timeout=2.0)
        with LineClient(line) as client:
            os.write(ours, b"\x55\xaa")  # while nothing is asked
            noisy = b"\xf0\x0f\xf0" + frame(1, 4, 2, 0, 8)
            answering = threading.Thread(target=lambda: (os.read(ours, 300), os.write(ours, noisy)))
            answering.start()
            assert read_patiently(client, 1, 5, 1) == [8]
            answering.join()
            assert client.dropped_bytes == 5
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


class Canned(SimulatedLine):
    """A line on which some bytes come after each request, whatever it was."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__({})
        self.answers = list(answers)

    def send(self, data: bytes) -> None:
        if self.answers:
            self.comes(self.answers.pop(0), 0.01)


def canned(port: str, *answers: bytes) -> LineClient:
    """A client of a line whose time is simulated."""
    line = Canned(*answers)
    return LineClient(LineOptions(port=port, devices=DEVICES, baud=9600, timeout=1.0), line, line)


def holds_a_response(data: bytes, port: str) -> bool:
    """Whether what a read of two registers of unit 1 needs is anywhere in some bytes, by pymodbus' checksum."""
    if port.startswith("tcp"):
        return data[2:9] == bytes((0, 0, 0, 7, 1, 4, 4))
    starts = [at for at in range(len(data)) if data[at : at + 3] == bytes((1, 4, 4))]
    return any(data[at + 7 : at + 9] == FramerRTU.compute_CRC(data[at : at + 7]).to_bytes(2, "big") for at in starts)


@pytest.mark.parametrize("port", ["/dev/ttyUSB0", "rtu+tcp://host:1", "tcp://host:1"])
@given(
    st.lists(
        st.builds(
            lambda head, body: head + body,
            st.sampled_from([b"", bytes((1, 4, 4)), bytes((1, 0x84)), bytes((0, 1, 0, 0, 0, 7, 1, 4, 4))]),
            st.binary(min_size=1, max_size=40),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_no_bytes_whatever_are_taken_for_a_reading(port: str, answers: list[bytes]) -> None:
    client = canned(port, *answers)
    for _ in answers:
        with suppress(NoResponse, InvalidFrame, UnexpectedResponse, ExceptionResponse):
            assert client.read(1, 4, 0, 2, reuse=Reuse.ANY) == [] or holds_a_response(b"".join(answers), port)


@given(st.binary(max_size=30), st.binary(max_size=30), st.integers(0, 0xFFFF))
def test_noise_before_and_behind_a_response_does_not_change_it(before: bytes, behind: bytes, word: int) -> None:
    noise = before.replace(b"\1", b"\2")  # which could begin a response of unit 1
    client = canned("/dev/ttyUSB0", noise + frame(1, 4, 2, word >> 8, word & 0xFF) + behind)
    assert client.read(1, 4, 0, 1) == [word]


@given(st.integers(0, 8), st.integers(1, 255))
def test_a_response_with_one_wrong_byte_is_not_a_reading(index: int, difference: int) -> None:
    good = bytearray(frame(1, 4, 4, 0, 7, 0, 8))
    good[index] ^= difference
    with pytest.raises((InvalidFrame, NoResponse)):
        canned("/dev/ttyUSB0", bytes(good)).read(1, 4, 0, 2)


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=1, max_size=40))
def test_no_noise_on_a_serial_port_is_taken_for_a_reading(noise: bytes) -> None:
    ours, theirs = os.openpty()
    try:
        line = LineOptions(port=os.ttyname(theirs), devices=DEVICES, baud=115200, timeout=0.01)
        with LineClient(line) as client:
            answering = threading.Thread(target=lambda: (os.read(ours, 300), os.write(ours, noise)))
            answering.start()
            try:
                with pytest.raises((NoResponse, InvalidFrame, UnexpectedResponse)):
                    client.read(1, 4, 0, 2)
            finally:
                answering.join()
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("delay", [0.0, 0.005])
def test_an_adapter_that_echoes_is_recognised(delay: float) -> None:
    registers = ModelRegisters(models.load("epever_tracer"), "read")
    line = SimulatedLine({1: registers}, lambda: delay, echoes=True)
    with LineClient(options(), line, line) as client:
        for function, address, count in ((1, 2, 1), (4, 0x3100, 16), (2, 0x2000, 1)):
            assert client.read(1, function, address, count) == [
                registers.word(function, at) for at in range(address, address + count)
            ]
            assert client.echoes
        with pytest.raises(NoResponse):
            client.read(2, 4, 0, 1)
        line.echoes = False
        client.read(1, 4, 0x3100, 1)
        assert not client.echoes


@pytest.mark.parametrize("function", [5, 6])
def test_the_response_to_a_write_is_not_taken_for_an_echo(function: int) -> None:
    line = SimulatedLine({1: lambda pdu: pdu})
    with LineClient(options(), line, line) as client:
        client.write(1, function, 2, [1])
        assert not client.echoes


def test_a_write_on_a_line_that_echoes_is_answered_by_the_device_and_not_by_the_echo() -> None:
    def refuses(pdu: bytes) -> bytes:
        return bytes((pdu[0], 2, 0, 0)) if pdu[0] == 4 else bytes((pdu[0] | 0x80, 4))

    line = SimulatedLine({1: refuses}, echoes=True)
    with LineClient(options(), line, line) as client:
        client.read(1, 4, 0, 1)
        for function in (5, 6):
            with pytest.raises(ExceptionResponse, match="4"):
                client.write(1, function, 2, [1])


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ((0, 2, 0, 0, 0, 7, 1), "transaction 2, unit 1"),
        ((0, 0, 0, 0, 0, 7, 1), "transaction 0, unit 1"),
        ((0, 1, 0, 0, 0, 7, 0), "transaction 1, unit 0"),
    ],
)
def test_a_gateway_with_wrong_numbers_is_named(head: tuple[int, ...], says: str) -> None:
    with pytest.raises(InvalidFrame) as caught:
        canned("tcp://host:1", bytes((*head, 4, 4, 0x43, 0x66, 0x80, 0))).read(1, 4, 0, 2)
    assert caught.value.why == f"a response to another request ({says})"
    assert str(caught.value).endswith("04 04 43 66 80 00")
    assert says in failure_text(caught.value)


def test_the_right_response_soon_after_one_to_another_request_is_taken_and_is_not_waited_for_long() -> None:
    line = Canned()
    client = LineClient(options(), line, line)
    line.comes(frame(1, 4, 6, 0, 7, 0, 7, 0, 7), 0.1)
    line.comes(frame(1, 4, 2, 0, 8), 0.14)
    assert client.read(1, 4, 0, 1) == [8]
    line.comes(frame(1, 4, 6, 0, 7, 0, 7, 0, 7), 0.1)
    before = line.monotonic()
    with pytest.raises(UnexpectedResponse):
        client.read(1, 4, 0, 1)
    assert line.monotonic() - before < 0.5


def test_a_response_of_a_unit_that_was_not_asked_is_named() -> None:
    with pytest.raises(InvalidFrame) as caught:
        canned("/dev/ttyUSB0", frame(7, 4, 4, 0x43, 0x66, 0x80, 0)).read(1, 4, 0, 2)
    assert caught.value.why == "a response to another request (unit 7, function 4, 6 bytes)"


def test_a_write_whose_response_shows_another_value_is_left_to_the_read_back() -> None:
    canned("/dev/ttyUSB0", frame(1, 6, 0, 2, 0, 80)).write(1, 6, 2, [100])
    with pytest.raises(UnexpectedResponse):
        canned("/dev/ttyUSB0", frame(1, 6, 0, 3, 0, 100)).write(1, 6, 2, [100])


def test_the_right_response_behind_one_to_another_request_is_taken() -> None:
    for port, other, right in (
        ("tcp://host:1", bytes((0, 9, 0, 0, 0, 5, 1, 4, 2, 0, 7)), bytes((0, 1, 0, 0, 0, 5, 1, 4, 2, 0, 8))),
        ("/dev/ttyUSB0", frame(1, 4, 4, 0, 7, 0, 7), frame(1, 4, 2, 0, 8)),
        ("/dev/ttyUSB0", frame(3, 4, 2, 0, 7), frame(1, 4, 2, 0, 8)),
        ("/dev/ttyUSB0", frame(1, 3, 2, 0, 7), frame(1, 4, 2, 0, 8)),
    ):
        assert canned(port, other + right).read(1, 4, 0, 1) == [8]


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
