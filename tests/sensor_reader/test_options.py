from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliograph import config
from heliograph.errors import ConfigError
from services.sensor_reader.options import SensorReader


def counter(**given: Any) -> dict[str, Any]:
    return {"name": "gas", "line": 17, **given}


def test_without_a_section_everything_is_found_by_itself() -> None:
    options = msgspec.convert({}, SensorReader)
    assert (options.interval, options.root, options.counters) == (10.0, "/", ())


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"interval": 0}, "interval: 0.0 is not between"),
        ({"system_interval": 1e9}, "system_interval"),
        ({"root": "/nowhere"}, "root: '/nowhere' is not a folder"),
        ({"sensors": {"x": {"name": "a/b"}}}, "'a/b' is not a name"),
        ({"sensors": {"x": {"interval": -1}}}, "interval: -1.0"),
        ({"sensors": {"x": {"name": "a"}, "y": {"name": "a"}}}, "two devices are named 'a'"),
        ({"sensors": {"x": {"name": "gas"}}, "counters": [counter()]}, "two devices are named 'gas'"),
        ({"counters": [counter(), counter(name="water")]}, "line 17 is used twice"),
        ({"counters": [counter(line=-1)]}, "line: -1"),
        ({"counters": [counter(line="")]}, "line: is empty"),
        ({"counters": [counter(debounce=11)]}, "debounce: 11.0"),
        ({"counters": [counter(initial_count=-1)]}, "initial_count: -1"),
        ({"counters": [counter(edge="sideways")]}, "sideways"),
        ({"celsius": True}, "celsius"),
    ],
)
def test_a_mistake_is_refused_in_one_line(section: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why) as refused:
        msgspec.convert(section, SensorReader)
    assert "\n" not in str(refused.value)


def test_a_former_option_is_refused_with_its_present_name() -> None:
    file = {"sensor_reader": {"counters": [counter(start=3)]}}
    with pytest.raises(ConfigError, match=r"counters\[0\]: no such option: start; it is now initial_count"):
        config.section(SensorReader, file, "sensor_reader", Path("config.toml"))
