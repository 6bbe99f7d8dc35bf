import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from heliograph import config
from services.serial_bridge.options import PortOptions, SerialBridge, SocketOptions
from services.serial_bridge.radio.encoder import TransmitOptions
from services.serial_bridge.radio.nodes import NodeOptions
from services.serial_bridge.radio.settings import RadioOptions, RepeaterOptions
from services.serial_bridge.source import SourceOptions
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
    assert set(port) == fields(PortOptions)
    assert list(port["radio"]) == list(RadioOptions.__struct_fields__)
    assert list(port["repeater"]) == list(RepeaterOptions.__struct_fields__)
    assert {*port, *socket} == fields(PortOptions) | fields(SocketOptions)
    assert set(socket) >= fields(SocketOptions) - fields(SourceOptions)
    assert list(node) == list(NodeOptions.__struct_fields__)
    assert list(node["tx"]) == list(TransmitOptions.__struct_fields__)


def test_all_decoders_are_there() -> None:
    assert len(DECODERS) == 3


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_works_when_it_is_uncommented(decoder: str) -> None:
    options = load(SAMPLE.read_text() + re.sub("^##   ", "", decoder, flags=re.MULTILINE))[0]
    assert len(options.nodes) == 2
