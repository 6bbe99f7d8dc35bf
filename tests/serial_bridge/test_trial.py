import fcntl
import os
import socket
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.serial_bridge.conftest import Line, port
from tests.trials import tried

pytestmark = pytest.mark.slow
NODE = '[serial_bridge.nodes.19]\nname = "emonth"\nnames = ["temperature", "external", "humidity", "battery"]\nscales = [0.1, 0.1, 0.1, 0.1]\nunits = ["C", "C", "%", "V"]\n'


def test_a_port_is_read_and_its_values_and_bad_lines_are_printed(tmp_path: Path, line: Line) -> None:
    line.plug_in()
    quiet, noisy = Line(tmp_path / "quiet"), Line(tmp_path / "noisy")
    quiet.plug_in()
    noisy.plug_in()
    free = free_port()

    def feed() -> None:
        line.say(b"OK 19 205 0 0 0 36 2 31 0 (-75)\r\n")
        noisy.say(b"hello there\r\n")

    try:
        result = tried(
            "serial_bridge",
            tmp_path,
            port("radio", line.path, "rfm2pi")
            + port("quiet", quiet.path, "rfm2pi")
            + port("noisy", noisy.path, "key_value")
            + port("gone", tmp_path / "none", "rfm2pi")
            + f'[[serial_bridge.sockets]]\nname = "esp"\nport = {free}\nformat = "key_value"\n'
            + NODE,
            seconds=2,
            feed=feed,
        )
    finally:
        quiet.pull_out()
        noisy.pull_out()
    assert result.status == 0
    assert "serial_bridge: 1 of 5 inputs were read\n" in result.text
    assert result.values("emonth")["temperature"] == "20.5 °C"
    assert f"quiet at {quiet.path}: NOT READ: nothing has come\n" in result.text
    assert "check the wiring and `baud` (38400 now)" in result.text
    assert " lines have come, and no reading was in them\n" in result.text
    assert "check `format` (key_value now)" in result.text
    assert f"gone at {tmp_path}/none: NOT READ: No such file or directory\n" in result.text
    assert f"esp on port {free}: NOT READ: nothing has come\n" in result.text
    assert "set aside: noisy: " in result.text
    assert "'hello there'" in result.text


def test_what_another_program_has_open_is_named_at_once(tmp_path: Path, line: Line) -> None:
    line.plug_in()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        other = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        result = tried(
            "serial_bridge",
            tmp_path,
            port("radio", line.path, "rfm2pi")
            + f'[[serial_bridge.sockets]]\nname = "esp"\nport = {number}\nformat = "key_value"\n',
            seconds=50,
        )
        os.close(other)
    assert result.status == 3
    assert f"radio at {line.path}: NOT READ: in use by another program\n" in result.text
    assert "what to do: stop the node that has it" in result.text
    assert f"esp on port {number}: NOT READ: " in result.text
    assert "choose another `port`, or stop what listens there" in result.text
