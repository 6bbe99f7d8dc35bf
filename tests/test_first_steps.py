"""docs/first-steps.md: each of its files runs, against what it is for, to a live value."""

import json
import os
import re
import struct
import tomllib
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomli_w

from cli.start import effective_config, options, plan
from heliograph import config
from services.api.ingest.keys import hashed
from services.api.server import Api
from services.serial_bridge.protocols import checksums
from tests.conftest import ROOT, LocalBroker, Processes, free_port
from tests.mqtt_recorder import Recorder

Eventually = Callable[..., Any]
Start = Callable[[str, dict[str, str]], dict[str, Any]]

SECTIONS = re.split(r"^## ", (ROOT / "docs/first-steps.md").read_text(), flags=re.MULTILINE)
FILES = {
    section.split("\n", 1)[0]: block[1]
    for section in SECTIONS
    if (block := re.search(r"```toml\n(.*?)```", section, re.DOTALL))
}
METER = "One Modbus meter"
RADIO = "An RFM2Pi and an emonTx"
PLUG = "A Tasmota plug"
P1 = "A smart meter with a P1 port"
ESP = "An ESP that sends over HTTP"
KEY = "00112233445566778899aabbccddeeff"
TELEGRAM = b"""/KFM5KAIFA-METER

1-3:0.2.8(42)
1-0:1.8.1(001581.123*kWh)
1-0:1.7.0(02.027*kW)
!"""


@pytest.fixture
def start(tmp_path: Path, broker: LocalBroker, processes: Processes) -> Start:
    """`start(title, {what the file says: what it is here})` starts the services of a file that need a device; returns the file."""

    def begin(title: str, here: dict[str, str]) -> dict[str, Any]:
        text = FILES[title]
        for there, value in here.items():
            assert there in text, there
            text = text.replace(there, value)
        path = tmp_path / "mine.toml"
        path.write_text(text)
        made = plan.make(options.parse(["--config", str(path), "--data", str(tmp_path / "data")]))
        file = effective_config.complete(made, made.file)
        file["broker"] = {"port": broker.port}
        file["node"]["clock"] = "trust"
        file["api"].update(host="127.0.0.1", port=free_port(), keys={"esp": hashed(KEY)})
        effective = tmp_path / "config.toml"
        effective.write_text(tomli_w.dumps(file))
        services = [name for name in plan.services_of(file) if name not in plan.ALWAYS] or ["api"]
        for name in services:
            processes.start(f"services.{name}", str(effective))
        return file

    return begin


@pytest.fixture
def port(tmp_path: Path) -> Iterator[tuple[str, Callable[[bytes], int]]]:
    """The path of a serial port, and what writes to its other end."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    yield os.ttyname(theirs), lambda data: os.write(ours, data)
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("title", list(FILES))
def test_a_file_is_complete_and_short(title: str) -> None:
    assert len(FILES[title].splitlines()) <= 15
    assert tomllib.loads(FILES[title])["node"]["name"] == "house"


@pytest.mark.parametrize("title", list(FILES))
def test_a_file_serves_in_containers_as_it_is(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case K13: with what compose.yaml says in the environment, and with no section but those of the page."""
    for name in ("secret", "storage"):
        (tmp_path / name).write_text(hashed(KEY))
    given = re.findall(r"^ +(HELIOGRAPH__\w+): ([^#\n]*)", (ROOT / "compose.yaml").read_text(), re.MULTILINE)
    for variable, text in given:
        value = re.sub(r"\$\{\w+:-(\w*)\}", r"\1", text.strip().strip("'"))
        monkeypatch.setenv(
            variable,
            value.replace("/run/secrets/api_key", "/run/secrets/secret").replace("/run/secrets", str(tmp_path)),
        )
    path = tmp_path / "config.toml"
    path.write_text(FILES[title])
    file = config.read(path)
    node = config.section(config.Node, file, "node", path, "storage")
    assert (node.name, node.data) == ("house", "/data")
    assert config.section(config.Broker, file, "broker", path, "storage").host == "mosquitto"
    assert config.section(Api, file, "api", path, "api").host == "0.0.0.0"
    assert set(file) <= {"node", "api", "modbus_poller", "serial_bridge", "mqtt_importer"}


def test_there_is_a_file_for_each_of_the_first_devices() -> None:
    assert list(FILES) == [METER, RADIO, PLUG, P1, ESP]


def test_one_modbus_meter(
    tmp_path: Path, start: Start, processes: Processes, recorder: Recorder, eventually: Eventually
) -> None:
    processes.start("simulator", "--link-folder", str(tmp_path / "site"))
    line = tmp_path / "site/tracer"
    eventually(line.exists)
    start(METER, {"/dev/ttyUSB0": str(line), "unit_id = 1": "unit_id = 2"})
    eventually(lambda: 200 < recorder.newest("grid").get("voltage", 0) < 260, 60)
    assert recorder.infos["grid"]["model"]


def test_an_rfm2pi_and_an_emontx(
    start: Start, port: tuple[str, Callable[[bytes], int]], recorder: Recorder, eventually: Eventually
) -> None:
    path, send = port
    packet = struct.pack("<11hL", 120, 230, 0, 0, 23950, 215, *[0] * 5, 77)
    start(RADIO, {"/dev/ttyAMA0": path})
    line = f"OK 10 {' '.join(map(str, packet))} (-60)\r\n".encode()
    shown = {"power1": 120, "power2": 230, "vrms": 239.5, "temp1": 21.5, "pulse": 77}
    eventually(lambda: send(line) and recorder.shows("emontx", shown), 60)


def test_a_tasmota_plug(
    tmp_path: Path, start: Start, broker: LocalBroker, recorder: Recorder, eventually: Eventually
) -> None:
    (tmp_path / "home-mqtt").write_text("secret\n")
    here = {"/home/pi/home-mqtt": str(tmp_path / "home-mqtt"), '"192.168.1.20"': f'"127.0.0.1"\nport = {broker.port}'}
    start(PLUG, here)
    report = json.dumps({"Time": "2026-11-30T12:00:00", "ENERGY": {"Total": 12.5, "Power": 61, "Voltage": 231}})

    def arrives() -> bool:
        recorder.publish("tele/plug/SENSOR", report)
        return recorder.shows("plug", {"power": 61, "voltage": 231})

    eventually(arrives, 60)


def test_a_smart_meter_with_a_p1_port(
    start: Start, port: tuple[str, Callable[[bytes], int]], recorder: Recorder, eventually: Eventually
) -> None:
    path, send = port
    start(P1, {"/dev/ttyUSB0": path})
    telegram = TELEGRAM.replace(b"\n", b"\r\n")
    telegram += b"%04X\r\n" % checksums.arc(telegram)
    eventually(lambda: send(telegram) and recorder.shows("meter", {"power_import": 2.027}), 60)


def test_an_esp_over_http(start: Start, eventually: Eventually) -> None:
    file = start(ESP, {})
    address = f"http://127.0.0.1:{file['api']['port']}/api/v1"
    body = re.search(r"^\{.*\}$", next(one for one in SECTIONS if one.startswith(ESP)), re.MULTILINE)
    assert body

    def is_taken() -> bool:
        try:
            answer = httpx.post(
                f"{address}/readings", json=json.loads(body[0]), headers={"authorization": f"Bearer {KEY}"}, timeout=30
            )
        except httpx.HTTPError:
            return False
        return answer.status_code == 202

    eventually(is_taken, 60)

    def values() -> dict[str, Any]:
        devices = httpx.get(f"{address}/devices", timeout=30).json()
        return {
            one["name"]: one["value"] for device in devices for one in device["channels"] if device["node"] == "house"
        }

    eventually(lambda: values() == {"temperature": 21.4, "humidity": 41.3}, 60)


def test_the_configured_key_is_that_of_the_page(tmp_path: Path) -> None:
    """Without any line for it: `heliograph start` names the file of the key."""
    path = tmp_path / "mine.toml"
    path.write_text(FILES[ESP])
    chosen = options.parse(["--config", str(path), "--data", str(tmp_path), "--port", str(free_port())])
    made = plan.choose_ports(plan.make(chosen), chosen)
    assert effective_config.complete(made, made.file)["api"]["keys"] == {"node": f"file:{tmp_path}/secrets/api.keyhash"}
