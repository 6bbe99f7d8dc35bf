from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heliograph import config, names
from heliograph.errors import ConfigError
from services.serial_bridge import formats
from services.serial_bridge.options import SerialBridge
from services.serial_bridge.parsing.readings import NotAReading

PORT = {"name": "radio", "port": "/dev/null", "format": "rfm2pi"}


def load(port: Mapping[str, Any] | None = None, node: Mapping[str, Any] | None = None) -> SerialBridge:
    file = {
        "serial_bridge": {
            "ports": [PORT | dict(port or {})],
            "nodes": {"10": {"name": "ten", **(node or {})}},
        }
    }
    return config.section(SerialBridge, file, "serial_bridge", Path("config.toml"))


def test_a_section_that_is_absent_has_no_ports() -> None:
    assert config.section(SerialBridge, {}, "serial_bridge", Path("config.toml")).ports == ()


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (
            {"format": "morse"},
            f"ports.radio: format: no such format: 'morse'; there are {', '.join(['auto', *formats.known()])}",
        ),
        ({"format": "../key_value"}, "no such format"),
        ({"name": "a/b"}, "name: 'a/b' is not a name"),
        ({"device": "A"}, "device: 'A' is not a name"),
        ({"baud": -1}, "baud: -1 is not a baud rate"),
        ({"baud": "fast"}, "expected int, found 'fast'"),
        ({"port": "carrier-pigeon://1"}, "port: invalid URL, protocol 'carrier-pigeon' not known"),
        ({"port": ""}, "port: is empty"),
        ({"interval": -1.0}, "interval: -1.0 is not"),
        ({"interval": float("inf")}, "interval: inf is not"),
        ({"units": {"p1": "W"}}, "ports.radio: units: not with rfm2pi; set it for its nodes"),
        ({"format": "key_value", "units": {"p1": "furlong"}}, "ports.radio: units: p1: unknown unit 'furlong'"),
        ({"format": "key_value", "units": {"%": "W"}}, "units: '%' is not the name of a channel"),
        ({"format": "json_lines", "kinds": {"p1": "sum"}}, "found 'sum'"),
        ({"speed": 9600}, "no such option: speed"),
        ({"bits": "9N1"}, "bits: '9N1' is not like 8N1"),
        ({"bits": "8"}, "bits: '8' is not like 8N1"),
        ({"node_offset": -1}, "node_offset: -1 is not between"),
        ({"separator": ""}, "separator: '' is not one character"),
        ({"format": "csv"}, "columns: csv needs the names"),
        ({"format": "csv", "columns": ["a", "A"]}, "columns: two channels would be called 'a'"),
        ({"format": "regex", "pattern": "("}, "pattern: missing )"),
        ({"format": "regex", "pattern": "a(b)"}, "pattern: it has no group with a name"),
        ({"format": "regex", "pattern": "(?P<a>.)(?P<A>.)"}, "pattern: two channels would be called 'a'"),
        ({"format": "key_value", "units": {"P": "W", "p": "W"}}, "units: two channels would be called 'p'"),
        ({"format": "key_value", "kinds": {"P": "state", "p": "text"}}, "kinds: two channels would be called 'p'"),
        ({"format": "key_value", "columns": ["a"]}, "columns: key_value has no use for it"),
        ({"format": "sml", "radio": {"group": 210}}, "radio: only rfm2pi and oem have one"),
        (
            {"format": "oem", "radio": {"time_broadcast_interval": 60.0}},
            "radio: time_broadcast_interval: only rfm2pi broadcasts",
        ),
        ({"radio": {"group": 251}}, "group: 251 is not between"),
        ({"radio": {"base_id": 27}}, "base_id: 27 is not between"),
        ({"radio": {"frequency": 434}}, "434"),
        ({"radio": {"time_broadcast_interval": -1.0}}, "time_broadcast_interval: -1.0 is not"),
        ({"radio": {"ical": [[1.0, float("nan")]]}}, "ical: one pair of numbers"),
        ({"repeater": {"port": 70000}}, "port: 70000 is not between"),
        ({"repeater": {"allow": ["everybody"]}}, "allow: 'everybody' does not appear to be"),
    ],
)
def test_a_wrong_port_is_refused_in_one_line_that_names_the_place(port: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(port)
    assert words in str(refused.value)
    assert str(refused.value).startswith("config.toml: [serial_bridge]")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"name": "a b"}, "nodes.10: name: 'a b' is not a name"),
        ({"datacodes": ["h", "x"]}, "nodes.10: datacodes: no such code: 'x'"),
        ({"datacode": "hh"}, "nodes.10: datacodes: no such code: 'hh'"),
        ({"datacode": ""}, "nodes.10: datacodes: no such code: ''"),
        ({"names": ["a", "b"], "datacodes": ["h"]}, "nodes.10: names: 2 for 1 datacodes"),
        ({"names": ["P 1", "p-1"]}, "nodes.10: names: two channels would be called 'p_1'"),
        ({"names": ["2"]}, "nodes.10: names: '2' is reserved for a value without a name"),
        ({"names": ["%"]}, "nodes.10: names: '%' is not the name of a channel"),
        ({"scales": [1, 0]}, "nodes.10: scales: 0.0 is not between"),
        ({"scale": float("nan")}, "nodes.10: scale: nan is not between"),
        ({"scales": [1, 1], "datacodes": ["h"]}, "nodes.10: scales: 2 for 1 datacodes"),
        ({"names": ["t"], "units": ["furlong"]}, "nodes.10: units: t: unknown unit 'furlong'"),
        ({"names": ["t"], "kinds": {"u": "counter"}}, "nodes.10: kinds: 'u' is not one of the names"),
        ({"interval": -5.0}, "nodes.10: interval: -5.0 is not"),
        ({"tx": {"datacodes": ["c"]}}, "nodes.10: tx: datacodes: no such code: 'c'"),
        ({"tx": {"names": ["a", "b"], "datacodes": ["h"]}}, "nodes.10: tx: names: 2 for 1 datacodes"),
        ({"tx": {"names": ["a", "A"]}}, "nodes.10: tx: names: two channels would be called 'a'"),
        ({"tx": {"scale": 0.0}}, "nodes.10: tx: 0.0 is not between"),
    ],
)
def test_a_wrong_decoder_is_refused_in_one_line_that_names_the_node(node: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(node=node)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("number", ["1024", "-1", "010", "ten", "99999999999999999999"])
def test_a_node_number_that_no_radio_has_is_refused(number: str) -> None:
    file = {"serial_bridge": {"nodes": {number: {"name": "ten"}}}}
    with pytest.raises(ConfigError, match=r"the number of a node is between 0 and 1023"):
        config.section(SerialBridge, file, "serial_bridge", Path("config.toml"))


def test_two_nodes_or_two_ports_of_the_same_name_are_refused() -> None:
    nodes = {"serial_bridge": {"nodes": {"1": {"name": "ten"}, "2": {"name": "ten"}}}}
    with pytest.raises(ConfigError, match=r"nodes\.2: name: node 1 is called 'ten', too"):
        config.section(SerialBridge, nodes, "serial_bridge", Path("config.toml"))
    ports = {"serial_bridge": {"ports": [PORT, PORT]}}
    with pytest.raises(ConfigError, match=r"ports\.radio: two ports have this name"):
        config.section(SerialBridge, ports, "serial_bridge", Path("config.toml"))


@pytest.mark.parametrize(
    "port", ["/dev/serial/by-id/x", "10c4:ea60", "10C4:EA60:00:01", "socket://127.0.0.1:1", "spy:///dev/null"]
)
def test_every_way_to_name_a_port_is_accepted(port: str) -> None:
    assert load({"port": port}).ports[0].port == port


def test_two_sources_that_are_the_same_device_are_refused() -> None:
    ports = [PORT | {"format": "key_value"}, {"name": "b", "port": "/dev/zero", "format": "sml", "device": "radio"}]
    with pytest.raises(ConfigError, match=r"ports\.b: device: ports\.radio is 'radio', too"):
        config.section(SerialBridge, {"serial_bridge": {"ports": ports}}, "serial_bridge", Path("config.toml"))


def socket(**options: Any) -> SerialBridge:
    file = {"serial_bridge": {"sockets": [{"name": "door", "format": "node_values", "port": 50011, **options}]}}
    return config.section(SerialBridge, file, "serial_bridge", Path("config.toml"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 0}, "port: 0 is not between 1 and 65535"),
        ({"format": "morse"}, "sockets.door: format: no such format: 'morse'"),
        ({"format": "auto"}, "format: auto listens to one device"),
        ({"format": "sml", "key": "k"}, "key, timestamped: sml has no lines"),
        ({"format": "sml", "timestamped": True}, "key, timestamped: sml has no lines"),
        ({"key": "two words"}, "key: contains a space"),
        ({"idle_timeout": 0.0}, "idle_timeout: 0.0 is not between"),
        ({"max_clients": 0}, "max_clients: 0 is not between"),
    ],
)
def test_a_wrong_socket_is_refused_in_one_line(options: dict[str, Any], words: str) -> None:
    assert socket().sockets[0].port == 50011
    with pytest.raises(ConfigError) as refused:
        socket(**options)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_socket_and_a_port_cannot_have_the_same_name() -> None:
    file = {"serial_bridge": {"ports": [PORT], "sockets": [{"name": "radio", "format": "node_values", "port": 5}]}}
    with pytest.raises(ConfigError, match=r"sockets\.radio: two ports have this name"):
        config.section(SerialBridge, file, "serial_bridge", Path("config.toml"))


@pytest.mark.parametrize(
    ("line_format", "speed"),
    [("rfm2pi", 38400), ("vedirect", 19200), ("sml", 9600), ("dsmr_p1", 115200), ("auto", 38400), ("key_value", 38400)],
)
def test_a_port_without_a_speed_has_the_usual_one_of_its_format(line_format: str, speed: int) -> None:
    assert load({"format": line_format}).ports[0].speed == speed
    assert load({"format": line_format, "baud": 4800}).ports[0].speed == 4800


def numbered(name: str, line_format: str = "node_values", offset: int = 0) -> dict[str, Any]:
    return {"name": name, "port": f"/dev/{name}", "format": line_format, "node_offset": offset}


def bridge(*ports: dict[str, Any], offset: int = 0) -> SerialBridge:
    socket = {"name": "door", "port": 50011, "format": "node_values", "node_offset": offset}
    file = {"serial_bridge": {"ports": ports, "sockets": [socket]}}
    return config.section(SerialBridge, file, "serial_bridge", Path("config.toml"))


@pytest.mark.parametrize("line_format", ["rfm2pi", "oem", "node_values"])
def test_a_node_of_a_socket_is_no_node_of_a_radio(line_format: str) -> None:
    with pytest.raises(
        ConfigError, match="door has nodes with the same numbers; with another one, such as node_offset"
    ):
        bridge(numbered("radio", line_format))
    options = bridge(numbered("radio", line_format), offset=100)
    context = options.context(names.PRESENT)
    radio, door = options.ports[0], options.sockets[0]
    assert (context.node(15, radio), context.node(15, door)) == (15, 115)
    assert context.node(99, radio) == 99
    with pytest.raises(NotAReading, match="from 100 on, nodes are those of another source"):
        context.node(100, radio)
    with pytest.raises(NotAReading, match="no radio node has the number 1024"):
        context.node(924, door)


def test_two_receivers_hear_the_same_nodes() -> None:
    options = bridge(numbered("radio", "rfm2pi"), numbered("attic", "oem"), offset=500)
    context = options.context(names.PRESENT)
    assert [context.node(499, port) for port in options.ports] == [499, 499]


def test_a_port_whose_format_is_detected_has_no_nodes_of_a_socket() -> None:
    options = bridge(numbered("any", "auto"))
    context = options.context(names.PRESENT)
    with pytest.raises(NotAReading, match="another node_offset"):
        context.node(15, options.ports[0])
    assert context.node(15, options.sockets[0]) == 15


@example([("node_values", 0), ("node_values", 0), ("auto", 0)])
@given(st.lists(st.tuples(st.sampled_from(["rfm2pi", "oem", "node_values", "auto"]), st.integers(0, 40)), max_size=4))
def test_no_number_is_a_node_of_two_sources_unless_both_are_radios(sources: list[tuple[str, int]]) -> None:
    ports = [numbered(f"p{index}", *source) for index, source in enumerate(sources)]
    try:
        options = bridge(*ports, offset=20)
    except ConfigError:
        return
    context = options.context(names.PRESENT)
    owners: dict[int, list[str]] = {}
    for source in (*options.ports, *options.sockets):
        for number in range(64):
            with suppress(NotAReading):
                owners.setdefault(context.node(number, source), []).append(source.format)
    assert not [formats for formats in owners.values() if "node_values" in formats and len(formats) > 1]
