import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from heliograph import config
from services.serial_bridge import formats
from services.serial_bridge.nodes import Node
from services.serial_bridge.options import Port, Repeater, SerialBridge, Socket
from services.serial_bridge.radio import Radio
from services.serial_bridge.source import Source
from services.serial_bridge.transmitting import Tx
from tests.samples import fields, uncommented

SAMPLE = Path(__file__).parents[2] / "services/serial_bridge/sample.toml"
EXAMPLES = re.findall(r"(?:^##   .*\n)+", SAMPLE.read_text().partition("[serial_bridge.nodes.30]")[2], re.MULTILINE)
DECODERS = [example for example in EXAMPLES if "[serial_bridge.nodes." in example]


def load(text: str) -> tuple[SerialBridge, dict[str, Any]]:
    file = tomllib.loads(text)
    return config.section(SerialBridge, file, "serial_bridge", SAMPLE), file["serial_bridge"]


def test_documented_defaults_are_the_real_ones() -> None:
    text = SAMPLE.read_text()
    assert uncommented(text) != text
    assert load(uncommented(text))[0] == load(text)[0]


def test_every_option_is_documented() -> None:
    file = load(uncommented(SAMPLE.read_text()))[1]
    assert set(file) == fields(SerialBridge)
    port, socket, node = file["ports"][0], file["sockets"][0], file["nodes"]["30"]
    assert set(port) == fields(Port)
    assert list(port["radio"]) == list(Radio.__struct_fields__)
    assert list(port["repeater"]) == list(Repeater.__struct_fields__)
    assert {*port, *socket} == fields(Port) | fields(Socket)
    assert set(socket) >= fields(Socket) - fields(Source)
    assert list(node) == list(Node.__struct_fields__)
    assert list(node["tx"]) == list(Tx.__struct_fields__)


def test_all_decoders_are_there() -> None:
    assert len(DECODERS) == 3


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_works_when_it_is_uncommented(decoder: str) -> None:
    options = load(SAMPLE.read_text() + re.sub("^##   ", "", decoder, flags=re.MULTILINE))[0]
    assert len(options.nodes) == 2


@pytest.mark.parametrize("name", formats.known())
def test_every_format_is_a_row_of_the_readme_and_in_the_list_of_the_sample(name: str) -> None:
    assert f"\n| `{name}` | " in SAMPLE.with_name("README.md").read_text()
    assert re.search(rf"^#+ .*\b{name}\b", SAMPLE.read_text(), re.MULTILINE)
