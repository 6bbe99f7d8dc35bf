"""Faults, planted for real in a whole node: page, `/health`, `heliograph status` and `heliograph doctor` report the same.

How long each of them takes is shown by `--log-cli-level=INFO`.
"""

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.browser import chromium
from tests.conftest import free_port, optional_program
from tests.system.faulty_node import FaultyNode
from tests.system.faulty_parts import PATIENCE
from tests.system.loop_device import Devices

log = logging.getLogger(__name__)


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[FaultyNode]:
    with ExitStack() as opened:
        browser = opened.enter_context(chromium(optional_program("chromium-headless-shell"), tmp_path))
        disk = Devices(tmp_path, opened).new().mount
        node = FaultyNode(tmp_path, disk, browser.open)
        opened.callback(node.close)
        node.begin()
        yield node


@pytest.mark.timeout(600)
def test_page_health_status_and_doctor_report_the_same_faults(
    faulty: FaultyNode, request: pytest.FixtureRequest
) -> None:
    faulty.until()
    _sound_doctor(faulty)
    _plant_many(faulty)
    _hang_broker(faulty)
    if request.config.getoption("--full"):
        _move_broker(faulty)
        _hang_api(faulty)
    assert faulty.process
    faulty.process.send_signal(signal.SIGINT)
    assert faulty.process.wait(timeout=PATIENCE) == 0


def _sound_doctor(faulty: FaultyNode) -> None:
    start = time.monotonic()
    text = faulty.command("doctor").communicate(timeout=PATIENCE)[0]
    log.info("doctor of a sound node takes %.1f s", time.monotonic() - start)
    assert text == "roof: nothing found\n"


def _plant_many(faulty: FaultyNode) -> None:
    faulty.spoil_backup()
    faulty.target.hang()
    faulty.until(reported={"a backup too old": "the last backup in "})
    passwords = faulty.run / "broker/passwords"
    whole = passwords.read_text()
    faulty.ports["pulled"].pull_out()
    for name, fault in (("closed", {"group": "dialout"}), ("taken", {"locked": True})):
        faulty.ports[name].pull_out()
        faulty.ports[name].plug_in(**fault)
    passwords.write_text("".join(line for line in whole.splitlines(True) if not line.startswith("mqtt_importer:")))
    faulty.of("broker").send_signal(signal.SIGHUP)
    faulty.change('clock = "trust"', f'clock = "file"\nclock_file = "{faulty.folder}/set"')
    faulty.change("system.load_1 + 1", "system.load_1 +")
    storage = faulty.of("storage")
    faulty.of("sensor_reader").terminate()
    faulty.of("calculator").kill()
    storage.suspend()
    year = faulty.replace_year(b"damaged" * 1000)
    faulty.fill_disk()
    faults = {
        "an upload target that hangs": "uploader: target hook accepts nothing: 127.0.0.1: no answer in time",
        "storage stopped": "no reading is stored until it runs again",
        "a user locked out": "mqtt_importer: the broker refuses mqtt_importer: Not authorized",
        "a service that keeps dying": "calculator keeps dying: it ended with exit status 1",
        "a clock that is not set": "the clock is not set: readings are kept back since ",
        "a port pulled out": "/pulled: No such file or directory",
        "a port of another group": "/closed belongs to group dialout; add the user ",
        "a port in use": "/taken: in use by another program",
        "a disk that is full": f"the disk of {faulty.disk}/data is nearly full: ",
        "a damaged year": f"{faulty.year.name}: ",
    }
    faulty.until(reported=faults)
    (faulty.disk / "filling").unlink()
    faulty.replace_year(year)
    faulty.backup.chmod(0o755)
    faulty.target.answer()
    storage.resume()
    storage.terminate()  # it tries the backup again at its start
    for port in faulty.ports.values():
        port.pull_out()
        port.plug_in()
    passwords.write_text(whole)
    faulty.of("broker").send_signal(signal.SIGHUP)
    faulty.change('clock = "file"', 'clock = "trust"')
    faulty.change("system.load_1 +", "system.load_1 + 1")
    faulty.of("sensor_reader").terminate()
    faulty.until(gone=faults.values())


def _hang_broker(faulty: FaultyNode) -> None:
    broker = faulty.of("broker")
    broker.suspend()
    faulty.until(reported={"a broker that hangs": (hangs := "the broker hangs: it has sent nothing since ")})
    broker.resume()
    faulty.until(gone=[hangs])


def _move_broker(faulty: FaultyNode) -> None:
    settings = faulty.run / "mosquitto.conf"
    whole = settings.read_text()
    settings.write_text(whole.replace(f"listener {faulty.broker_port} ", f"listener {free_port()} "))
    faulty.of("broker").kill()
    faulty.until(reported={"no broker": (away := "no connection to the broker: ")})
    settings.write_text(whole)
    faulty.of("broker").kill()
    faulty.until(gone=[away])


def _hang_api(faulty: FaultyNode) -> None:
    api = faulty.of("api")
    api.suspend()
    faulty.until(reported={"an API that hangs": "Connection lost|no answer from"})
    api.resume()
    faulty.until()
