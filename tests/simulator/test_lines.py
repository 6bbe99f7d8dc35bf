from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.client.base import ModbusBaseSyncClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType

from simulator import Fault, Registers, SerialLine, SimulatedDevice, TcpServer
from simulator.faults import KINDS, Kind, spoil

PATIENT, IMPATIENT = 30.0, 0.2
Client = ModbusBaseSyncClient
Connect = Callable[[float], Client]


def device(name: str, first: int = 0) -> SimulatedDevice:
    registers = Registers()
    registers.inputs.update({i: first + i for i in range(100)})
    return SimulatedDevice(name, registers)


def serial_client(line: SerialLine, wait: float = PATIENT) -> ModbusSerialClient:
    return ModbusSerialClient(line.path, baudrate=9600, timeout=wait, retries=0)


def tcp_client(server: TcpServer, wait: float = PATIENT) -> ModbusTcpClient:
    framer = FramerType.RTU if server.framing == "rtu" else FramerType.SOCKET
    return ModbusTcpClient("127.0.0.1", port=server.port, framer=framer, timeout=wait, retries=0)


def read(client: Client, unit: int = 1, count: int = 3) -> list[int]:
    answer = client.read_input_registers(10, count=count, device_id=unit)
    if answer.isError():
        raise ModbusException(str(answer))
    return list(answer.registers)


def read_often(client: Client) -> None:
    for _ in range(20):
        read(client)


@pytest.fixture(params=["serial", "tcp", "rtu"])
def wire(request: pytest.FixtureRequest) -> Iterator[tuple[Connect, SimulatedDevice]]:
    unit = device("unit")
    if request.param == "serial":
        with SerialLine({1: unit}) as line:
            yield lambda wait: serial_client(line, wait), unit
    else:
        with TcpServer({1: unit}, framing=request.param) as server:
            yield lambda wait: tcp_client(server, wait), unit


def test_a_client_reads_what_the_registers_hold(wire: tuple[Connect, SimulatedDevice]) -> None:
    connect, unit = wire
    with connect(PATIENT) as client:
        assert read(client) == [10, 11, 12]
        unit.registers.inputs[11] = 999
        assert read(client) == [10, 999, 12]
    assert unit.requests == 2


def test_a_missing_address_is_answered_with_exception_2(
    wire: tuple[Connect, SimulatedDevice],
) -> None:
    connect, _ = wire
    with connect(PATIENT) as client:
        answer = client.read_input_registers(95, count=10, device_id=1)
        assert answer.exception_code == 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_a_client_sees_every_fault_and_its_end(wire: tuple[Connect, SimulatedDevice], kind: Kind) -> None:
    connect, unit = wire
    unit.fault = Fault(kind, seconds=3 * IMPATIENT)
    with connect(IMPATIENT) as client, pytest.raises(ModbusException):
        read_often(client)  # noise lets a frame through now and then
    assert unit.requests > 0
    unit.fault = Fault()
    for _ in range(50):
        with connect(PATIENT if kind != "slow" else IMPATIENT) as client:
            try:
                assert read(client) == [10, 11, 12]
                return
            except ModbusException:  # what was late or broken is still on the wire
                continue
    pytest.fail("the device did not recover")


def test_a_slow_answer_reaches_a_client_that_waits_for_it() -> None:
    unit = device("slow")
    unit.fault = Fault("slow", 0.6)
    with SerialLine({1: unit}) as line, serial_client(line) as client:
        assert read(client) == [10, 11, 12]


def test_units_share_a_line_and_the_dead_ones_are_counted() -> None:
    units = {n: device(f"unit {n}", first=100 * n) for n in (1, 2, 4, 5)}
    with SerialLine(units) as line:
        with serial_client(line) as client:
            assert [read(client, n)[0] for n in units] == [110, 210, 410, 510]
        with serial_client(line, IMPATIENT) as client, pytest.raises(ModbusException):
            read(client, 3)
        with serial_client(line) as client:
            assert read(client, 4) == [410, 411, 412]
        assert line.requests == {1: 1, 2: 1, 3: 1, 4: 2, 5: 1}


def test_one_device_can_hang_on_two_wires() -> None:
    unit = device("both")
    with (
        SerialLine({1: unit}) as line,
        TcpServer({1: unit}) as server,
        serial_client(line) as first,
        tcp_client(server) as second,
    ):
        assert read(first) == read(second)
        assert unit.requests == 2
        assert (line.requests[1], server.requests[1]) == (1, 1)


def test_a_line_of_a_given_speed_still_answers() -> None:
    with (
        SerialLine({1: device("unit")}, baud=9600) as line,
        serial_client(line) as client,
    ):
        assert len(read(client, count=60)) == 60


def test_a_port_outlives_its_clients_and_their_noise() -> None:
    with SerialLine({1: device("unit")}) as line:
        with Path(line.path).open("wb", buffering=0) as port:
            port.write(b"\x01\x04\x00" + bytes(range(40)))
        for _ in range(50):
            with serial_client(line, IMPATIENT) as client:
                try:
                    assert read(client) == [10, 11, 12]
                    return
                except ModbusException:  # the pause after noise is not over
                    continue
        pytest.fail("no answer after the noise")


def test_a_link_leads_to_the_port_while_it_is_open(tmp_path: Path) -> None:
    link = tmp_path / "run" / "meter"
    with SerialLine({1: device("first")}, link=link) as line:
        assert line.path == str(link)
        with serial_client(line) as client:
            assert read(client) == [10, 11, 12]
    assert not link.is_symlink()


def test_a_stale_link_is_replaced_and_a_foreign_one_left(tmp_path: Path) -> None:
    link = tmp_path / "meter"
    link.symlink_to("gone")
    with SerialLine({}, link=link):
        assert link.exists()
        link.unlink()
        link.symlink_to("someone-elses")
    assert str(link.readlink()) == "someone-elses"


def test_a_server_serves_many_clients_and_lets_them_go() -> None:
    with TcpServer({1: device("unit")}) as server:
        for _ in range(5):
            with ExitStack() as stack:
                clients = [stack.enter_context(tcp_client(server)) for _ in range(4)]
                assert [read(client) for client in clients] == [[10, 11, 12]] * 4


def test_a_frame_is_whole_or_spoiled_as_the_fault_says() -> None:
    frame, random = bytes(range(10)), Random(1)
    crc = slice(-2, None)
    assert spoil(Fault(), frame, random, crc) == frame
    assert spoil(Fault("slow"), frame, random, crc) == frame
    assert spoil(Fault("silence"), frame, random, crc) == b""
    assert spoil(Fault("half"), frame, random, crc) == frame[:5]
    assert spoil(Fault("crc"), frame, random, crc)[:-2] == frame[:-2]
    assert spoil(Fault("crc"), frame, random, crc)[-2:] != frame[-2:]
    noisy = [spoil(Fault("noise"), frame, random, crc) for _ in range(50)]
    assert frame not in noisy
    assert {frame in bytes_ for bytes_ in noisy} == {True, False}
