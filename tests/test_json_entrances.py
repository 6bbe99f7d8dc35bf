"""JSON of a device with broken sensors: every entrance keeps the good values, and refuses a document that is cut off."""

from collections.abc import Callable, Mapping
from datetime import UTC
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.messages import Value
from services.api.errors import RequestRefused
from services.api.ingest import bulk, inputs, pimonitor, readings
from services.api.ingest.naming import PostedNames
from services.mqtt_importer import families
from services.mqtt_importer.parsing.parsed import NotUnderstood, ParsedMessage
from services.mqtt_importer.source import MappedValue, MqttSource, TopicMap
from services.serial_bridge import formats
from services.serial_bridge.options import PortOptions
from services.serial_bridge.parsing.readings import NotAReading, ParsedReading
from tests.mqtt_importer import family_cases
from tests.serial_bridge import case_files

Values = Mapping[str, Value]
REFUSALS = (NotUnderstood, NotAReading, RequestRefused)
NAMES = tuple(f"v{number}" for number in range(8))
PATHS = {name: MappedValue(path=name) for name in NAMES}
LINES = {
    name: formats.load(name).parser(PortOptions(name="x", port="/x", format=name), case_files.CONTEXT)
    for name in ("json_lines", "oem")
}


def mqtt(family: str, topic: str, wrapping: str, document: str, maps: tuple[TopicMap, ...] = ()) -> Values:
    source = MqttSource(family=family, maps=maps)
    parsed = families.load(family)(source).parse(topic, wrapping.replace("%", document).encode())
    assert isinstance(parsed, ParsedMessage)
    values, rejected = family_cases.new_device().update(parsed)
    assert not rejected
    return {name.rpartition("_")[2]: value for name, value in values.items()}


def line(name: str, document: str) -> Values:
    parsed = LINES[name](document)
    assert isinstance(parsed, ParsedReading)
    assert not parsed.refused
    return parsed.values


def fulljson(document: str) -> Values:
    read, _ = inputs.fulljson(document)
    assert not read.refused
    return read.values


def input_bulk(document: str) -> Values:
    content = bulk.parse(f"[[0,10,{document}]]", {"time": "1763634000"}, {}, None, PostedNames())
    assert not content.refused
    return content.reports[0].values


def posted(document: str) -> Values:
    [report] = readings.parse(f'{{"device":"x","values":{document}}}'.encode())
    return report.values


def from_pimonitor(document: str) -> Values:
    sensor = document.replace("{", '{"sensorType":"x",' if len(document) > 2 else '{"sensorType":"x"', 1)
    content = pimonitor.decode(f'{{"location":"x","timestamp":"11/20/2026 05:37:23","sensors":[{sensor}]}}'.encode())
    return pimonitor.parse(content, UTC, 1.8e9, PostedNames()).reports[0].values


ENTRANCES: dict[str, Callable[[str], Values]] = {
    "tasmota": partial(mqtt, "tasmota", "tele/x/SENSOR", '{"S":%}'),
    "map with values": partial(mqtt, "map", "x", "%", maps=(TopicMap("x", "x", values=PATHS),)),
    "map": partial(mqtt, "map", "x", "%", maps=(TopicMap("x", "x"),)),
    "emonhub": partial(mqtt, "emonhub", "emon/JSON/x", "%"),
    "zigbee2mqtt": partial(mqtt, "zigbee2mqtt", "zigbee2mqtt/x", "%"),
    "json_lines": partial(line, "json_lines"),
    "oem": partial(line, "oem"),
    "fulljson": fulljson,
    "input/bulk": input_bulk,
    "readings": posted,
    "pimonitor": from_pimonitor,
}
NO_VALUE = st.sampled_from(["null", "NaN", "nan(ind)", "-nan(0x7)", "ovf", "1e999", "-1e999"]) | st.builds(
    lambda sign, word, capitals: sign + "".join(map(str.upper if capitals else str.lower, word)),
    st.sampled_from(["", "-", "+"]),
    st.sampled_from(["nan", "inf", "infinity"]),
    st.booleans(),
)
NUMBERS = st.integers(-(1 << 40), 1 << 40) | st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("entrance", ENTRANCES)
@settings(max_examples=25)
@given(
    good=st.dictionaries(st.sampled_from(NAMES), NUMBERS, min_size=1),
    bad=st.dictionaries(st.sampled_from(NAMES), NO_VALUE),
    cut=st.integers(1, 1000),
)
def test_good_values_beside_bad_ones_are_kept_and_broken_json_is_refused(
    entrance: str, good: dict[str, float], bad: dict[str, str], cut: int
) -> None:
    take = ENTRANCES[entrance]
    leaves = {**bad, **{name: repr(value) for name, value in good.items()}}
    document = "{" + ",".join(f'"{name}": {leaf}' for name, leaf in leaves.items()) + "}"
    assert take(document) == good
    with pytest.raises(REFUSALS):
        take(document[: 1 + cut % (len(document) - 1)])


@pytest.mark.parametrize("entrance", ENTRANCES)
@settings(max_examples=25)
@given(
    good=st.dictionaries(st.sampled_from(NAMES[:4]), NUMBERS, min_size=1),
    twice=st.dictionaries(st.sampled_from(NAMES[4:]), NUMBERS, min_size=1),
)
def test_a_key_that_comes_twice_never_has_one_of_its_values(
    entrance: str, good: dict[str, float], twice: dict[str, float]
) -> None:
    """Which of them is meant is not known: the good ones are kept, or the sender gets an error."""
    members = [
        *good.items(),
        *twice.items(),
        *((name, value + 1) for name, value in twice.items() if value + 1 != value),
    ]
    document = "{" + ",".join(f'"{name}": {value!r}' for name, value in members) + "}"
    take = ENTRANCES[entrance]
    if entrance in {"readings", "pimonitor"} and len(members) > len(good) + len(twice):
        with pytest.raises(RequestRefused, match="comes twice"):
            take(document)
    else:
        assert take(document) == {**good, **{name: value for name, value in twice.items() if value + 1 == value}}
