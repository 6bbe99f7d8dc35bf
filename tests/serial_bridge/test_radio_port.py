"""What is written to a radio board, by the real process."""

import json
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

import simulator
from heliograph import topics
from tests.conftest import Processes
from tests.mqtt_recorder import NODE
from tests.serial_bridge.conftest import BridgeRecorder, Line, Start, Wait, Write, is_gone, port

FIRST = 'group = 210\nfrequency = 433\nbase_id = 5\nquiet = "on"\ncalibration = "230V"\n'
THEN = 'group = 210\nfrequency = 868\nbase_id = 5\nquiet = "off"\ncalibration = "110V"\n'
EMONTH = '[serial_bridge.nodes.19]\nname = "emonth"\nscale = 0.1\n'
TX = '[serial_bridge.nodes.20]\nname = "display"\ntx.datacodes = ["b", "b", "b", "h", "h", "H", "H"]\n'


def wrote(line: Line, expected: bytes) -> Callable[[], bool]:
    """Whether exactly these bytes were written, as far as they have come; anything else fails at once."""
    written = b""

    def check() -> bool:
        nonlocal written
        written += line.written()
        assert expected.startswith(written), written
        return written == expected

    return check


def radio(line: Line, settings: str, line_format: str = "rfm2pi") -> str:
    return f"{port('radio', line.path, line_format)}[serial_bridge.ports.radio]\n{settings}"


def test_a_board_that_does_not_answer_is_set_and_a_change_in_the_file_sets_what_differs_and_keeps_half_a_line(
    start: Start, write: Write, line: Line, watcher: BridgeRecorder, eventually: Wait
) -> None:
    line.plug_in()
    start(radio(line, FIRST) + EMONTH)
    eventually(wrote(line, b"v5i4b210g1q1p"))
    eventually(watcher.is_open("radio"))
    line.say(b"OK 19 205 0 0 ")
    write(radio(line, THEN) + EMONTH.replace("0.1", "0.01"))
    eventually(wrote(line, b"8b0q2p"))
    line.say(b"0 (-75)\r\n")
    eventually(watcher.has_states(1))
    assert watcher.states == [("emonth", {"1": 2.05, "2": 0.0, "rssi": -75})]
    assert watcher.port("radio")["open"] is True


def test_a_board_without_settings_is_only_asked_what_it_is(start: Start, line: Line, eventually: Wait) -> None:
    line.plug_in()
    start(port("radio", line.path, "rfm2pi"))
    eventually(wrote(line, b"v"))


def test_the_time_is_broadcast_as_often_as_it_is_to_be(start: Start, line: Line, eventually: Wait) -> None:
    line.plug_in()
    start(radio(line, "time_broadcast_interval = 1.0\n"))
    written = b""

    def twice() -> list[bytes]:
        nonlocal written
        written += line.written()
        times = re.findall(rb"00,(?:[01][0-9]|2[0-3]),[0-5][0-9],00,s", written)
        return times if len(times) >= 2 else []

    times = eventually(twice)
    assert b"v" + b"".join(times) == written


@pytest.mark.parametrize(
    ("line_format", "expected"),
    [
        ("rfm2pi", b"v20,14,38,34,188,2,138,0,140,10,61,3,0s"),
        ("oem", b"T20,14,38,34,188,2,138,0,140,10,61,3\n"),
    ],
)
def test_a_set_message_is_packed_and_sent_to_its_node(
    start: Start, line: Line, watcher: BridgeRecorder, eventually: Wait, line_format: str, expected: bytes
) -> None:
    line.plug_in()
    start(port("radio", line.path, line_format) + TX)
    eventually(watcher.is_open("radio"))
    topic = topics.device(NODE, "display", "set")
    for wrong in (b"14,38", b"[1]", b"[1,2,3,4,5,6,70000]", b'{"hour": 1}', b"\xff"):
        watcher.bus.publish(topic, wrong, qos=1)
    watcher.bus.publish(topics.device(NODE, "somebody_elses", "set"), b"[1]", qos=1)
    back = topics.response(NODE, "recorder", "set")
    answered: dict[str, Any] = {"qos": 1, "response_topic": back, "correlation": b"1"}
    watcher.bus.publish(topic, b"[14,38]", **answered)
    watcher.bus.publish(topic, b"[14,38,34,700,138,2700,829]", **answered)
    eventually(wrote(line, expected))
    eventually(lambda: len(watcher.responses) == 2)
    refusal, receipt = watcher.responses
    assert refusal["refused"] == {"packet": "2 values, the node gets 7"}
    assert receipt["values"] == {"1": 14, "2": 38, "3": 34, "4": 700, "5": 138, "6": 2700, "7": 829}
    line.pull_out()
    eventually(watcher.is_open("radio", is_open=False))
    assert (watcher.counter("packets_sent"), watcher.counter("packets_refused")) == (1, 6)


def test_lines_of_the_repeater_go_to_the_radio(
    start: Start, line: Line, watcher: BridgeRecorder, eventually: Wait, free_ports: Callable[[], int]
) -> None:
    line.plug_in()
    number = free_ports()
    start(f"{port('radio', line.path, 'rfm2pi')}repeater.port = {number}\n")
    eventually(wrote(line, b"v"))
    with socket.create_connection(("127.0.0.1", number), timeout=30) as client:
        client.sendall(b"4b\r\n\x01\r\n15i\r\nhal")
        eventually(wrote(line, b"4b15i"))


def test_a_client_that_the_repeater_does_not_allow_is_disconnected(
    start: Start,
    line: Line,
    watcher: BridgeRecorder,
    processes: Processes,
    eventually: Wait,
    free_ports: Callable[[], int],
) -> None:
    line.plug_in()
    number = free_ports()
    start(f'{port("radio", line.path, "rfm2pi")}repeater = {{ port = {number}, allow = ["10.0.0.0/8"] }}\n')
    eventually(lambda: "the repeater of radio listens" in processes.output())
    with socket.create_connection(("127.0.0.1", number), timeout=30) as client:
        client.sendall(b"4b\r\n")
        assert is_gone(client)
    eventually(wrote(line, b"v"))
    assert "127.0.0.1 is not an allowed address of the repeater" in processes.output()


def test_a_node_that_is_not_listed_is_offered_and_what_is_offered_can_be_pasted(
    start: Start, write: Write, line: Line, watcher: BridgeRecorder, processes: Processes, eventually: Wait
) -> None:
    line.plug_in()
    section = port("radio", line.path, "rfm2pi")
    start(section)
    eventually(watcher.is_open("radio"))
    for _ in range(2):
        line.say(b"OK 23 205 0 0 0 36 2 31 0 7 0 0 0 (-75)\r\n")
    eventually(lambda: "radio node 23 is not in the configuration; it looks like emonth2" in processes.output())
    line.pull_out()
    eventually(lambda: watcher.status.get("facts", {}).get("unknown_nodes"))
    offer = watcher.status["facts"]["unknown_nodes"]["23"]
    assert (offer["packets"], offer["bytes"], offer["templates"]) == (2, 12, ["emonth2"])
    write(section + offer["paste"])
    line.plug_in()
    eventually(watcher.is_open("radio"))

    def received() -> bool:  # the thread of the port takes the changed options after it has read something
        line.say(b"OK 23 205 0 0 0 36 2 31 0 7 0 0 0 (-75)\r\n")
        return bool(watcher.states)

    eventually(received)
    name, values = watcher.states[0]
    assert name == "emonth_23"
    assert values["temperature"] == 20.5
    assert values["pulsecount"] == 7


def test_an_error_in_the_changed_file_is_logged_and_the_previous_configuration_is_kept(
    start: Start, write: Write, line: Line, watcher: BridgeRecorder, processes: Processes, eventually: Wait
) -> None:
    line.plug_in()
    start(port("radio", line.path, "rfm2pi") + EMONTH)
    eventually(watcher.is_open("radio"))
    write(port("radio", line.path, "morse"))
    eventually(lambda: watcher.status.get("facts", {}).get("config_error"))
    assert "no such format: 'morse'" in watcher.status["facts"]["config_error"]
    line.say(b"OK 19 205 0 (-75)\r\n")
    eventually(watcher.has_states(1))
    write(port("other", line.path, "rfm2pi") + EMONTH)
    eventually(watcher.is_open("other"))
    assert watcher.status["facts"]["config_error"] == ""
    assert list(watcher.status["facts"]["ports"]) == ["other"]
    line.say(b"OK 19 206 0 (-75)\r\n")
    eventually(watcher.has_states(2))
    assert json.dumps(watcher.states[1]) == '["emonth", {"1": 20.6, "rssi": -75}]'


def test_the_simulated_board_is_set_and_read(start: Start, watcher: BridgeRecorder, eventually: Wait) -> None:
    with simulator.run(simulator.SimulatorOptions(radio_seconds=0.2)) as site:
        wanted = "[serial_bridge.ports.radio]\ngroup = 100\nbase_id = 7\nfrequency = 868\nquiet = 'off'\n"
        node = (
            '[serial_bridge.nodes.10]\nname = "emontx"\ndatacodes = ["h","h","h","h","h","h","h","h","h","h","h","L"]\n'
        )
        start(port("radio", site.emontx.path, "rfm2pi") + wanted + node)
        eventually(watcher.is_open("radio"))
        eventually(lambda: site.emontx.settings() == "[RF12demo.12] G i7* g100 @ 868 MHz")
        eventually(lambda: watcher.states)
