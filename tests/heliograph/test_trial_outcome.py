import re

from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.messages import Channel, Info, Reading, SetAside
from heliograph.trial_outcome import Input, Outcome, TriedReadings, report

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
VALUES = st.one_of(st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9), st.text(max_size=20))


def readings(*given: Reading) -> TriedReadings:
    tried = TriedReadings(0.25)
    for reading in given:
        tried.add(reading)
    return tried


def test_an_input_that_was_read_or_has_failed_is_complete_and_one_that_listens_never_is() -> None:
    read = {"meter": readings(Reading(1.0, {"power": 3}))}
    for inputs, complete in [
        ([], False),
        ([Input("a", ("meter",))], True),
        ([Input("a", ("meter",), listens=True)], False),
        ([Input("a", ("meter",)), Input("b", ("other",))], False),
        ([Input("a", ("meter",)), Input("b", ("other",), failure="away")], True),
        ([Input("b", listens=True, failure="away")], True),
    ]:
        assert Outcome(inputs, read, {}, []).is_complete() is complete


def test_the_newest_value_of_each_channel_counts_and_an_unset_clock_is_not_shown_as_a_time() -> None:
    tried = readings(Reading(1.0, {"power": 3, "energy": 5}), Reading(2.0, {"power": 4}, "unsynced"))
    info = Info("SDM120", {"power": Channel("W"), "energy": Channel("kWh", "counter")})
    text = report("modbus_poller", Outcome([Input("grid", ("grid",))], {"grid": tried}, {"grid": info}, []))
    assert text[:3] == [
        "modbus_poller: 1 of 1 inputs were read",
        "  grid",
        "    grid (SDM120): 2 values, the first after 0.2 s",
    ]
    assert text[3] == "      power   4 W    now (the clock is not set)"
    assert re.fullmatch(r"      energy  5 kWh  1970-01-01 \d\d:\d\d:01[+-]\d\d:\d\d", text[4])


@settings(max_examples=30)
@given(st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), max_size=3), NAMES)
def test_whatever_is_read_is_printed_also_of_devices_that_no_input_knows(
    read: dict[str, dict[str, float | bool | str]], known: str
) -> None:
    outcome = Outcome(
        [Input("port", (known,), failure="away", action="plug it in")],
        {device: readings(Reading(1.0, dict(values))) for device, values in read.items()},
        {},
        [SetAside(1.0, "", "not a number", "x\n" * 300)],
    )
    lines = report("serial_bridge", outcome)
    for device, values in read.items():
        start = lines.index(f"    {device}: {len(values)} values, the first after 0.2 s")
        printed = lines[start + 1 : start + 1 + len(values)]
        assert [line.split()[0] for line in printed] == list(values)
    assert ("  port: NOT READ: away" in lines) is (known not in read)
    assert lines[-1].startswith("  set aside: not a number: 'x\\nx")
    assert all("\n" not in line for line in lines)
