import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.messages import Channel
from services.modbus_poller.client import LineClient
from services.modbus_poller.errors import ExceptionResponse, NoResponse
from services.modbus_poller.options import DeviceOptions, LineOptions
from services.modbus_poller.reads import ReadRequest
from services.modbus_poller.sunspec import models as sunspec
from services.modbus_poller.sunspec.device import SunSpecDevice
from tests.modbus_poller.pymodbus_server import PymodbusServer
from tests.modbus_poller.sunspec_map import Map, definition

INVERTERS = [101, 102, 103]
DEVICE = DeviceOptions(name="it", model="sunspec")


class Wire:
    """Answers from a map; addresses outside are refused, or silent."""

    def __init__(self, registers: dict[int, int], silent: tuple[int, ...] = ()) -> None:
        self.registers = registers
        self.silent = silent
        self.asked: list[tuple[int, int]] = []

    def read(self, block: ReadRequest) -> list[int]:
        self.asked.append((block.address, block.count))
        if block.address in self.silent:
            raise NoResponse("no answer")
        try:
            return [self.registers[address] for address in range(block.address, block.address + block.count)]
        except KeyError:
            raise ExceptionResponse(2) from None


@pytest.mark.parametrize("model", sorted(sunspec.PREFIXES))
def test_every_point_of_a_model_comes_out_as_it_went_in(model: int) -> None:
    there = Map(40000, [model], seed=model)
    polled = SunSpecDevice(DEVICE)
    with (
        PymodbusServer({3: there.registers}) as server,
        LineClient(LineOptions(port=f"tcp://127.0.0.1:{server.port}", devices=(DEVICE,), timeout=10.0)) as client,
    ):
        result = polled.poll(lambda block: client.read(1, block.function, block.address, block.count), 0.0)
    assert (result.failure, result.invalid) == ("", [])
    length = there.registers[there.at[model] + 1]
    points = [point for point in sunspec.points(model, length) if point.type != "sunssf"]
    defined = {point["name"]: point for point in definition(model)["points"]}
    for group in definition(model).get("groups", []):
        defined |= {f"{group['name'].lower()}{n}_{p['name']}": p for n in (1, 2) for p in group["points"]}
    compared = 0
    for point in points:
        one = defined.get(point.name.replace("mppt", "module"))
        if one is None or point.type.startswith(("enum", "string")):
            continue
        name = (
            re.sub(r"^[a-z]+(\d)_", r"\1:", point.name)
            if point.name not in defined or "_" in point.name
            else point.name
        )
        factor = one.get("sf", 0)
        exponent = factor if isinstance(factor, int) else int(there.values[model][factor])
        scale = 0.001 if one.get("units") == "varh" else 1.0
        assert result.values[point.channel] == pytest.approx(there.values[model][name] * 10.0**exponent * scale)
        compared += 1
    assert compared >= 1


@pytest.mark.parametrize("base", sunspec.BASES)
@pytest.mark.parametrize("inverter", INVERTERS)
def test_the_map_is_found_at_each_base(base: int, inverter: int) -> None:
    there = Map(base, [inverter])
    wire = Wire(there.registers)
    polled = SunSpecDevice(DEVICE)
    result = polled.poll(wire.read, 0.0)
    assert result.values["power"] == pytest.approx(there.scaled(inverter, "W", "W_SF"))
    assert polled.info("it").model == "Fronius Symo 8.2-3-M"
    before = len(wire.asked)
    polled.poll(wire.read, 10.0)
    assert len(wire.asked) - before <= 2


def test_a_base_that_is_silent_costs_one_poll_and_the_next_is_tried() -> None:
    there = Map(50000, [103])
    wire = Wire(there.registers, silent=(40000, 0))
    polled = SunSpecDevice(DEVICE)
    assert [polled.poll(wire.read, n * 10.0).failure for n in range(3)] == ["no answer", "no answer", ""]
    assert [address for address, _ in wire.asked[:3]] == [40000, 0, 50000]


def test_a_probe_of_a_lost_device_tries_the_next_base_too() -> None:
    wire = Wire({}, silent=(40000,))
    polled = SunSpecDevice(DEVICE)
    assert polled.probe(wire.read) == "no answer"
    assert polled.probe(wire.read) == ""
    assert [address for address, _ in wire.asked] == [40000, 0]


def test_a_device_without_a_map_says_so() -> None:
    polled = SunSpecDevice(DEVICE)
    assert polled.poll(Wire(dict.fromkeys(range(40000, 40100), 7)).read, 0.0).failure == (
        "no SunSpec map at 40000, 0, 50000"
    )


def test_a_scale_factor_that_changes_is_the_one_of_the_same_poll() -> None:
    there = Map(40000, [103])
    wire = Wire(there.registers)
    polled = SunSpecDevice(DEVICE)
    before = polled.poll(wire.read, 0.0).values["power"]
    at = there.at[103] + 15  # W_SF
    wire.registers[at] = (wire.registers[at] + 1) & 0xFFFF
    assert polled.poll(wire.read, 10.0).values["power"] == pytest.approx(float(before) * 10)


def test_a_point_that_is_not_implemented_is_not_a_channel() -> None:
    there = Map(40000, [103], without=("VA", "DCW_SF", "PhVphB", "WH"))
    polled = SunSpecDevice(DEVICE)
    result = polled.poll(Wire(there.registers).read, 0.0)
    assert result.invalid == []
    channels = polled.info("it").channels
    assert not {"apparent_power", "dc_power", "voltage_l2", "energy_total"} & (set(result.values) | set(channels))
    assert channels["voltage_l1"] == Channel("V", label="Phase Voltage AN")


def test_a_counter_that_begins_later_is_published_then() -> None:
    there = Map(40000, [103], without=("WH",))
    wire = Wire(there.registers)
    polled = SunSpecDevice(DEVICE)
    polled.poll(wire.read, 0.0)
    revision = polled.revision
    wire.registers[there.at[103] + 25] = 7
    polled.poll(wire.read, 10.0)
    assert polled.revision > revision
    assert polled.info("it").channels["energy_total"].kind == "counter"


def test_two_models_with_the_same_points_get_names_of_their_own() -> None:
    there = Map(40000, [103, 203, 160])
    polled = SunSpecDevice(DEVICE)
    values = polled.poll(Wire(there.registers).read, 0.0).values
    assert values["power"] == pytest.approx(there.scaled(103, "W", "W_SF"))
    assert values["meter_power"] == pytest.approx(there.scaled(203, "W", "W_SF"))
    assert values["mppt2_dc_voltage"] == pytest.approx(there.scaled(160, "2:DCV", "DCV_SF"))
    assert values["meter_energy_import"] == pytest.approx(there.scaled(203, "TotWhImp", "TotWh_SF"))


def test_the_state_of_an_inverter_is_a_word() -> None:
    there = Map(40000, [103])
    there.registers[there.at[103] + 38] = 4
    polled = SunSpecDevice(DEVICE)
    assert polled.poll(Wire(there.registers).read, 0.0).values["status"] == "mppt"
    assert polled.info("it").channels["status"].kind == "text"


def test_a_silence_in_the_middle_of_the_map_is_not_the_wrong_base() -> None:
    there = Map(40000, [103])
    wire = Wire(there.registers, silent=(there.at[103],))
    polled = SunSpecDevice(DEVICE)
    assert polled.poll(wire.read, 0.0).failure == "no answer"
    wire.silent = ()
    wire.asked.clear()
    assert polled.poll(wire.read, 10.0).failure == ""
    assert wire.asked[0] == (40000, 2)


class Noise(dict[int, int]):
    """Registers that hold anything, made when they are read."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def __missing__(self, address: int) -> int:
        if address > 0xFFFF:
            raise KeyError(address)
        self[address] = self._chance.randrange(0x10000)
        return self[address]


@given(
    st.lists(st.tuples(st.sampled_from([1, 103, 160, 203, 714, 802, 9999]), st.integers(0, 0xFFFF)), max_size=8),
    st.integers(0, 2**32),
)
def test_any_map_is_read_without_an_error(models: list[tuple[int, int]], seed: int) -> None:
    registers = Noise(seed)
    registers |= {40000: 0x5375, 40001: 0x6E53}
    at = 40002
    for model, length in models:
        if at + 1 > 0xFFFF:
            break
        registers |= {at: model, at + 1: length}
        at += 2 + length
    result = SunSpecDevice(DEVICE).poll(Wire(registers).read, 0.0)
    assert all(isinstance(value, int | float | str) for value in result.values.values())
