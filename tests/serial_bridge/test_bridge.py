"""The real process, between pseudo-terminals or a socket and a real broker."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Processes
from tests.serial_bridge import case_files
from tests.serial_bridge.conftest import BridgeRecorder, Line, Start, Wait, port

ROOT = Path(__file__).parents[2]
NODES = """
[serial_bridge.nodes.19]
name = "emonth"
names = ["temperature", "external temperature", "humidity", "battery"]
scale = 0.1
units = ["C", "C", "%", "V"]
"""


def test_a_frame_becomes_a_reading_of_a_device_that_says_what_it_is(
    start: Start, line: Line, watcher: BridgeRecorder, eventually: Wait
) -> None:
    line.plug_in()
    process = start(port("radio", line.path, "rfm2pi") + NODES)
    eventually(watcher.is_open("radio"))
    line.say(b"OK 19 205 0 0 0 36 2 31 0 (-75)\r\n")
    eventually(lambda: watcher.states)
    values = {"temperature": 20.5, "external_temperature": 0.0, "humidity": 54.8, "battery": 3.1, "rssi": -75}
    assert watcher.states == [("emonth", values)]
    info = watcher.infos["emonth"]
    assert (info["model"], info["service"]) == ("JeeLib node 19", "serial_bridge")
    assert info["channels"]["temperature"] == {"unit": "°C"}
    assert info["channels"]["rssi"] == {"unit": "dBm"}
    assert watcher.availability == [("emonth", "online")]

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    eventually(lambda: watcher.availability[-1] == ("emonth", "offline"))
    eventually(lambda: watcher.status["state"] == "offline")


def test_a_gas_meter_keeps_its_name_when_the_service_starts_again_without_the_other_one(
    start: Start, line: Line, watcher: BridgeRecorder, eventually: Wait
) -> None:
    one, two = (
        f"0-{number}:24.1.0(003)\r\n0-{number}:24.2.1(250101080{number}00W)(1.5*m3)\r\n".encode() for number in (1, 2)
    )
    line.plug_in()
    process = start(port("house", line.path, "dsmr_p1"))
    eventually(watcher.is_open("house"))
    line.say(b"/X\r\n" + one + two + b"!\r\n")
    eventually(watcher.has_states(2))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    eventually(lambda: watcher.status["state"] == "offline")
    start(port("house", line.path, "dsmr_p1"))
    eventually(watcher.is_open("house"))
    line.say(b"/X\r\n" + two + b"!\r\n")
    eventually(watcher.has_states(3))
    assert [device for device, _ in watcher.states] == ["house_gas", "house_gas_2", "house_gas_2"]


def test_noise_is_counted_and_shown_and_the_readings_around_it_are_kept(
    start: Start, line: Line, watcher: BridgeRecorder, eventually: Wait
) -> None:
    line.plug_in()
    start(port("radio", line.path, "rfm2pi") + NODES)
    eventually(watcher.is_open("radio"))
    line.say(
        b"OK 19 1 0 0 0 0 0 0 0\r\nOK 19 205 0\xff\xfe 0 0\r\nOK 31 1 2 (-9)\r\n? 19 1\r\nOK 19 1 2 3\r\nhello\r\n"
    )
    for _ in range(5):
        line.say(b"x" * 1000)
    line.say(b"\r\nOK 19 205 0 0 0 36 2 31 0 (-75)\r\n")
    eventually(watcher.has_states(2))
    line.pull_out()  # the next status says it
    eventually(watcher.is_open("radio", is_open=False))
    counters = watcher.status["counters"]
    expected = {
        "lines": 8,
        "lines_parsed": 2,
        "noise_lines": 2,
        "unknown_nodes": 1,
        "bad_checksums": 1,
        "wrong_lengths": 1,
        "overlong_lines": 1,
        "set_aside": 5,
        "ports_opened": 1,
        "ports_lost": 1,
    }
    assert {name: counters.get(name) for name in expected} == expected
    assert [item["where"] for item in watcher.status["set_aside"]] == ["radio"] * 5
    assert watcher.port("radio")["lines"] == 8
    assert watcher.port("radio")["last_reading"] > 0
    assert list(watcher.status["facts"]["ports_away"].values()) == [watcher.port("radio")["error"]]


def test_a_port_that_vanishes_is_opened_again_when_it_is_back(
    start: Start, processes: Processes, line: Line, watcher: BridgeRecorder, eventually: Wait
) -> None:
    start(port("boiler", line.path, "key_value"))
    eventually(watcher.is_open("boiler", is_open=False))
    for count in (1, 2):
        line.plug_in()
        eventually(watcher.is_open("boiler"))
        line.say(f"MSG:{3 * count},t:61.5\r\nMSG:{3 * count}".encode())
        eventually(watcher.has_states(count))
        line.pull_out()
        eventually(watcher.is_open("boiler", is_open=False))
    assert watcher.states == [
        ("boiler", {"msg": 3, "t": 61.5, "missed": 0}),
        ("boiler", {"msg": 6, "t": 61.5, "missed": 2}),
    ]
    assert [state for _, state in watcher.availability] == ["online", "offline", "online", "offline"]
    assert watcher.counter("unfinished_lines") == 2
    assert processes.output().count("boiler is away") == 3
    assert processes.output().count("reading boiler") == 2


def opened(processes: Processes, times: int) -> Callable[[], bool]:
    return lambda: processes.output().count("reading far") == times


def test_a_port_can_be_a_socket_and_one_dead_port_does_not_hold_up_the_others(
    start: Start, line: Line, watcher: BridgeRecorder, processes: Processes, eventually: Wait
) -> None:
    line.plug_in()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"socket://127.0.0.1:{server.getsockname()[1]}"
        dead = port("dead", line.path.with_name("nowhere"), "json_lines")
        start(dead + port("far", address, "json_lines") + port("near", line.path, "key_value"))
        for count in (1, 2):
            connection, _ = server.accept()
            with connection:
                eventually(opened(processes, count))
                connection.sendall(b'alf a line"}\n{"device": "pump", "time": 1763633000.5, "on": true, "w": NaN}\n')
                eventually(watcher.has_states(count))
        eventually(watcher.is_open("near"))
        line.say(b"t=1\n")
        eventually(watcher.has_states(3))
    assert watcher.states == [("pump", {"on": True}), ("pump", {"on": True}), ("near", {"t": 1})]
    assert watcher.port("dead")["open"] is False


def test_a_configuration_without_ports_is_nothing_to_do(
    start: Start, watcher: BridgeRecorder, eventually: Wait
) -> None:
    process = start("[serial_bridge]\n")
    eventually(lambda: watcher.status.get("state") == "online")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


def test_a_wrong_configuration_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(port("radio", "/dev/null", "morse"))
    command = [sys.executable, "-m", "services.serial_bridge", str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "no such format: 'morse'; there are auto, csv, dsmr_p1," in ended.stderr


def test_auto_says_which_format_it_is_and_keeps_the_readings_by_which_it_knew(
    start: Start, line: Line, processes: Processes, watcher: BridgeRecorder, eventually: Wait
) -> None:
    line.plug_in()
    start(port("mystery", line.path, "auto"))
    eventually(watcher.is_open("mystery"))
    line.say(b"emonTx V4\r\nMSG:1,Vrms:241.16\r\nMSG:3,Vrms:240.16\r\n")
    eventually(watcher.has_states(2))
    assert watcher.states[1] == ("mystery", {"msg": 3, "vrms": 240.16, "missed": 1})
    eventually(lambda: watcher.port("mystery").get("detected_format") == "emontx_esp")
    assert "mystery: detected the format emontx_esp" in processes.output()


def test_a_meter_at_a_port_is_two_devices_with_units_and_kinds(
    start: Start, line: Line, watcher: BridgeRecorder, eventually: Wait
) -> None:
    telegram = case_files.of_format("dsmr_p1")[0].lines[4][0]
    line.plug_in()
    start(port("meter", line.path, "dsmr_p1"))
    eventually(watcher.is_open("meter"))
    line.say(telegram)
    eventually(watcher.has_states(3))
    assert dict(watcher.states) == {
        "meter": {"power": -0.12},
        "meter_heat": {"energy": 10.0},
        "meter_water": {"volume": 12.5},
    }
    assert watcher.infos["meter"]["channels"]["power"] == {"unit": "kW"}
    assert watcher.infos["meter_heat"]["channels"]["energy"] == {"unit": "MWh", "kind": "counter"}
    assert watcher.infos["meter_water"]["channels"]["volume"] == {"unit": "m³", "kind": "counter"}
