"""A scan of a line that echoes, or whose devices answer late; its time is simulated."""

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.modbus_poller import models
from services.modbus_poller.client import LineClient
from services.modbus_poller.errors import NoResponse, UnexpectedResponse
from services.modbus_poller.scan import cli, scanner
from services.modbus_poller.scan.scanner import FoundDevice, ScanResult
from simulator.readings import Meter
from simulator.sdm120 import sdm120, sdm630
from simulator.site import Site, SitePlan
from simulator.tracer import tracer
from tests.modbus_poller.simulated_line import Answer, Order, Registers, SimulatedLine, options

METER = Meter(volts=230.4, hertz=50.02, watts=1234.5, var=-100.25, import_kwh=1042.7, export_kwh=3.3, import_kvarh=12.6)
MODELS = {1: "epever_tracer", 2: "eastron_sdm120", 3: "eastron_sdm630"}


@pytest.fixture(scope="module")
def units() -> dict[int, Answer]:
    reading = Site(SitePlan(), 1_782_000_000.0).controller()
    return {
        1: tracer("tracer", lambda: reading).answer,
        2: sdm120("grid", lambda: METER, unit=2).answer,
        3: sdm630("house", lambda: METER, unit=3).answer,
    }


def scanned(line: SimulatedLine) -> ScanResult:
    return scanner.scan(
        "/dev/simulated",
        [1, 2, 3, 4],
        [9600],
        ["none"],
        0.2,
        lambda what: None,
        lambda: None,
        lambda options: LineClient(options, line, line, scanner.LATEST_SECONDS),
    )


def test_a_scan_through_an_adapter_that_echoes_finds_every_device(units: dict[int, Answer]) -> None:
    result = scanned(SimulatedLine(units, lambda: 0.02, baud=9600, echoes=True))
    assert "(9600 baud, the adapter echoes)" in cli.summary(result)
    assert result.devices == [FoundDevice(unit_id, model) for unit_id, model in MODELS.items()]


@pytest.mark.parametrize("seed", range(4))
def test_a_scan_of_a_disturbed_line_names_no_wrong_model(units: dict[int, Answer], seed: int) -> None:
    chance = random.Random(seed)
    line = SimulatedLine(
        units, lambda: chance.uniform(0.2, 2.0) if chance.random() < 0.02 else chance.uniform(0.01, 0.1)
    )
    for unit_id, model in scanned(line).devices:
        assert model in ("", MODELS[unit_id])


@given(st.integers(0, 2**32), st.sampled_from([0.05, 0.5]), st.sampled_from(["in turn", "any"]))
def test_a_read_that_waits_is_answered_by_the_registers_that_it_asked_for(
    seed: int, often: float, order: Order
) -> None:
    """As the scan and the read-back of a write do."""
    chance = random.Random(seed)
    registers = Registers(models.load("eastron_sdm120"), "read")
    line = SimulatedLine({1: registers}, lambda: chance.uniform(0.2, 2.0) if chance.random() < often else 0.05, order)
    client = LineClient(options(timeout=0.2), line, line, scanner.LATEST_SECONDS)
    for _ in range(20):
        function, address, count = chance.choice([3, 4]), chance.randrange(100), chance.choice([2, 2, 4])
        with suppress(NoResponse, UnexpectedResponse):
            assert client.read(1, function, address, count) == [
                registers.word(function, at) for at in range(address, address + count)
            ]
