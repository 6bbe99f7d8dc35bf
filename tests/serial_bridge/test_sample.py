import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from heliograph import config
from heliograph.config import Config
from services.serial_bridge.nodes import Node
from services.serial_bridge.options import Port, Radio, Repeater, SerialBridge, Socket, Source
from services.serial_bridge.transmitting import Tx
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


def test_every_option_is_documented() -> None:
    file = load(uncommented(SAMPLE.read_text()))[1]
    assert sorted(file) == sorted(fields(SerialBridge))
    port, socket, node = file["ports"][0], file["sockets"][0], file["nodes"]["30"]
    assert sorted(port) == sorted(fields(Port))
    assert list(port["radio"]) == fields(Radio)
    assert list(port["repeater"]) == fields(Repeater)
    assert sorted({*port, *socket}) == sorted({*fields(Port), *fields(Socket)})
    assert set(socket) >= set(fields(Socket)) - set(fields(Source))
    assert list(node) == fields(Node)
    assert list(node["tx"]) == fields(Tx)


def test_all_decoders_are_there() -> None:
    assert len(DECODERS) == 3


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_works_when_it_is_uncommented(decoder: str) -> None:
    options = load(SAMPLE.read_text() + re.sub("^##   ", "", decoder, flags=re.MULTILINE))[0]
    assert len(options.nodes) == 2
