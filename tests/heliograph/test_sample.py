import tomllib
from pathlib import Path

import msgspec
import pytest

import heliograph
from heliograph import config
from heliograph.config import Broker, Config, Node
from tests import samples

SAMPLE = Path(heliograph.__file__).with_name("sample.toml")
SHIPPED = SAMPLE.read_text()
UNCOMMENTED = samples.uncommented(SHIPPED)


@pytest.mark.parametrize(("kind", "name"), [(Node, "node"), (Broker, "broker")])
def test_the_sample_tells_the_truth_about_every_option(kind: type[Config], name: str) -> None:
    shipped, uncommented = tomllib.loads(SHIPPED), tomllib.loads(UNCOMMENTED)
    fields = {field.name for field in msgspec.structs.fields(kind)}
    assert set(uncommented) == {"node", "broker"}
    assert set(uncommented[name]) == fields
    assert config.section(kind, uncommented, name, SAMPLE) == config.section(kind, shipped, name, SAMPLE)
    defaults = msgspec.to_builtins(kind())
    for option in fields - set(shipped[name]):
        assert uncommented[name][option] == defaults[option]
    assert set(shipped[name]) == ({"name"} if name == "node" else set())
