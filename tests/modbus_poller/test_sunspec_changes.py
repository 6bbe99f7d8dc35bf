"""SunSpec maps that change, end early, or are busy while they are walked."""

import logging
import random
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.modbus_poller.errors import ExceptionResponse
from services.modbus_poller.options import DeviceOptions, LineOptions
from services.modbus_poller.reads import ReadRequest
from services.modbus_poller.sunspec.device import SunSpecDevice
from services.modbus_poller.worker import LineWorker
from simulator.device import SimulatedDevice
from simulator.registers import Registers
from simulator.tcp_server import TcpServer
from tests.modbus_poller.sunspec_map import at_40000, common, definition, model
from tests.service_stub import ServiceStub

DEVICE = DeviceOptions(name="it", model="sunspec", interval=1.0)
PHASES = {"A": 109, "AphA": 36, "AphB": 37, "AphC": 36, "A_SF": -1, "PhVphA": 2301, "PhVphB": 2302, "PhVphC": 2303}
INVERTER = PHASES | {"V_SF": -1, "W": 2500, "W_SF": 0, "Hz": 5000, "Hz_SF": -2, "WH": 123456, "WH_SF": 0, "St": 4}
FLOATS = {"A": 10.9, "AphA": 3.6, "AphB": 3.7, "AphC": 3.6, "PhVphA": 230.1, "PhVphB": 230.2, "PhVphC": 230.3}
FLOATS |= {"W": 2500, "Hz": 50, "WH": 123456, "St": 4}
METER = {"W": -1200, "W_SF": 0, "A": 52, "A_SF": -1, "Hz": 5000, "Hz_SF": -2, "TotWhImp": 777000, "TotWh_SF": 0}
DC = {"NPrt": 3, "DCA": 52, "DCW": 2100, "DCA_SF": -1, "DCW_SF": 0, "DCV_SF": -1, "DCWH_SF": 0, "Tmp_SF": 0}
for port in (1, 2, 3):
    DC |= {
        f"{port}:ID": port,
        f"{port}:DCA": 17,
        f"{port}:DCV": 4100,
        f"{port}:DCW": 700,
        f"{port}:DCWhInj": 1000 + port,
    }
FRONIUS = common("Fronius", "Symo 8.2-3-M")
DAY = at_40000(common("SMA", "STP X"), model(103, INVERTER), model(714, DC, 3), model(203, METER))
NIGHT = at_40000(common("SMA", "STP X"), model(103, INVERTER), model(714, DC | {"NPrt": 0}, 0), model(203, METER))


class Device:
    """A device whose map is set from outside; what is `outside` is refused with that exception, from `busy` on with 6."""

    def __init__(self, registers: dict[int, int]) -> None:
        self.registers = registers
        self.busy = 0x10000
        self.outside = 2
        self.asked: list[tuple[int, int]] = []
        self.changes: tuple[int, dict[int, int]] = (1_000_000, registers)  # at which request, to which map

    def read(self, one: ReadRequest) -> list[int]:
        if len(self.asked) >= self.changes[0]:
            self.registers = self.changes[1]
        self.asked.append((one.address, one.count))
        if one.address + one.count > self.busy:
            raise ExceptionResponse(6)
        try:
            return [self.registers[at] for at in range(one.address, one.address + one.count)]
        except KeyError:
            raise ExceptionResponse(self.outside) from None


def test_a_setting_from_floats_to_integers_costs_no_wrong_value_and_no_poll() -> None:
    device, polled = Device(at_40000(FRONIUS, model(113, FLOATS))), SunSpecDevice(DEVICE)
    assert polled.poll(device.read, 0.0).values["energy_total"] == 123456
    device.registers = at_40000(FRONIUS, model(103, INVERTER | {"W": 2600, "WH": 123457}))
    result = polled.poll(device.read, 1.0)
    assert (result.failure, result.values["power"], result.values["energy_total"]) == ("", 2600, 123457)
    assert result.values["voltage_l1"] == 230.1
    assert [tuple(bad) for bad in result.invalid] == [
        (
            "its SunSpec map is another now",
            "its SunSpec map has model 103 of 50 registers at 40070 where model 113 of 60 registers was",
        )
    ]
    result = polled.poll(device.read, 2.0)
    assert (result.invalid, result.values["power"], polled.notes) == ([], 2600, [])


def test_a_model_that_loses_its_ports_by_night_spoils_neither_itself_nor_the_meter_behind_it() -> None:
    device, polled = Device(DAY), SunSpecDevice(DEVICE)
    day = polled.poll(device.read, 0.0).values
    assert (day["meter_energy_import"], day["dc_prt1_dcwhinj"]) == (777000, 1001)
    device.registers = NIGHT
    night = polled.poll(device.read, 6.0).values
    assert night.pop("dc_nprt") == 0
    assert night.items() <= day.items()
    assert night["meter_energy_import"] == 777000
    assert not [name for name in night if "prt" in name]
    device.registers = DAY
    assert polled.poll(device.read, 12.0).values == day
    assert polled.unsupported == []


def test_a_meter_that_joins_a_map_with_an_end_is_seen_in_the_next_poll() -> None:
    device, polled = Device(at_40000(FRONIUS, model(103, INVERTER))), SunSpecDevice(DEVICE)
    assert "meter_power" not in polled.poll(device.read, 0.0).values
    device.registers = at_40000(FRONIUS, model(103, INVERTER), common("Fronius", "TS65A"), model(203, METER))
    assert polled.poll(device.read, 1.0).values["meter_power"] == -1200
    assert polled.info("it").model == "Fronius Symo 8.2-3-M"


def test_a_map_that_changes_between_two_requests_of_one_model_gives_no_reading_of_it() -> None:
    many = {"NPrt": 8, "DCW_SF": 0} | {f"{port}:DCW": 700 + port for port in range(1, 9)}
    before = at_40000(FRONIUS, model(103, INVERTER), model(714, many, 8))
    after = at_40000(FRONIUS, model(113, FLOATS), model(714, many, 8))
    known: dict[str, list[object]] = {}
    for one in (before, after):
        for name, value in SunSpecDevice(DEVICE).poll(Device(one).read, 0.0).values.items():
            known.setdefault(name, []).append(value)
    for number in range(5):
        device, polled = Device(before), SunSpecDevice(DEVICE)
        polled.poll(device.read, 0.0)
        assert len({address for address, count in device.asked if count > 40}) > 1  # it takes several requests
        device.changes = (len(device.asked) + number, after)
        for name, value in polled.poll(device.read, 1.0).values.items():
            assert value in known[name], name


def test_a_map_that_is_the_old_one_again_after_the_first_request_of_a_model_gives_no_reading_of_it() -> None:
    for number in range(12):
        device, polled = Device(DAY), SunSpecDevice(DEVICE)
        day = polled.poll(device.read, 0.0).values
        device.registers = at_40000(FRONIUS, model(113, FLOATS))
        device.changes = (len(device.asked) + number, DAY)
        values = polled.poll(device.read, 1.0).values
        assert values.items() <= day.items(), number


def test_a_channel_never_goes_over_to_another_model() -> None:
    device, polled = Device(at_40000(FRONIUS, model(203, METER))), SunSpecDevice(DEVICE)
    assert polled.poll(device.read, 0.0).values["power"] == -1200
    device.registers = at_40000(FRONIUS, model(103, INVERTER), model(203, METER))
    values = polled.poll(device.read, 1.0).values
    assert (values["power"], values["inverter_power"]) == (-1200, 2500)
    device.registers = at_40000(FRONIUS, model(103, INVERTER))
    values = polled.poll(device.read, 2.0).values
    assert (values.get("power"), values["inverter_power"]) == (None, 2500)


@settings(max_examples=30)
@given(
    st.lists(
        st.sampled_from(
            [
                at_40000(FRONIUS, model(103, INVERTER)),
                at_40000(FRONIUS, model(113, FLOATS)),
                at_40000(FRONIUS, model(103, INVERTER), model(203, METER)),
                DAY,
                NIGHT,
            ]
        ),
        min_size=2,
        max_size=6,
    ),
    st.integers(0, 2**32),
)
def test_no_change_of_a_map_gives_a_value_that_is_in_none_of_them(maps: list[dict[int, int]], seed: int) -> None:
    chance = random.Random(seed)
    known: dict[str, set[object]] = {}
    for one in maps:
        for name, value in SunSpecDevice(DEVICE).poll(Device(one).read, 0.0).values.items():
            known.setdefault(name, set()).add(value)
    device, polled = Device(maps[0]), SunSpecDevice(DEVICE)
    for tick in range(12):
        if len(device.asked) >= device.changes[0] or not tick:
            device.changes = (len(device.asked) + chance.randrange(15), chance.choice(maps))
        for name, value in polled.poll(device.read, float(tick)).values.items():
            assert value in known[name], name


def test_a_device_that_is_busy_while_its_map_is_walked_is_asked_again() -> None:
    device = Device(
        at_40000(common("Fronius", "GEN24"), model(103, INVERTER), common("Smart Meter", "TS65A"), model(203, METER))
    )
    device.busy = 40002 + 68 + 52 + 68
    polled = SunSpecDevice(DEVICE)
    with_meter = []
    for tick in range(36):
        if tick == 5:
            device.busy = 0x10000
        result = polled.poll(device.read, float(tick))
        assert result.values["power"] == 2500
        if "meter_energy_import" in result.values:
            with_meter.append(tick)
        if tick < 10:
            assert polled.notes == [
                "its SunSpec map ends at 40190 with exception 6 (server device busy); it is walked again later"
            ]
    assert with_meter == list(range(10, 36))
    assert polled.notes == []
    assert polled.info("it").model == "Fronius GEN24"


def test_a_long_search_for_a_map_does_not_delay_the_walk_of_one_that_ended_early() -> None:
    device, polled = Device({}), SunSpecDevice(DEVICE)
    for tick in range(100):
        assert polled.poll(device.read, float(tick)).failure
    device.registers = at_40000(FRONIUS, model(103, INVERTER))
    device.busy = 40122
    assert polled.poll(device.read, 100.0).values["power"] == 2500
    device.registers = at_40000(FRONIUS, model(103, INVERTER), model(203, METER))
    device.busy = 0x10000
    assert "meter_power" not in polled.poll(device.read, 109.0).values
    assert polled.poll(device.read, 111.0).values["meter_power"] == -1200


@pytest.mark.parametrize("code", [2, 4, 5, 6])
def test_an_early_end_is_walked_again_after_growing_pauses_and_after_a_reconnection(code: int) -> None:
    device, polled = Device(at_40000(FRONIUS, model(103, INVERTER), end=False)), SunSpecDevice(DEVICE)
    device.outside = code
    walks = []
    for tick in [*range(0, 200, 10), *range(320, 5 * 86400, 3600)]:
        device.asked.clear()
        assert polled.poll(device.read, float(tick)).values["power"] == 2500
        if (40000, 2) in device.asked:
            walks.append(tick)
    pauses = [after - before for before, after in pairwise(walks)]
    assert pauses[:4] == [10, 20, 40, 80]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 86400
    polled.reconnected()
    device.asked.clear()
    polled.poll(device.read, walks[-1] + 60.0)
    assert (40000, 2) in device.asked


def test_a_busy_name_and_a_busy_marker_are_no_end_of_the_search() -> None:
    device, polled = Device(at_40000(FRONIUS, model(103, INVERTER))), SunSpecDevice(DEVICE)
    device.busy = 40010
    assert "ends at 40002 with exception 6" in polled.poll(device.read, 0.0).failure
    device.busy = 40000
    assert polled.poll(device.read, 1.0).failure
    device.busy = 0x10000
    assert polled.poll(device.read, 2.0).values["power"] == 2500
    assert polled.info("it").model == "Fronius Symo 8.2-3-M"


@pytest.mark.parametrize("busy", [40122, 40000])
def test_a_device_that_is_busy_while_its_map_is_walked_again_keeps_the_known_one(busy: int) -> None:
    device = Device(at_40000(FRONIUS, model(103, INVERTER), model(203, METER), end=False))
    polled = SunSpecDevice(DEVICE)
    assert polled.poll(device.read, 0.0).values["meter_power"] == -1200
    device.busy = busy
    polled.poll(device.read, 11.0)
    device.busy = 0x10000
    device.asked.clear()
    assert polled.poll(device.read, 12.0).values["meter_power"] == -1200
    assert not {(40000, 2), (0, 2)} & set(device.asked)


def test_the_first_common_model_names_the_device() -> None:
    meter = common("WattNode", "WNC-3Y-400-MB")
    device = Device(at_40000(common("SolarEdge", "SE10K"), model(103, INVERTER), meter, model(203, METER)))
    polled = SunSpecDevice(DEVICE)
    assert polled.poll(device.read, 0.0).values["meter_power"] == -1200
    assert polled.info("it").model == "SolarEdge SE10K"


def test_a_map_that_moves_to_another_address_is_searched_again() -> None:
    device, polled = Device(at_40000(FRONIUS, model(103, INVERTER))), SunSpecDevice(DEVICE)
    assert polled.poll(device.read, 0.0).values["power"] == 2500
    device.registers = {address + 10000: word for address, word in device.registers.items()}
    results = [polled.poll(device.read, float(tick)) for tick in range(1, 5)]
    assert results[-1].values["power"] == 2500


ONES = {"acc32": [0, 0xFFFFFFFF], "uint16": [0xFFFF], "uint32": [0xFFFFFFFF], "int16": [0x8000], "int32": [0x80000000]}
ONES |= {
    "enum16": [0xFFFF],
    "bitfield16": [0xFFFF, 0x8000],
    "bitfield32": [0xFFFFFFFF, 0x80000000],
    "acc64": [0, 2**64 - 1],
}
ONES |= {
    "float32": [0x7FC00000, 0xFFFFFFFF],
    "uint64": [2**64 - 1],
    "int64": [2**63],
    "enum32": [0xFFFFFFFF],
    "sunssf": [0x8000],
}


@pytest.mark.parametrize("number", [103, 113, 160, 203, 213, 701, 714, 802])
def test_what_is_not_implemented_is_no_value_in_any_type(number: int) -> None:
    polled = SunSpecDevice(DEVICE)
    repeats = 2 if number in (160, 714) else 0
    assert polled.poll(Device(at_40000(FRONIUS, model(number, {}, repeats))).read, 0.0).values == {}
    points = {point["name"]: point for point in definition(number)["points"] if point["name"] not in ("ID", "L")}
    for which in (0, -1):
        raw = {name: ONES[point["type"]][which] for name, point in points.items() if point["type"] in ONES}
        registers = at_40000(FRONIUS, model(number, {}, repeats))
        at = 40070
        for point in definition(number)["points"]:
            if point["name"] in raw:
                data = raw[point["name"]].to_bytes(2 * point["size"], "big")
                for i in range(point["size"]):
                    registers[at + i] = int.from_bytes(data[2 * i : 2 * i + 2], "big")
            at += point["size"]
        assert SunSpecDevice(DEVICE).poll(Device(registers).read, 0.0).values == {}


@pytest.mark.slow
def test_a_map_that_changes_and_one_that_ends_early_are_in_log_and_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, eventually: Callable[[Callable[[], object]], object]
) -> None:
    caplog.set_level(logging.INFO)
    registers = Registers()
    registers.holdings.update(at_40000(FRONIUS, model(103, INVERTER), end=False))
    stub, stop = ServiceStub(tmp_path), threading.Event()
    with TcpServer({1: SimulatedDevice("roof", registers)}) as server:
        devices = (DeviceOptions("roof", "sunspec", 1, 0.1),)
        line = LineOptions(f"tcp://127.0.0.1:{server.port}", devices)
        worker = LineWorker(line, stub.service, stub.producer, stop)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            eventually(lambda: stub.facts.get("device:roof", {}).get("notes"))
            early = "its SunSpec map ends at 40122 with exception 2 (illegal data address); it is walked again later"
            assert stub.facts["device:roof"]["notes"] == [early]
            registers.holdings = at_40000(FRONIUS, model(113, FLOATS))
            eventually(lambda: stub.facts["device:roof"]["notes"] == [] and stub.invalid)
        finally:
            stop.set()
            worker.wake()
            thread.join(30)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("roof: ")]
    assert lines.count(f"roof: {early}") == 1
    assert lines.count(f"roof: no longer: {early}") == 1
    assert [line for line in lines if "model 113" in line and "where model 103" in line]
    assert stub.invalid[0][0] == "its SunSpec map is another now"
