import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from heliograph import config
from heliograph.config import Config
from services.serial_bridge.nodes import Node
from services.serial_bridge.options import Port, SerialBridge
from tests.samples import uncommented

SAMPLE = Path(__file__).parents[2] / "services/serial_bridge/sample.toml"
EXAMPLES = re.findall(r"(?:^##   .*\n)+", SAMPLE.read_text().partition("[serial_bridge.nodes.30]")[2], re.MULTILINE)
DECODERS = [example for example in EXAMPLES if "[serial_bridge.nodes." in example]


def load(text: str) -> tuple[SerialBridge, dict[str, Any]]:
    file = tomllib.loads(text)
    return config.section(SerialBridge, file, "serial_bridge", SAMPLE), file["serial_bridge"]


def fields(kind: type[Config]) -> list[str]:
    return list(kind.__struct_fields__)


def test_documented_defaults_are_the_real_ones() -> None:
    text = SAMPLE.read_text()
    assert uncommented(text) != text
    assert load(uncommented(text))[0] == load(text)[0]


def test_every_option_is_documented_in_the_order_of_the_code() -> None:
    file = load(uncommented(SAMPLE.read_text()))[1]
    assert sorted(file) == sorted(fields(SerialBridge))
    assert [list(port) for port in file["ports"]] == [fields(Port)]
    assert [list(node) for node in file["nodes"].values()] == [fields(Node)]


def test_both_decoders_are_there() -> None:
    assert len(DECODERS) == 2


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_works_when_it_is_uncommented(decoder: str) -> None:
    options = load(SAMPLE.read_text() + re.sub("^##   ", "", decoder, flags=re.MULTILINE))[0]
    assert len(options.nodes) == 2
