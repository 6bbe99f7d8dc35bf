"""OBIS codes in telegrams and in SML: only present values have the names of totals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.messages import Channel
from services.serial_bridge.decoder import DecoderFactory
from services.serial_bridge.formats import dsmr_p1
from services.serial_bridge.formats import sml as sml_format
from services.serial_bridge.options import PortOptions
from services.serial_bridge.parsing.readings import Description, ParsedReading
from services.serial_bridge.protocols import checksums, obis
from services.serial_bridge.source import ParserContext
from tests.serial_bridge.meter_port import Port, telegram

LOGAREX: tuple[str, ...] = (
    "/LOG5LK13BE000000",
    "",
    "1-0:96.1.0*255(001LOG0000000000)",
    "1-0:1.8.0*255(004321.6520*kWh)",
)
LOGAREX += ("1-0:1.8.0*96(000007.1*kWh)", "1-0:1.8.0*97(000051.4*kWh)", "1-0:1.8.0*98(000209.9*kWh)")
LOGAREX += ("1-0:1.8.0*99(001502.7*kWh)", "1-0:1.8.0*100(000012.5*kWh)", "1-0:16.7.0*255(000361*W)")


@pytest.fixture
def port(tmp_path: Path) -> Port:
    return Port(tmp_path)


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
    parse = dsmr_p1.parser(PortOptions(name="house", port="/x", format="dsmr_p1"), ParserContext({}))
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
    options = PortOptions(name="house", port="/x", format="sml")
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


@pytest.mark.parametrize("order", [1, -1])
def test_the_power_with_a_sign_has_the_name_in_sml_too(order: int) -> None:
    entries = [((1, 0, 15, 7, 0, 255), 27, 0, b"\x05"), ((1, 0, 16, 7, 0, 255), 27, 0, b"\xfb")]
    assert sml_values(sml(EASYMETER, entries[::order])) == {"power": -5, "obis_1_0_15_7_0": 5}


def test_what_is_longer_than_a_transmission_is_counted_and_the_next_one_is_read() -> None:
    good = bytes.fromhex(I5)
    splitter = sml_format.TransmissionSplitter()
    begun = sml_format.START + bytes(sml_format.LONGEST_BYTES - len(sml_format.START))
    assert list(splitter.feed(begun)) == []
    assert [piece.counter for piece in splitter.feed(b"\0")] == ["overlong_lines"]
    assert [piece.counter for piece in splitter.feed(good)] == [""]


def test_what_is_no_entry_of_a_list_of_values_is_counted_and_shown(tmp_path: Path) -> None:
    port = Port(tmp_path, "house", "sml")
    port.say(sml(EASYMETER, [((1, 0, 16, 7, 0), 27, 0, b"\x05"), ((1, 0, 1, 8, 0, 255), 30, 0, b"\x07")]))
    assert port.of("house", "energy_import") == [7]
    assert port.stub.counters["unread_lines"] == 1
    assert len(port.unread) == 1


POWER, CURRENT, ENERGY = obis.Code(1, 0, "16.7.0"), obis.Code(1, 0, "31.7.0"), obis.Code(1, 0, "1.8.0")


def meter(**channels: Channel) -> obis.MeterChannels:
    return obis.MeterChannels(Description("a meter", 10.0, channels))


@pytest.mark.parametrize(
    ("first", "then", "value"),
    [
        ("mA", "A", 1000),
        ("A", "mA", 0.001),
        ("kW", "mW", 0.000001),
        ("W", "MW", 1_000_000),
        ("MWh", "kWh", 0.001),
        ("kvarh", "varh", 0.001),
        ("VA", "kVA", 1000),
        ("mV", "kV", 1_000_000),
    ],
)
def test_units_of_one_quantity_are_converted(first: str, then: str, value: float) -> None:
    channels = meter()
    assert channels.convert("x", CURRENT, first, 2.5) == 2.5
    assert channels.convert("x", CURRENT, then, 1) == value
    assert channels.description().channels["x"].unit == first


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [
        ("W", "Wh", "a value in Wh of a channel in W"),
        ("m³", "", "a value in no unit of a channel in m³"),
        ("", "W", "a value in W of a channel in no unit"),
        ("m³", "GJ", "a value in MWh of a channel in m³"),
        ("°C", "m³", "a value in m³ of a channel in °C"),
    ],
)
def test_a_unit_of_another_quantity_is_refused(first: str, then: str, why: str) -> None:
    channels = meter()
    channels.convert("x", POWER, first, 1)
    with pytest.raises(ValueError, match=why):
        channels.convert("x", POWER, then, 1)


def test_what_the_configuration_says_of_a_channel_takes_precedence() -> None:
    described = {"power": Channel("kW", label="the house"), "current": Channel(kind="counter")}
    channels = meter(**described)
    assert channels.convert("power", POWER, "W", 500) == 0.5
    assert channels.convert("current", CURRENT, "A", 5) == 5  # without a unit there: that of the first value
    assert channels.convert("current", CURRENT, "mA", 5) == 0.005
    channels.convert("energy_import", ENERGY, "kWh", 7)
    assert channels.description() == Description(
        "a meter", 10.0, described | {"energy_import": Channel("kWh", "counter")}
    )


@pytest.mark.parametrize(
    ("name", "code", "unit", "kind"),
    [
        ("energy_import", ENERGY, "kWh", "counter"),
        ("reactive_energy_export", obis.Code(1, 0, "4.8.0"), "kvarh", "counter"),
        ("voltage_sags_l1", obis.Code(1, 0, "32.32.0"), "", "counter"),
        ("voltage_swells_l1", obis.Code(1, 0, "32.36.0"), "", "counter"),
        ("power_failures", obis.Code(0, 0, "96.7.21"), "", "counter"),
        ("long_power_failures", obis.Code(0, 0, "96.7.9"), "", "counter"),
        ("tariff", obis.Code(0, 0, "96.14.0"), "", "gauge"),
        ("power", POWER, "W", "gauge"),
        ("obis_1_0_1_8_0_96", obis.Code(1, 0, "1.8.0", 96), "kWh", "gauge"),
    ],
)
def test_a_total_is_a_counter_and_what_belongs_to_a_period_is_not(
    name: str, code: obis.Code, unit: str, kind: str
) -> None:
    channels = meter()
    assert channels.name(code) == code.name == name
    channels.convert(name, code, unit, 1)
    assert channels.description().channels[name].kind == kind


def test_codes_without_end_do_not_fill_the_memory() -> None:
    channels = meter()
    codes = [obis.Code(1, 3, f"{number}.7.0") for number in range(300)]
    for code in codes:
        name = channels.name(code)
        assert name == f"obis_1_3_{code.quantity.replace('.', '_')}"
        assert channels.convert(name, code, "kW", 1) == 1
    assert len(channels.description().channels) == obis.MAX_CHANNELS == 256
    assert channels.convert("obis_1_3_9_7_0", codes[9], "W", 1) == 0.001
    assert channels.convert("obis_1_3_299_7_0", codes[299], "W", 1) == 1


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (obis.Code(1, 0, "1.8.0"), "energy_import"),
        (obis.Code(1, 0, "1.8.0", 255), "energy_import"),
        (obis.Code(1, 0, "1.8.4"), "energy_import_t4"),
        (obis.Code(1, 0, "2.8.1"), "energy_export_t1"),
        (obis.Code(1, 0, "3.8.4"), "reactive_energy_import_t4"),
        (obis.Code(1, 0, "4.8.1"), "reactive_energy_export_t1"),
        (obis.Code(1, 0, "1.8.1"), "energy_import_t1"),
        (obis.Code(1, 0, "2.8.4"), "energy_export_t4"),
        (obis.Code(1, 0, "3.8.1"), "reactive_energy_import_t1"),
        (obis.Code(1, 0, "4.8.4"), "reactive_energy_export_t4"),
        (obis.Code(1, 0, "2.8.5"), "obis_1_0_2_8_5"),
        (obis.Code(1, 0, "3.8.5"), "obis_1_0_3_8_5"),
        (obis.Code(1, 0, "4.8.5"), "obis_1_0_4_8_5"),
        (obis.Code(1, 0, "1.8.5"), "obis_1_0_1_8_5"),
        (obis.Code(1, 0, "1.8.0", 0), "obis_1_0_1_8_0_0"),
        (obis.Code(1, 0, "1.8.0", 254), "obis_1_0_1_8_0_254"),
        (obis.Code(1, 1, "1.8.0"), "obis_1_1_1_8_0"),
        (obis.Code(0, 0, "1.8.0"), "obis_0_0_1_8_0"),
        (obis.Code(0, 0, "96.14.0"), "tariff"),
        (obis.Code(1, 0, "96.14.0"), "obis_1_0_96_14_0"),
        (obis.Code(7, 0, "1.8.0"), "obis_7_0_1_8_0"),
    ],
)
def test_only_present_values_of_a_medium_have_the_names_of_its_codes(code: obis.Code, name: str) -> None:
    assert code.name == name
    assert code.number.startswith("obis_")
