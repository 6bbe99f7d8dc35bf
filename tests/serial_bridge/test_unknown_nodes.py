import tomllib
from pathlib import Path

import pytest

from heliograph import config
from services.serial_bridge import options
from services.serial_bridge.options import SerialBridge
from services.serial_bridge.radio import unknown_nodes
from services.serial_bridge.radio.nodes import PacketDecoder
from services.serial_bridge.radio.unknown_nodes import MAX_NODES, UnknownNodes, matching, section, templates

README = Path(options.__file__).with_name("README.md")


@pytest.mark.parametrize("name", templates())
def test_a_template_is_a_decoder_and_can_be_pasted_into_a_configuration(name: str) -> None:
    template = templates()[name]
    number = template.numbers[0]
    file = tomllib.loads(section(number, name))
    section_ = config.section(SerialBridge, file, "serial_bridge", Path("config.toml"))
    node = section_.nodes[str(number)]
    assert node.datacodes == template.node.datacodes
    reading = PacketDecoder(number, node).decode(bytes(template.length), -50)
    assert len(reading.values) == len(template.node.names) + 1


def test_the_temperatures_of_both_firmwares_of_an_emontx_v3_are_explained() -> None:
    """Two templates have packets of one length, and other scales: the README says how to tell."""
    rows = [line for line in README.read_text().splitlines() if line.startswith("| ") and "scale 0." in line]
    for row, name in zip(rows, ("emontx3", "emontx3_3phase", "emontx3_cm"), strict=True):
        template = templates()[name]
        temperature = next(
            scale for unit, scale in zip(template.node.units, template.node.scales, strict=True) if unit == "C"
        )
        assert f"scale {temperature}" in row
        assert f"{template.length} bytes" in row
        assert all(str(number) in row for number in (template.numbers[0], template.numbers[-1]))


def test_every_template_names_all_its_values_with_scale_and_unit() -> None:
    for name, template in templates().items():
        values = len(template.node.datacodes)
        assert len(template.node.names) == len(template.node.units) == values, name
        assert len(template.node.scales) in (0, values), name


def test_templates_match_by_length_and_those_shipped_with_the_number_come_first() -> None:
    assert matching(23, 12) == ["emonth2"]
    assert matching(10, 26)[0] == "emontx3"
    assert matching(12, 26)[0] == "emontx3_3phase"
    assert set(matching(30, 26)) == {"emontx3", "emontx3_3phase"}
    assert matching(10, 3) == []


def test_only_so_many_unknown_nodes_are_remembered_and_listed_ones_are_forgotten() -> None:
    nodes = UnknownNodes()
    for number in range(2 * MAX_NODES):
        nodes.add(number, 3)
    assert len(nodes.facts()) == MAX_NODES
    nodes.remove({0, 1})
    assert len(nodes.facts()) == MAX_NODES - 2
    assert nodes.facts()["2"] == {"packets": 1, "bytes": 3, "templates": []}


def test_the_file_of_templates_is_next_to_the_module() -> None:
    assert unknown_nodes.FILE.is_file()
