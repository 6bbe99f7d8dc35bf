"""P1 telegrams and SML transmissions of real meters: nothing wrong is stored, and nothing right is lost."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.names import NameOwners
from services.serial_bridge.decoder import DecoderFactory, StreamDecoder
from services.serial_bridge.formats import dsmr_p1
from services.serial_bridge.intake import MAX_UNREAD, SerialIntake
from services.serial_bridge.options import PortOptions
from services.serial_bridge.parsing.readings import NotAReading, ParsedReading
from services.serial_bridge.protocols import checksums, obis
from services.serial_bridge.protocols.meter_names import MeterNames
from services.serial_bridge.radio.unknown_nodes import UnknownNodes
from services.serial_bridge.source import ParserContext
from tests.service_stub import ServiceStub

QUARTER_PAST_EIGHT = 1_796_022_900.0  # 2026-11-30 08:15 in Central Europe
ESMR: tuple[str, ...] = (
    "/Ene5\\T211 ESMR 5.0",
    "",
    "1-3:0.2.8(50)",
    "0-0:1.0.0(261130081500W)",
    "1-0:1.8.1(000100.000*kWh)",
)
ESMR += ("1-0:1.7.0(00.300*kW)", "0-1:24.1.0(003)", "0-1:96.1.0(30)")
FLUVIUS: tuple[str, ...] = (
    "/FLU5\\253770234_A",
    "",
    "0-0:96.1.4(50217)",
    "0-0:1.0.0(261130081500W)",
    "1-0:1.8.1(000100.000*kWh)",
)
FLUVIUS += ("1-0:1.4.0(01.234*kW)", "1-0:1.6.0(261115181500W)(04.329*kW)")
FLUVIUS += (
    "0-0:98.1.0(2)(1-0:1.6.0)(1-0:1.6.0)(261001000000S)(260914134500S)(04.329*kW)(261101000000W)(261020101500S)(03.870*kW)",
)
FLUVIUS += ("1-0:1.7.0(00.300*kW)", "0-0:96.3.10(1)", "0-0:17.0.0(999.9*kW)", "1-0:31.4.0(999*A)", "0-0:96.13.0()")
DEAD = ("0-1:24.1.0(003)", "0-1:96.1.0()", "0-1:24.2.1(632525252525S)(00000.000)")
DEAD_SINCE_1970 = ("0-1:24.1.0(003)", "0-1:96.1.0()", "0-1:24.2.1(700101010000W)(00000000)")
OTHER = ("0-2:24.1.0(003)", "0-2:96.1.0(30)")
LOGAREX: tuple[str, ...] = (
    "/LOG5LK13BE000000",
    "",
    "1-0:96.1.0*255(001LOG0000000000)",
    "1-0:1.8.0*255(004321.6520*kWh)",
)
LOGAREX += ("1-0:1.8.0*96(000007.1*kWh)", "1-0:1.8.0*97(000051.4*kWh)", "1-0:1.8.0*98(000209.9*kWh)")
LOGAREX += ("1-0:1.8.0*99(001502.7*kWh)", "1-0:1.8.0*100(000012.5*kWh)", "1-0:16.7.0*255(000361*W)")
ACE4000: tuple[str, ...] = (
    "/ACE4\\3kk101234567",
    "",
    "0-0:96.1.1(00)",
    "1-0:1.8.1*255(03456.789*kWh)",
    "1-0:1.8.2*255(01234.567*kWh)",
)
ACE4000 += ("1-0:1.7.0*255(0000.45*kW)", "7-0:0.0.0*255(00)", "7-0:23.1.0*255(02339.900*m3)(15-06-17 13:00:00)")


def telegram(*lines: str, checked: bool = True) -> bytes:
    data = "".join(f"{line}\r\n" for line in lines).encode() + b"!"
    return data + (f"{checksums.arc(data):04X}".encode() if checked else b"") + b"\r\n"


def gas(time: str, volume: str, line: int = 1) -> str:
    return f"0-{line}:24.2.1({time})({volume})"


class Port:
    """A port whose readings are published as the service publishes them."""

    def __init__(self, folder: Path, name: str = "house", line_format: str = "dsmr_p1") -> None:
        self.stub = ServiceStub(folder)
        self.stub.clock.time = QUARTER_PAST_EIGHT
        options = PortOptions(name=name, port="x", format=line_format)
        context = ParserContext({}, meter_names=MeterNames(folder / "meters.json" if folder.exists() else None))
        self._decoder = DecoderFactory(options, context).decoder(joined_late=False)
        self.intake = SerialIntake(name, self.stub.service, self.stub.producer, UnknownNodes(), NameOwners(100))

    def say(self, *telegrams: bytes) -> None:
        for piece in self._decoder.feed(b"".join(telegrams)):
            self.intake.accept(piece)

    def of(self, device: str, channel: str) -> list[Any]:
        return [values[channel] for name, values in self.stub.readings if name == device and channel in values]

    def kind(self, device: str, channel: str) -> tuple[str, str]:
        described = self.stub.infos[device].channels[channel]
        return described.unit, described.kind

    @property
    def unread(self) -> Any:
        return self.intake.facts().get("unread", [])


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
    assert "cannot save the names of meters" in caplog.text


@given(
    telegrams=st.lists(
        st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["003", "007"])), unique_by=lambda meter: meter[0]),
        max_size=6,
    )
)
def test_whatever_meters_drop_out_no_name_is_ever_another_meter_s(telegrams: list[list[tuple[int, str]]]) -> None:
    parse = dsmr_p1.parser(PortOptions(name="house", port="x", format="dsmr_p1"), ParserContext({}))
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


def test_what_a_meter_used_in_the_past_does_not_touch_its_totals(port: Port) -> None:
    export = ("1-0:2.8.0*255(000016.2869*kWh)", "1-0:2.8.0*96(000000.5000*kWh)", "1-0:1.8.0&12(000100.0*kWh)")
    port.say(telegram(*LOGAREX, *export, checked=False))
    assert port.of("house", "energy_import") == [4321.652]
    assert port.of("house", "energy_export") == [16.2869]
    assert port.of("house", "obis_1_0_1_8_0_96") == [7.1]
    assert port.kind("house", "obis_1_0_1_8_0_100") == ("kWh", "gauge")
    assert port.kind("house", "energy_import") == ("kWh", "counter")
    assert port.of("house", "power") == [361]
    assert port.unread == []


def test_a_billing_period_is_not_the_total(port: Port) -> None:
    port.say(
        telegram(
            "/EST5\\253710000_A",
            "",
            "1-0:1.8.0(006545766*Wh)",
            "1-0:1.8.0*01(006100000*Wh)",
            "1-0:1.8.0*02(005900000*Wh)",
        )
    )
    assert port.of("house", "energy_import") == [6_545_766]
    assert port.of("house", "obis_1_0_1_8_0_2") == [5_900_000]


@pytest.mark.parametrize(
    ("lines", "power", "other"),
    [
        (("1-0:15.7.0(1.5*kW)", "1-0:16.7.0(-1.5*kW)"), -1.5, {"obis_1_0_15_7_0": 1.5}),
        (("1-0:16.7.0(-1.5*kW)", "1-0:15.7.0(1.5*kW)"), -1.5, {"obis_1_0_15_7_0": 1.5}),
        (("1-0:15.7.0(1.5*kW)",), 1.5, {}),
        (("0-0:16.7.0(9*kW)", "1-1:16.7.0(8*kW)", "1-0:16.7.0(2*kW)"), 2, {"obis_0_0_16_7_0": 9, "obis_1_1_16_7_0": 8}),
    ],
)
def test_of_codes_that_mean_the_same_one_has_the_name(
    port: Port, lines: Sequence[str], power: float, other: dict[str, float]
) -> None:
    port.say(telegram("/X", *lines))
    assert port.stub.readings == [("house", {"power": power} | other)]


@pytest.mark.parametrize(("phase", "base"), [("l1", 20), ("l2", 40), ("l3", 60)])
def test_the_codes_of_each_phase_have_its_name(phase: str, base: int) -> None:
    named = {
        f"{base + 1}.7.0": "power_import",
        f"{base + 2}.7.0": "power_export",
        f"{base + 3}.7.0": "reactive_power_import",
        f"{base + 4}.7.0": "reactive_power_export",
        f"{base + 11}.7.0": "current",
        f"{base + 12}.7.0": "voltage",
        f"{base + 12}.32.0": "voltage_sags",
        f"{base + 12}.36.0": "voltage_swells",
        f"{base + 13}.7.0": "power_factor",
        f"{base + 16}.7.0": "power",
    }
    assert {quantity: obis.Code(1, 0, quantity).name for quantity in named} == {
        quantity: f"{name}_{phase}" for quantity, name in named.items()
    }


@pytest.mark.parametrize(
    ("unit", "amount", "channel", "value"),
    [
        ("varh", "500", "kvarh", 0.5),
        ("GJ", "36", "MWh", 10),
        ("m3", "5", "m³", 5),
        ("MWh", "2", "MWh", 2),
        ("kvarh", "2", "kvarh", 2),
    ],
)
def test_units_of_meters_become_units_that_everyone_knows(
    port: Port, unit: str, amount: str, channel: str, value: float
) -> None:
    port.say(telegram("/X", f"1-0:1.8.0({amount}*{unit})"))
    assert port.of("house", "energy_import") == [value]
    assert port.kind("house", "energy_import") == (channel, "counter")


def test_a_code_that_comes_twice_with_different_values_is_set_aside(port: Port) -> None:
    port.say(telegram("/X", "1-0:1.8.0(1*kWh)", "1-0:1.8.0*255(2*kWh)", "1-0:1.8.0(1*kWh)"))
    assert port.of("house", "energy_import") == [1]
    assert [what for _, what, _ in port.stub.invalid] == ["1-0:1.8.0*255(2*kWh): a second value of the same code"]


def test_a_meter_that_changes_its_unit_is_converted_to_that_of_the_channel(port: Port) -> None:
    port.say(*(telegram("/X", f"1-0:1.8.0({value})") for value in ("6545*kWh", "6545766*Wh", "7*MWh", "7*V", "7*A")))
    assert port.of("house", "energy_import") == [6545, 6545.766, 7000]
    assert port.stub.counters["invalid_values"] == 2


UNITS = st.sampled_from(["kWh", "Wh", "kW", "m3", "V", "A", "x", ""])
CODES = st.tuples(
    st.sampled_from([0, 1, 1, 1, 7, 129]),
    st.sampled_from([0, 0, 1, 2]),
    st.sampled_from(
        [
            "1.8.0",
            "1.8.1",
            "2.8.0",
            *obis.CODES,
            *obis.ABSTRACT_CODES,
            "24.2.1",
            "24.1.0",
            "23.1.0",
            "99.97.0",
            "1.9.0",
            "1.8.5",
        ]
    ),
    st.none() | st.integers(0, 254) | st.just(255),
)
KNOWN = {code: name for code, name in obis.CODES.items() if name != "power"}
TOTALS = {
    f"1-0:{code}({number}.5*{'kWh' if 'energy' in name else 'kW'})": (name, number + 0.5)
    for number, (code, name) in enumerate(KNOWN.items())
    if ".8." in code and code[0] in "12"
}


def is_foreign(code: tuple[int, int, str, int | None]) -> bool:
    medium, line, quantity, period = code
    return not (line == 0 and medium == 1 and period in (None, 255) and quantity in KNOWN)


FOREIGN = st.lists(st.tuples(CODES.filter(is_foreign), st.integers(0, 10**6), UNITS), max_size=12)


@given(foreign=FOREIGN, order=st.randoms(use_true_random=False))
def test_foreign_codes_never_touch_a_known_counter_of_a_telegram(foreign: list[Any], order: Any) -> None:
    lines = [
        f"{medium}-{line}:{quantity}{'' if period is None else f'*{period}'}({value}{f'*{unit}' if unit else ''})"
        for (medium, line, quantity, period), value, unit in foreign
    ]
    lines += TOTALS
    order.shuffle(lines)
    parse = dsmr_p1.parser(PortOptions(name="house", port="x", format="dsmr_p1"), ParserContext({}))
    readings = parse(telegram("/X", *lines))
    assert isinstance(readings, list)
    (own,) = [reading for reading in readings if reading.device == "house"]
    assert {name: own.values[name] for name, _ in TOTALS.values()} == dict(TOTALS.values())
    others = {name for name in own.values if name.startswith("energy_")} - {name for name, _ in TOTALS.values()}
    assert others == set()


def element(kind: int, content: bytes) -> bytes:
    size = len(content) + 1
    if size < 16:
        return bytes([kind << 4 | size]) + content
    return bytes([0x80 | kind << 4 | (size + 1) >> 4, (size + 1) & 15]) + content


def sml(server: bytes, entries: Sequence[tuple[tuple[int, ...], int, int, bytes]]) -> bytes:
    """Return a transmission: entries are code, unit, scaler, and the bytes of a signed integer."""
    items = [
        b"\x77"
        + element(0, bytes(code))
        + b"\x01\x01"
        + element(6, bytes([unit]))
        + element(5, scaler.to_bytes(1, "big", signed=True))
        + element(5, raw)
        + b"\x01"
        for code, unit, scaler, raw in entries
    ]
    assert len(items) < 256
    values = bytes([0xF0 | len(items) >> 4, len(items) & 15]) + b"".join(items)
    response = b"\x77\x01" + element(0, server) + b"\x01\x01" + values + b"\x01\x01"
    message = b"\x76" + element(0, b"\1") + b"\x62\x00\x62\x00\x72\x63\x07\x01" + response + b"\x63\x00\x00\x00"
    body = message + bytes(-len(message) % 4)
    whole = (
        b"\x1b" * 4
        + b"\x01" * 4
        + body.replace(b"\x1b" * 4, b"\x1b" * 8)
        + b"\x1b" * 4
        + bytes([0x1A, -len(message) % 4])
    )
    return whole + checksums.x25(whole).to_bytes(2, "little")


def sml_values(*transmissions: bytes) -> dict[str, Any]:
    options = PortOptions(name="house", port="x", format="sml")
    decoder = DecoderFactory(options, ParserContext({})).decoder(joined_late=False)
    (piece,) = decoder.feed(b"".join(transmissions))
    assert isinstance(piece.result, ParsedReading)
    assert {type(value) for value in piece.result.values.values()} <= {int, float}
    return piece.result.values


EASYMETER = bytes.fromhex("0a0145425a0100000000")
SML_TOTALS = {
    (1, 0, *(int(part) for part in code.split(".")), 255): name for code, name in KNOWN.items() if ".8." in code
}


@given(
    foreign=st.lists(
        st.tuples(
            st.tuples(
                st.sampled_from([0, 1, 1, 129]),
                st.sampled_from([0, 0, 1]),
                st.sampled_from([1, 2, 16, 96]),
                st.sampled_from([6, 7, 8, 8, 9]),
                st.integers(0, 3),
                st.integers(0, 255),
            ).filter(lambda code: code not in SML_TOTALS),
            st.integers(1, 10**9),
        ),
        max_size=10,
    ),
    order=st.randoms(use_true_random=False),
)
def test_foreign_codes_never_touch_a_known_counter_of_a_transmission(foreign: list[Any], order: Any) -> None:
    entries = [(code, 30, -1, value.to_bytes(5, "big")) for code, value in foreign]
    entries += [(code, 30, -1, (10 * number + 5).to_bytes(5, "big")) for number, code in enumerate(SML_TOTALS)]
    order.shuffle(entries)
    values = sml_values(sml(EASYMETER, entries))
    assert {name: values[name] for name in SML_TOTALS.values()} == {
        name: number + 0.5 for number, name in enumerate(SML_TOTALS.values())
    }


I5 = (
    "1b1b1b1b01010101760500000001620062007263010176010105000000010b0a0145425a010000000101016369c80076050000000262006200"
    "7263070177010b0a0145425a0100000001070100620affff017477070100010800ff0101621e52ff660002936e880177070100010800600101"
    "621e52ff65000115bc0177070100010800610101621e52ff650007d8fc0177070100100700ff0101621b52005301690101016342b100760500"
    "0000036200620072630201710163a8e6001b1b1b1b1a00b909"
)
I7 = (
    "1b1b1b1b01010101760500000001620062007263010176010105000000010b0a01445a470002aabbcc01016336e000760500000002620062007"
    "263070177010b0a01445a470002aabbcc070100620affff017477070100603201010101010104445a470177070100600100ff010101010b0a01"
    "445a470002aabbcc0177070100010800ff0101621e52ff65000186a00177070100100700ff0101621b52fe538b2801010163668900760500000"
    "0036200620072630201710163a8e6001b1b1b1b1a0048f7",
    "1b1b1b1b01010101760500000001620062007263010176010105000000010b0a01445a470002aabbcc01016336e000760500000002620062007"
    "263070177010b0a01445a470002aabbcc070100620affff017477070100603201010101010104445a470177070100600100ff010101010b0a01"
    "445a470002aabbcc0177070100010800ff0101621e52ff65000186a00177070100240700ff0101621b52fe53c60c01010163640b00760500000"
    "0036200620072630201710163a8e6001b1b1b1b1a00a86c",
)


def test_yesterday_s_consumption_in_sml_is_not_the_total() -> None:
    assert sml_values(bytes.fromhex(I5)) == {
        "energy_import": 4_321_652.0,
        "obis_1_0_1_8_0_96": 7_110.0,
        "obis_1_0_1_8_0_97": 51_430.0,
        "power": 361,
    }


@pytest.mark.parametrize(("transmission", "channel", "watts"), [(I7[0], "power", 356.24), (I7[1], "power_l1", 507.0)])
def test_a_dzg_meter_of_the_series_that_forgets_the_sign_is_read_right(
    transmission: str, channel: str, watts: float
) -> None:
    assert sml_values(bytes.fromhex(transmission))[channel] == watts


@pytest.mark.parametrize(
    ("number", "watts"),
    [
        *((number, 549.86) for number in (42_000_000, 48_999_999, 55_000_000, 58_999_999)),
        *((number, -105.5) for number in (40_221_297, 41_999_999, 49_000_000, 54_999_999, 59_000_000, 60_000_000)),
    ],
)
def test_only_the_series_that_dzg_named_is_read_without_a_sign(number: int, watts: float) -> None:
    server = b"\x0a\x01DZG" + number.to_bytes(5, "big")
    power = ((1, 0, 16, 7, 0, 255), 27, -2)
    assert sml_values(sml(server, [(*power, bytes.fromhex("d6ca"))])) == {"power": watts}
    assert sml_values(sml(server, [(*power, bytes.fromhex("ffd6ca"))])) == {"power": -105.5}
    assert sml_values(sml(EASYMETER, [(*power, bytes.fromhex("d6ca"))])) == {"power": -105.5}
    assert sml_values(sml(server, [((1, 0, 16, 7, 0, 255), 35, -2, bytes.fromhex("d6ca"))])) == {"power": -105.5}


def test_what_is_no_entry_of_a_list_of_values_is_counted_and_shown(tmp_path: Path) -> None:
    port = Port(tmp_path, "house", "sml")
    port.say(sml(EASYMETER, [((1, 0, 16, 7, 0), 27, 0, b"\x05"), ((1, 0, 1, 8, 0, 255), 30, 0, b"\x07")]))
    assert port.of("house", "energy_import") == [7]
    assert port.stub.counters["unread_lines"] == 1
    assert len(port.unread) == 1


def test_the_peak_of_the_month_has_the_time_at_which_it_was_measured(port: Port) -> None:
    port.say(telegram(*FLUVIUS), telegram(*FLUVIUS))
    peaks = [(values, at) for (_, values), at in zip(port.stub.readings, port.stub.times, strict=True) if at]
    assert peaks == [({"power_import_peak": 4.329}, 1_794_762_900.0)]  # 2026-11-15 18:15 +01:00
    assert port.kind("house", "power_import_peak") == ("kW", "gauge")
    assert port.of("house", "obis_1_0_1_4_0") == [1.234] * 2
    assert port.unread == []


def test_a_peak_with_a_time_that_cannot_be_is_no_reading(port: Port) -> None:
    port.say(telegram("/X", "1-0:1.6.0(632525252525S)(04.329*kW)", "1-0:1.7.0(00.300*kW)"))
    assert port.stub.readings == [("house", {"power_import": 0.3})]
    assert port.stub.counters["no_sensor"] == 1
    assert port.unread == []


def test_a_value_with_a_time_behind_it_is_read(port: Port) -> None:
    port.say(telegram(*ACE4000, checked=False))
    assert port.of("house", "energy_import_t1") == [3456.789]
    assert port.of("house_gas", "volume") == [2339.9]
    assert port.unread == []


@pytest.mark.parametrize(
    "line",
    [
        "1-0:1.8.0(1)(2)(3*kWh)",
        "1-0:1.8.0(x*kWh)",
        "1-0:77.1.0(5)",
        "1.8.0(123*kWh)",
        "1-0:1.8.0(1*kWh",
        "0-1:24.2.1(00001.000*m3)(1)",
        "0-1:24.3.0(x)(00)(60)(1)(0-1:24.2.1)(m3)(00001.001)",
        "1-0:92.1.0(5)",
        "hello",
    ],
)
def test_lines_that_are_not_understood_are_counted_and_shown(
    port: Port, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    port.say(*[telegram(*ESMR, line)] * 3)
    assert port.stub.counters["unread_lines"] == 3
    assert port.unread == [line]
    assert caplog.text.count("not understood") == 1
    assert port.of("house", "power_import") == [0.3] * 3


@pytest.mark.parametrize(
    "line",
    [
        "1-0:0.2.0(5)",
        "0-0:93.1.0(5)",
        "0-0:96.50.68(ON)",
        "0-0:96.13.1()",
        "1-0:1.8.0()",
        "0-0:42.0.0(ABC)",
        "0-1:24.4.0(1)",
        "0-1:96.1.1(4819)",
        "0-1:24.2.1()",
        "1-0:99.97.0(1)(0-0:96.7.19)(000104180320W)(0000237126*s)",
    ],
)
def test_what_a_meter_says_of_itself_is_neither_a_value_nor_counted(port: Port, line: str) -> None:
    port.say(telegram(*ESMR, line))
    assert port.unread == []
    assert port.stub.invalid == []
    assert port.stub.readings == [("house", {"energy_import_t1": 100.0, "power_import": 0.3})]


def test_lines_that_are_not_understood_are_shown_even_when_only_a_gas_meter_has_a_value(port: Port) -> None:
    port.say(telegram("/X", "hello", "0-1:24.1.0(003)", gas("261130080000W", "01023.855*m3")))
    assert port.unread == ["hello"]
    assert port.of("house_gas", "volume") == [1023.855]


def test_what_is_shown_of_lines_that_are_not_understood_is_bounded(port: Port) -> None:
    port.say(telegram(*ESMR, *(f"word{number}" for number in range(100))))
    assert len(port.unread) == MAX_UNREAD
    assert port.stub.counters["unread_lines"] == 100


def test_labels_of_a_victron_device_that_are_not_known_are_counted_and_shown(tmp_path: Path) -> None:
    port = Port(tmp_path, "victron", "vedirect")
    block = b"\r\nPID\t0xA053\r\nSER#\tHQ1\r\nV\t12800\r\nXYZ\t5\r\nChecksum\t"
    port.say(block + bytes([-sum(block) % 256]))
    assert port.of("victron", "battery_voltage") == [12.8]
    assert port.unread == ["XYZ(5)"]
    assert port.stub.counters["unread_lines"] == 1


def test_the_charge_ever_drawn_from_a_battery_is_a_gauge(tmp_path: Path) -> None:
    port = Port(tmp_path, "victron", "vedirect")
    port.say(b"\r\nH1\t-102738\r\nH6\t-1234567\r\nH9\t86400\r\nH17\t1234\r\nH18\t2345\r\nChecksum\t\x9f")
    assert port.of("victron", "drawn_total") == [-1234.567]
    assert port.kind("victron", "drawn_total") == ("Ah", "gauge")
    assert port.kind("victron", "energy_discharged") == ("kWh", "counter")


def encrypted(length: int = 680) -> bytes:
    head = b"\xdb\x08SAGgg\x13\x4b\x92\x82" + length.to_bytes(2, "big") + b"\x30"
    return head + bytes(number * 7 % 256 for number in range(length - 1))


def pieces(port_splitter: dsmr_p1.TelegramSplitter, data: bytes, size: int) -> Iterator[Any]:
    for start in range(0, len(data), size):
        yield from port_splitter.feed(data[start : start + size])


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_an_encrypted_telegram_is_named_as_encrypted(size: int) -> None:
    good = telegram(*ESMR)
    split = list(pieces(dsmr_p1.TelegramSplitter(), good + encrypted() * 12 + good + encrypted()[:300], size))
    assert [piece.counter for piece in split] == ["", *["encrypted_telegrams"] * 12, ""]
    assert "decrypted" in split[1].error
    assert split[0] == split[-1]


def one_piece(data: bytes, *, joined_late: bool = False) -> list[tuple[str, str]]:
    return [(piece.error, piece.counter) for piece in dsmr_p1.TelegramSplitter(joined_late=joined_late).feed(data)]


def test_a_telegram_without_a_beginning_is_counted_unless_the_port_was_just_opened() -> None:
    end = b"1-0:1.7.0(00.300*kW)\r\n!1234\r\n"
    assert one_piece(end) == [("the beginning of the telegram is missing", "bad_checksums")]
    assert one_piece(end, joined_late=True) == []
    assert len(one_piece(end + end, joined_late=True)) == 1
    assert one_piece(end + telegram(*ESMR), joined_late=True) == [("", "")]


def test_what_is_longer_than_a_telegram_is_counted_once_and_dropped() -> None:
    noise = b"1-0:1.7.0(00.300*kW)\r\n" * 400
    assert dsmr_p1.LONGEST_BYTES == 8192 < len(noise) < 2 * 8192
    splitter = dsmr_p1.TelegramSplitter()
    assert [piece.counter for piece in splitter.feed(noise)] == ["overlong_lines"]
    assert list(splitter.feed(b"(1)\r\n!\r\n")) == []  # its end is no second fault
    assert [piece.counter for piece in splitter.feed(telegram(*ESMR))] == [""]
    exact = b"/X\r\n" + b"x" * (dsmr_p1.LONGEST_BYTES - 4)
    assert one_piece(exact) == []
    assert one_piece(exact + b"x") == [("longer than any telegram", "overlong_lines")]


@pytest.mark.parametrize(
    "lines", [(), ("1-3:0.2.8(50)", "0-0:96.1.1(1234)"), ("hello",), ("0-1:24.1.0(003)", "0-1:96.1.0(30)")]
)
def test_a_telegram_without_values_is_set_aside_as_such(port: Port, lines: Sequence[str]) -> None:
    port.say(telegram("/X", *lines))
    assert [why for why, _, _ in port.stub.invalid] == ["a telegram without values"]
    assert port.stub.counters["noise_lines"] == 1
    port.say(telegram("/X", "1-0:1.7.0(00.300*kW)"))
    assert port.stub.counters["noise_lines"] == 1
    assert port.of("house", "power_import") == [0.3]


def test_a_wrong_value_is_shown_beside_the_good_ones(port: Port) -> None:
    port.say(telegram("/X", "1-0:1.7.0(1.2.3*kW)", "1-0:2.7.0(00.300*kW)"))
    assert [what for _, what, _ in port.stub.invalid] == ["1-0:1.7.0(1.2.3*kW): not a number"]
    assert port.of("house", "power_export") == [0.3]


def test_a_decoder_of_telegrams_says_why_a_telegram_is_not_a_reading() -> None:
    options = PortOptions(name="house", port="x", format="dsmr_p1")
    decoder = DecoderFactory(options, ParserContext({})).decoder(joined_late=False)
    assert isinstance(decoder, StreamDecoder)
    (piece,) = decoder.feed(telegram("/X", "hello"))
    assert isinstance(piece.result, NotAReading)
