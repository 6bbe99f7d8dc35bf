import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import LocalBroker, Processes, Starter
from tests.mqtt_recorder import Recorder
from tests.sensor_reader.test_one_wire import GOOD, w1_slave
from tests.sensor_reader.tree import Tree

Eventually = Callable[[Callable[[], object]], object]

# Instead of gpiod: a line whose number of edges is in a file.
GPIOD = """
import os, time
from functools import partial
from pathlib import Path

WIRE = Path(os.environ["WIRE"])

class LineSettings:
    def __init__(self, **settings): pass

class Event:
    def __init__(self, number):
        self.line_seqno, self.timestamp_ns = number, number * 1_000_000_000

class Request:
    def __init__(self):
        self.start = self.seen = int(WIRE.read_text())

    def wait_edge_events(self, seconds):
        end = time.monotonic() + seconds
        while int(WIRE.read_text()) == self.seen:
            if time.monotonic() >= end:
                return False
            time.sleep(0.005)
        return True

    def read_edge_events(self):
        before, self.seen = self.seen, int(WIRE.read_text())
        return [Event(number - self.start) for number in range(before + 1, self.seen + 1)]

    def release(self): pass

def request_lines(path, **options):
    return Request()
"""
LINE = """
from enum import Enum
Bias = Enum("Bias", "AS_IS DISABLED PULL_UP PULL_DOWN")
Direction = Enum("Direction", "INPUT")
Edge = Enum("Edge", "RISING FALLING BOTH")
"""


class Reader:
    """The service in a process, on a tree of its own."""

    def __init__(self, folder: Path, starter: Starter) -> None:
        self.tree = Tree(folder / "root")
        self._starter = starter

    def start(self, section: str = "", **environment: str) -> "subprocess.Popen[bytes]":
        head = f'[sensor_reader]\nroot = "{self.tree.root}"\ninterval = 0.2\nsystem_interval = 0.5\n'
        return self._starter.start(head + section, **environment)


@pytest.fixture
def reader(tmp_path: Path, broker: LocalBroker, processes: Processes) -> Reader:
    return Reader(tmp_path, Starter("sensor_reader", tmp_path, broker, processes))


def test_readings_of_every_family_arrive_and_come_and_go_with_their_sensors(
    reader: Reader, recorder: Recorder, eventually: Eventually
) -> None:
    tree = reader.tree
    tree.machine()
    tree.dht()
    tree.ds18b20("0316a2794bff", w1_slave(GOOD))
    tree.ds18b20("0000000000ba", w1_slave(GOOD, "NO"))
    tree.hwmon(0, "platform/soc/i2c-1/1-0044", "sht3x", temp1_input="21870", humidity1_input="51234")
    process = reader.start('[sensor_reader.sensors.dht11_4]\nname = "cellar"\n')
    good = ("cellar", "ds18b20_0316a2794bff", "sht3x_1-0044", "system")
    for name in good:
        eventually(partial(recorder.several, name))
        eventually(partial(recorder.is_online, name))
        eventually(partial(recorder.infos.get, name))
    assert recorder.newest("cellar") == {"temperature": 21.5, "humidity": 48.3}
    assert recorder.newest("ds18b20_0316a2794bff") == {"temperature": 23.125}
    assert recorder.newest("system")["under_voltage"] is True
    assert recorder.infos["cellar"]["channels"]["humidity"] == {"unit": "%"}
    assert recorder.infos["cellar"]["service"] == "sensor_reader"
    eventually(lambda: recorder.last("ds18b20_0000000000ba") == "offline")  # never a right checksum

    tree.unplug("sys/bus/iio/devices/iio:device0")
    tree.bme280()
    eventually(lambda: recorder.last("cellar") == "offline")
    eventually(lambda: recorder.newest("bme280_1-0076"))
    tree.dht(number=3)
    eventually(lambda: recorder.last("cellar") == "online")
    before = len(recorder.of("cellar"))
    eventually(lambda: len(recorder.of("cellar")) > before)
    process.terminate()
    assert process.wait(timeout=30) == 0
    eventually(lambda: all(recorder.last(name) == "offline" for name in good))


def test_a_driver_that_never_returns_stops_no_other_sensor(
    reader: Reader, recorder: Recorder, eventually: Eventually
) -> None:
    folder = reader.tree.dht()
    (folder / "in_temp_input").unlink()
    os.mkfifo(folder / "in_temp_input")  # opening it never returns, as with a driver that hangs
    reader.tree.bme280()
    process = reader.start()
    eventually(lambda: len(recorder.of("bme280_1-0076")) >= 10)
    assert len(recorder.of("dht11_4")) == 0
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_counted_pulses_survive_kill_9(
    reader: Reader, recorder: Recorder, eventually: Eventually, tmp_path: Path
) -> None:
    package, wire = tmp_path / "stand_in/gpiod", tmp_path / "wire"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(GPIOD)
    (package / "line.py").write_text(LINE)

    def pulse(total: int) -> None:
        partial = wire.with_suffix(".partial")
        partial.write_text(str(total))
        partial.replace(wire)

    def published(count: int) -> bool:
        return bool(recorder.newest("gas").get("pulses") == count)

    section = (
        '[[sensor_reader.counters]]\nname = "gas"\nchip = "gpiochip0"\nline = 4\ninterval = 0.2\ninitial_count = 1000\n'
    )
    environment = {"PYTHONPATH": str(package.parent), "WIRE": str(wire)}
    pulse(0)
    process = reader.start(section, **environment)
    eventually(lambda: published(1000))
    for total in range(1, 31):
        pulse(total)
    eventually(lambda: published(1030))
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(recorder.of("gas"))
    process = reader.start(section, **environment)
    eventually(lambda: len(recorder.of("gas")) > before)  # the line is open again
    assert published(1030)
    pulse(35)
    eventually(lambda: published(1035))
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_a_missing_line_is_offline_and_logged_once(
    reader: Reader, recorder: Recorder, eventually: Eventually, processes: Processes
) -> None:
    process = reader.start('[[sensor_reader.counters]]\nname = "gas"\nline = 17\n')
    eventually(lambda: recorder.last("gas") == "offline")
    eventually(lambda: recorder.of("system"))
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert processes.output().count("no GPIO chip has a line GPIO17") == 1


def test_a_mistake_in_the_configuration_is_one_line(reader: Reader, processes: Processes) -> None:
    process = reader.start("wait = 3\n")
    assert process.wait(timeout=30) == 1
    (line,) = processes.output().splitlines()
    assert "[sensor_reader]" in line
    assert "wait" in line
