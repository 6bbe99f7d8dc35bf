import re
import tomllib
from pathlib import Path

import msgspec
import pytest

import heliograph
from heliograph import config, rules
from heliograph.config import Broker, Config, Node
from tests import samples

SAMPLE = Path(heliograph.__file__).with_name("sample.toml")
SHIPPED = SAMPLE.read_text()
UNCOMMENTED = samples.uncommented(SHIPPED)


@pytest.mark.parametrize(("kind", "name"), [(Node, "node"), (Broker, "broker")])
def test_the_sample_has_every_option_with_its_default(kind: type[Config], name: str) -> None:
    shipped, uncommented = tomllib.loads(SHIPPED), tomllib.loads(UNCOMMENTED)
    fields = {field.name for field in msgspec.structs.fields(kind)}
    assert set(uncommented) == {"node", "broker", "quality"}
    assert set(uncommented[name]) == fields
    assert config.section(kind, uncommented, name, SAMPLE) == config.section(kind, shipped, name, SAMPLE)
    defaults = msgspec.to_builtins(kind())
    for option in fields - set(shipped[name]):
        assert uncommented[name][option] == defaults[option]
    assert set(shipped[name]) == ({"name"} if name == "node" else set())


def test_the_sample_has_every_option_of_a_rule_and_its_defaults_change_nothing() -> None:
    (rule,) = rules.read(tomllib.loads(UNCOMMENTED), SAMPLE).values()
    assert (rule.scales, rule.on_change, rule.spike, rule.stuck) == (False, False, 0, 0)
    assert rule.spike_readings == rules.SPIKE_READINGS
    assert f"heartbeat is {rules.HEARTBEAT_SECONDS}" in SHIPPED
    for field in msgspec.structs.fields(rules.Rule):
        assert re.search(rf"^#(#   example:)? {field.name} = ", SHIPPED, re.MULTILINE), field.name
    examples = "".join(
        f"{example}\n" for example in re.findall(r"example: ((?:unit|label|min|max|deadband) = .*)", SHIPPED)
    )
    (example,) = rules.read(tomllib.loads(f'[quality."a/b"]\n{examples}'), SAMPLE).values()
    assert (example.unit, example.min, example.max, example.deadband) == ("kWh", -40, 85, 0.2)
