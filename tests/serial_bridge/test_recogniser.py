from pathlib import Path

import pytest

from heliograph import config
from services.serial_bridge.decoding import RECOGNISED, Plan
from services.serial_bridge.options import SerialBridge
from services.serial_bridge.readings import Reading
from services.serial_bridge.recogniser import FORGIVEN, Recogniser

CASES = Path(__file__).parent / "cases"
SECTION = {"ports": [{"name": "any", "port": "x", "format": "auto"}]} | {
    "nodes": config.read(CASES / "config.toml")["serial_bridge"]["nodes"]
}
SAID = {
    "rfm2pi": b"OK 10 1 0 (-40)\r\n",
    "key_value": b"boiler t=1\n",
    "json_lines": b'{"t": 1}\n',
    "node_values": b"99 1 2\n",
    "emontx_esp": b"MSG:1,Vrms:240.1\r\n",
}


def recogniser() -> Recogniser:
    options = config.section(SerialBridge, {"serial_bridge": SECTION}, "serial_bridge", CASES)
    decoder = Plan(options.ports[0], options.nodes).decoder(joined_late=False)
    assert isinstance(decoder, Recogniser)
    return decoder


def readings(decoder: Recogniser, data: bytes) -> list[Reading]:
    found: list[Reading] = []
    for heard in decoder.feed(data):
        if isinstance(heard.said, list):
            found += heard.said
        elif isinstance(heard.said, Reading):
            found.append(heard.said)
    return found


def block(name: str) -> bytes:
    (case,) = CASES.glob(f"{name}-*.txt")
    return case.read_text().splitlines()[0].encode().decode("unicode_escape").encode("latin-1")


def test_everything_that_is_recognised_is_tested() -> None:
    assert {*SAID, "sml", "dsmr_p1", "vedirect"} == set(RECOGNISED)


@pytest.mark.parametrize("name", SAID)
def test_a_format_of_lines_is_recognised_by_two_of_them_and_neither_is_lost(name: str) -> None:
    decoder = recogniser()
    assert readings(decoder, b"Hello, this is a device\r\n") == []
    assert readings(decoder, SAID[name]) == []
    assert decoder.format == ""
    found = readings(decoder, SAID[name])
    assert decoder.format == name
    assert len(found) == 2
    assert len(readings(decoder, SAID[name] * 3)) == 3


@pytest.mark.parametrize("name", ["sml", "dsmr_p1", "vedirect"])
@pytest.mark.parametrize("size", [1, 64, 10_000])
def test_a_format_with_a_checksum_is_recognised_by_the_first_good_one(name: str, size: int) -> None:
    decoder = recogniser()
    data = block(name)
    found = [one for start in range(0, len(data), size) for one in readings(decoder, data[start : start + size])]
    assert decoder.format == name
    assert found
    assert all(one.values for one in found)


def test_a_receiver_whose_nodes_are_not_listed_is_a_receiver_all_the_same() -> None:
    decoder = recogniser()
    assert readings(decoder, b"OK 25 1 0 (-40)\r\nOK 26 1 0 (-40)\r\n") == []
    assert decoder.format == "rfm2pi"


def test_noise_is_no_format() -> None:
    decoder = recogniser()
    assert readings(decoder, b"hello world\r\n\xff\xfe\n" * 500) == []
    assert decoder.format == ""


def test_another_device_at_the_same_port_is_recognised_after_a_while() -> None:
    decoder = recogniser()
    readings(decoder, SAID["key_value"] * 2)
    assert decoder.format == "key_value"
    readings(decoder, b"?? ??\n" * 3 + SAID["key_value"] + b"?? ??\n" * (FORGIVEN - 1))
    assert decoder.format == "key_value"
    readings(decoder, SAID["json_lines"] * (FORGIVEN + 1))
    assert decoder.format == ""
    assert len(readings(decoder, SAID["json_lines"] * 2)) == 2
    assert decoder.format == "json_lines"
