"""Gas, water and heat meters behind a P1 port: their times, and their names."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.serial_bridge.formats import dsmr_p1
from services.serial_bridge.options import PortOptions
from services.serial_bridge.protocols.meter_names import MeterNames
from services.serial_bridge.source import ParserContext
from tests.serial_bridge.meter_port import ESMR, FLUVIUS, OTHER, QUARTER_PAST_EIGHT, Port, gas, telegram

DEAD = ("0-1:24.1.0(003)", "0-1:96.1.0()", "0-1:24.2.1(632525252525S)(00000.000)")
DEAD_SINCE_1970 = ("0-1:24.1.0(003)", "0-1:96.1.0()", "0-1:24.2.1(700101010000W)(00000000)")


@pytest.fixture
def port(tmp_path: Path) -> Port:
    return Port(tmp_path)


@pytest.mark.parametrize("impossible", ["681027002758S", "261130091500W", "991231235959W", "310101000000W"])
def test_an_impossible_time_of_a_gas_meter_does_not_silence_it(port: Port, impossible: str) -> None:
    port.say(telegram(*ESMR, gas("261130080000W", "01023.855*m3")))
    port.say(telegram(*ESMR, gas(impossible, "01023.855*m3")))
    port.say(telegram(*ESMR, gas("261130080500W", "01024.001*m3")))
    port.say(telegram(*ESMR, gas("261130081000W", "01024.100*m3")))
    assert port.of("house_gas", "volume") == [1023.855, 1024.001, 1024.1]
    assert port.of("house", "power_import") == [0.3] * 4
    assert port.stub.counters["invalid_timestamps"] + port.stub.counters["no_sensor"] == 1


POSSIBLE = ("261130080000W", "261130080500W", "261130081000W")
IMPOSSIBLE = ("681027002758S", "991231235959W", "632525252525S", "700101010000W", "261130235959W")


@given(times=st.lists(st.sampled_from(POSSIBLE + IMPOSSIBLE), max_size=12))
def test_no_time_whatever_silences_a_meter_or_makes_a_reading_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, times: list[str]
) -> None:
    port = Port(tmp_path_factory.getbasetemp() / "never")
    for time in times:
        port.say(telegram(*ESMR, gas(time, f"{1000 + (POSSIBLE + IMPOSSIBLE).index(time)}*m3")))
    possible = [time for time in times if time in POSSIBLE]
    changes = [time for number, time in enumerate(possible) if number == 0 or time != possible[number - 1]]
    assert port.of("house_gas", "volume") == [1000 + POSSIBLE.index(time) for time in changes]


def test_a_reading_of_a_meter_is_published_once_for_each_of_its_times(port: Port) -> None:
    for time in ("261130080000W", "261130080000W", "261130080500W", "261130080000W"):
        port.say(telegram(*ESMR, gas(time, "01023.855*m3")))
    times = [at for (name, _), at in zip(port.stub.readings, port.stub.times, strict=True) if name == "house_gas"]
    assert [at and at - QUARTER_PAST_EIGHT for at in times] == [-900, -600, -900]


def test_a_meter_is_online_again_with_the_first_telegram_after_the_port_was_lost(port: Port) -> None:
    repeated = telegram(*ESMR, gas("261130080000W", "01023.855*m3"))
    port.say(repeated)
    port.intake.offline()
    port.say(repeated)
    assert port.stub.states["house_gas"] == port.stub.states["house"] == ["online", "offline", "online"]
    assert port.of("house_gas", "volume") == [1023.855]


@pytest.mark.parametrize(
    "time", ["632525252525S", "700101010000W", "000000000000W", "632525252525", "261332000000W", "190101000000S"]
)
@pytest.mark.parametrize("volume", ["00000.000*m3", "00000.000", "00000000"])
def test_a_meter_that_was_never_read_has_no_reading(port: Port, time: str, volume: str) -> None:
    port.say(telegram(*ESMR, gas("261130080000W", "01986.492*m3")))
    port.say(telegram(*ESMR, gas(time, volume)))
    port.say(telegram(*ESMR, gas("261130080500W", "01986.500*m3")))
    assert port.of("house_gas", "volume") == [1986.492, 1986.5]
    assert port.of("house", "power_import") == [0.3] * 3
    assert port.stub.counters["no_sensor"] == 1
    assert port.stub.invalid == []


def test_what_was_read_before_2020_was_not_read(port: Port) -> None:
    port.say(telegram(*ESMR, gas("200101005959W", "1*m3")), telegram(*ESMR, gas("200101010000W", "2*m3")))
    assert port.of("house_gas", "volume") == [2]


@pytest.mark.parametrize("dead", [DEAD, DEAD_SINCE_1970])
def test_a_dead_meter_beside_a_living_one_has_neither_its_name_nor_an_energy(port: Port, dead: Sequence[str]) -> None:
    port.say(telegram(*FLUVIUS, *dead, *OTHER, gas("261130080500W", "01986.492*m3", 2)))
    assert port.of("house_gas", "volume") == [1986.492]
    assert port.kind("house_gas", "volume") == ("m³", "counter")
    assert set(port.stub.infos) == {"house", "house_gas"}


@pytest.mark.parametrize("unit", ["", "*kW", "*l", "*x"])
@pytest.mark.parametrize("code", ["24.2.1", "24.2.3", "24.3.0"])
@pytest.mark.parametrize("medium", ["003", "004", "007", "012", "002"])
def test_an_amount_without_a_unit_of_amounts_is_not_a_reading(port: Port, unit: str, code: str, medium: str) -> None:
    port.say(telegram(*ESMR[:-2], f"0-1:24.1.0({medium})", f"0-1:{code}(261130080000W)(00123.000{unit})"))
    assert {name for name, _ in port.stub.readings} == {"house"}
    assert port.stub.counters["invalid_values"] == 1


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_volumes_of_one_meter_the_same_one_counts_in_any_order(port: Port, order: int) -> None:
    lines = ["0-1:24.2.1(261130080000W)(00100.000*m3)", "0-1:24.2.3(261130080000W)(00101.000*m3)"]
    port.say(telegram(*ESMR, *lines[::order]))
    assert port.of("house_gas", "volume") == [100.0]
    assert [what for _, what, _ in port.stub.invalid] == [f"{lines[1]}: a second value of the same meter"]


@pytest.mark.parametrize(
    ("value", "channel", "amount"),
    [
        ("(m3)(00024.123)", "volume", 24.123),
        ("(GJ)(00036.000)", "energy", 10),
        ("(kWh)(00005.000)", "energy", 5),
        ("(m3)(00024.123*m3)", "volume", 24.123),
    ],
)
def test_a_capture_of_dsmr_2_2_has_the_unit_before_its_value(
    port: Port, value: str, channel: str, amount: float
) -> None:
    line = f"0-1:24.3.0(261130080000)(00)(60)(1)(0-1:24.2.1){value}"
    port.say(telegram("/X", "1-0:1.7.0(00.300*kW)", "0-1:24.1.0(003)", line))
    assert port.of("house_gas", channel) == [amount]
    assert port.unread == port.stub.invalid == []


@pytest.mark.parametrize("volumes", [("00101.000*m3", "00100.000*m3"), ("00100.000*m3", "00101.000*m3")])
def test_of_two_volumes_with_one_code_the_first_counts(port: Port, volumes: tuple[str, str]) -> None:
    first, second = (gas("261130080000W", volume) for volume in volumes)
    port.say(telegram(*ESMR, first, second))
    assert port.of("house_gas", "volume") == [float(volumes[0].removesuffix("*m3"))]
    assert [what for _, what, _ in port.stub.invalid] == [f"{second}: a second value of the same meter"]


def test_the_same_volume_twice_is_no_fault(port: Port) -> None:
    line = gas("261130080000W", "00100.000*m3")
    port.say(telegram(*ESMR, line, line, line.replace("24.2.1", "24.2.3")))
    assert port.of("house_gas", "volume") == [100.0]
    assert port.stub.invalid == []


def test_a_meter_keeps_its_name_when_the_one_before_it_is_silent(port: Port) -> None:
    first = ("0-1:24.1.0(003)", gas("261130080000W", "00500.000*m3"))
    port.say(telegram(*FLUVIUS, *first, *OTHER, gas("261130080500W", "01986.492*m3", 2)))
    port.say(telegram(*FLUVIUS, "0-1:24.1.0(003)", *OTHER, gas("261130081000W", "01986.500*m3", 2)))
    assert port.of("house_gas", "volume") == [500.0]
    assert port.of("house_gas_2", "volume") == [1986.492, 1986.5]


def test_a_meter_keeps_its_name_over_a_restart_of_the_service(tmp_path: Path) -> None:
    first, second = gas("261130080000W", "00500.000*m3"), gas("261130080500W", "01986.492*m3", 2)
    Port(tmp_path).say(telegram(*FLUVIUS, "0-1:24.1.0(003)", first, *OTHER, second))
    port = Port(tmp_path)
    port.say(telegram(*FLUVIUS, *OTHER, second))
    assert [name for name, _ in port.stub.readings if "gas" in name] == ["house_gas_2"]


def test_the_only_gas_meter_is_called_after_its_medium_on_any_channel(port: Port) -> None:
    port.say(telegram(*FLUVIUS, "0-3:24.1.0(003)", gas("261130080500W", "01986.492*m3", 3)))
    assert port.of("house_gas", "volume") == [1986.492]


def test_a_meter_whose_medium_is_missing_once_keeps_its_name(port: Port) -> None:
    port.say(telegram(*ESMR, gas("261130080000W", "01023.855*m3")))
    port.say(telegram(*ESMR[:-2], gas("261130080500W", "01023.900*m3")))
    assert port.of("house_gas", "volume") == [1023.855, 1023.9]
    assert port.stub.infos["house_gas"].model == "gas meter"


def test_names_that_cannot_be_read_or_saved_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "meters.json"
    file.write_text("[{")
    names = MeterNames(file)
    assert names.name("house", 2, "gas") == ("house_gas", "gas")
    assert "meters.json is not readable" in caplog.text
    assert MeterNames(file).name("house", 1, "gas") == ("house_gas_1", "gas")
    file.unlink()
    (tmp_path / "file").write_text("")
    refused = MeterNames(tmp_path / "file" / "meters.json")
    assert refused.name("house", 2, "gas") == refused.name("house", 2, "gas") == ("house_gas", "gas")
    assert "a restart may exchange the names of two meters" in caplog.text


@given(
    telegrams=st.lists(
        st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["003", "007"])), unique_by=lambda meter: meter[0]),
        max_size=6,
    )
)
def test_whatever_meters_drop_out_no_name_is_ever_another_meter_s(telegrams: list[list[tuple[int, str]]]) -> None:
    parse = dsmr_p1.parser(PortOptions(name="house", port="/x", format="dsmr_p1"), ParserContext({}))
    owners: dict[str, tuple[int, str]] = {}
    for meters in telegrams:
        lines = [
            line
            for number, medium in meters
            for line in (f"0-{number}:24.1.0({medium})", f"0-{number}:24.2.1(261130080000W)({number}{medium}*m3)")
        ]
        readings = parse(telegram("/X", "1-0:1.7.0(0*kW)", *lines))
        assert isinstance(readings, list)
        behind = {reading.device: reading.values["volume"] for reading in readings if "volume" in reading.values}
        assert len(behind) == len(meters)
        for number, medium in meters:
            names = [name for name, value in behind.items() if value == int(f"{number}{medium}")]
            assert [owners.setdefault(name, (number, medium)) for name in names] == [(number, medium)]
