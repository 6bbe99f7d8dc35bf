from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.uploader.target import MappedChannel
from services.uploader.targets.pvoutput import responses
from services.uploader.targets.pvoutput.fields import Fields, field
from tests.uploader.servers.rows import START, mapped, row

BRISBANE = ZoneInfo("Australia/Brisbane")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("name", "unit", "number"),
    [
        ("generation", "W", 2),
        ("generation", "kWh", 1),
        ("consumption", "kW", 4),
        ("consumption", "Wh", 3),
        ("generation", "V", 0),
        ("temperature", "°C", 5),
        ("voltage", "V", 6),
        ("extended_1", "%", 7),
        ("extended_6", "", 12),
        ("v1", "kWh", 1),
        ("v12", "", 12),
        ("v13", "", 0),
        ("", "W", 0),
    ],
)
def test_names_and_units_say_which_field_it_is(name: str, unit: str, number: int) -> None:
    assert field(mapped(name, unit)) == number


def test_a_row_is_written_in_the_units_of_pvoutput_and_in_local_time() -> None:
    channels = (
        mapped("generation", "kWh"),
        mapped("generation", "kW", channel="pv_power"),
        mapped("consumption", "Wh"),
        mapped("v4", "W"),
        mapped("temperature", "°F"),
        mapped("voltage", "mV"),
        mapped("extended_2", "%"),
        mapped("mode", "", kind="text"),
    )
    entry = Fields(BRISBANE).entry(
        0, row(START, channels, 3.2714, 2.4567, 1500.4, 12.6, 70.52, 240_140.0, 66.25, "eco")
    )
    assert entry.line(12) == "20251120,20:00,3271,2457,1500,13,21.4,240.1,,66.25"
    assert entry.line(6) == "20251120,20:00,3271,2457,1500,13,21.4,240.1"


def test_a_negative_power_empties_both_its_fields() -> None:
    channels = (mapped("v1", "Wh"), mapped("v2"), mapped("v3", "Wh"), mapped("v4"))
    assert Fields(BRISBANE).entry(0, row(START, channels, 100, -3, 200, 5)).line(6) == "20251120,20:00,,,200,5,,"
    assert not Fields(BRISBANE).entry(0, row(START, channels[:2], 100, -3)).is_complete()


def test_net_power_goes_without_energies() -> None:
    channels = (mapped("v1", "Wh"), mapped("v2"), mapped("v4"))
    assert Fields(BRISBANE, net=True).entry(0, row(START, channels, 1, 2, 3)).line(6) == "20251120,20:00,,2,,3,,"


def test_two_channels_for_one_field_are_a_mistake_and_not_a_sum() -> None:
    both = (mapped("generation"), mapped("v2", device="other"))
    with pytest.raises(ValueError, match="house/meter/generation and house/other/v2 are both v2"):
        Fields(BRISBANE).entry(0, row(START, both, 1, 2))


@given(
    st.dictionaries(st.sampled_from([*(f"v{n}" for n in range(1, 13))]), st.floats(0, 1e6), min_size=1),
    st.sampled_from([6, 12]),
)
def test_a_line_always_has_the_fields_of_its_account(values: dict[str, float], fields: int) -> None:
    channels: tuple[MappedChannel, ...] = tuple(mapped(name, "") for name in values)
    parts = Fields(BERLIN).entry(0, row(START, channels, *values.values())).line(fields).split(",")
    assert 8 <= len(parts) <= 2 + fields
    for name in values:
        if int(name[1:]) <= fields:
            assert parts[1 + int(name[1:])] != ""


def test_a_system_tells_its_interval_and_whether_its_owner_donates() -> None:
    head = "Roof,5000,4000,20,250,Panels,1,5000,Inverter,N,25.0,No,20200101,-27.5,153.0,"
    assert responses.system(f"{head}5;;0") == (300, False, (-27.5, 153))
    assert responses.system(f"{head}15;0,0;1\n") == (900, True, (-27.5, 153))
    for nowhere in ("0,0", ",", "somewhere,else", "91,0"):
        assert responses.system(f"{head.replace('-27.5,153.0', nowhere)}5;;0").location is None
    for text in ("", "<html>", f"{head};;1", f"{head}5", f"{head}0;;1"):
        with pytest.raises(ValueError, match=r"not a description|an interval of 0"):
            responses.system(text)


def test_the_time_of_a_status_is_local_and_the_doubled_hour_is_the_first() -> None:
    assert responses.status_time("20251120,20:00,1,2,3", BRISBANE) == START
    assert responses.status_time("20251026,02:30,1", BERLIN) == 1_761_438_600  # 00:30 UTC, still summer time
    with pytest.raises(ValueError, match="what"):
        responses.status_time("what,ever", BERLIN)


def test_every_row_has_its_own_flag() -> None:
    assert responses.flags("20251120,20:00,1;20251120,20:05,0;20251120,20:10,2") == {
        "20251120,20:00": True,
        "20251120,20:05": False,
        "20251120,20:10": True,
    }
    assert responses.flags("") == responses.flags("<html>") == {}


def test_rate_headers_are_optional() -> None:
    assert responses.rate({"x-rate-limit-remaining": "7", "x-rate-limit-reset": "1763636400"}) == (7, 1_763_636_400)
    assert responses.rate({"x-rate-limit-remaining": "seven", "x-rate-limit-reset": "1"}) is None
    assert responses.rate({}) is None
