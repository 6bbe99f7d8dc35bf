"""The whole service with real brokers: what devices publish comes out as readings, and commands go back."""

import getpass
import json
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from heliograph import topics
from services.mqtt_importer import families, naming
from tests.conftest import ROOT, LocalBroker, Processes, Starter, free_port, mosquitto_command
from tests.ear import NODE, Ear
from tests.mqtt_importer import family_cases

Eventually = Callable[[Callable[[], object]], object]


@pytest.fixture
def importers(tmp_path: Path, broker: LocalBroker, processes: Processes) -> Starter:
    return Starter("mqtt_importer", tmp_path, broker, processes)


def source(family: str, options: str = "") -> str:
    return f'[[mqtt_importer.sources]]\nfamily = "{family}"\n{options}\n'


def ready(ear: Ear, eventually: Eventually) -> None:
    """Wait until what is published reaches the importer: it is subscribed when it answers."""

    def heard() -> bool:
        ear.say("probe/importer/ready", str(time.time()))
        devices: dict[str, Any] = ear.known("ready_probe")
        return bool(devices)

    eventually(heard)


PROBE = source("map", 'name = "probe"\nmaps = [{ topic = "probe/importer/+", device = "ready_probe" }]')
FIRST = {name: family_cases.of(name)[0] for name in families.known()}
ALL = tomli_w.dumps(
    {
        "mqtt_importer": {
            "sources": [
                *tomllib.loads(PROBE)["mqtt_importer"]["sources"],
                *({"family": name, "commands": True, **case.options} for name, case in FIRST.items()),
            ]
        }
    }
)


def test_every_family_comes_out_as_readings_and_takes_commands(
    importers: Starter, ear: Ear, eventually: Eventually
) -> None:
    process = importers.start(ALL)
    ready(ear, eventually)
    devices: dict[str, dict[str, object]] = {}
    commands: dict[tuple[str, str], family_cases.Command] = {}
    for message in (message for case in FIRST.values() for message in case.message):
        ear.say(message.topic, message.payload)
        if message.device:
            device = naming.device(message.device)
            devices.setdefault(device, {}).update(message.values)
            commands |= {(device, command.channel): command for command in message.commands}
    for name, expected in devices.items():
        eventually(partial(ear.shows, name, expected))
        eventually(partial(ear.stored_of, name))
        eventually(partial(ear.is_online, name))
    assert ear.infos.keys() == {*devices, "ready_probe"}
    assert ear.infos["tasmota_5a9ae8"]["channels"]["energy"] == {"unit": "kWh", "kind": "counter"}
    assert ear.infos["kitchen_my_plug"]["model"] == "Xiaomi ZNCZ02LM"
    assert {info["service"] for info in ear.infos.values()} == {"mqtt_importer"}

    for (name, channel), command in commands.items():
        ear.set(name, {channel: command.value})
        eventually(partial(ear.others.count, (command.topic, command.payload)))
    assert ear.known("tasmota_5a9ae8")["relay"] is False  # the device decides
    ear.say("stat/tasmota_5A9AE8/POWER", "ON")
    eventually(lambda: ear.known("tasmota_5a9ae8")["relay"] is True)

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    eventually(lambda: ear.last("tasmota_5a9ae8") == "offline")
    assert "Traceback" not in importers.said()


def test_commands_that_cannot_be_carried_out_are_set_aside(
    importers: Starter, ear: Ear, eventually: Eventually
) -> None:
    importers.start(PROBE + source("tasmota", "commands = true") + source("shelly1"))
    ready(ear, eventually)
    ear.say("stat/plug/POWER", "OFF")
    ear.say("shellies/other/relay/0", "off")
    eventually(lambda: ear.known("plug") and ear.known("other"))
    ear.set("plug", {"power": 5, "relay": "maybe"})
    ear.say(topics.device(NODE, "plug", "set"), "not JSON")
    ear.set("other", {"relay": True})
    ear.set("not_ours", {"relay": True})
    ear.say(f"{topics.ROOT}/{NODE}/devices/Not A Name/set", "{}")
    ear.say(topics.device(NODE, "plug", "set"), '{"relay": true}', retain=True)
    ear.set("plug", {"relay": False})
    eventually(lambda: ("cmnd/plug/POWER", "OFF") in ear.others)
    eventually(lambda: ("cmnd/plug/POWER", "ON") in ear.others)  # retained, but said while we listened
    status = reported(ear, importers, eventually)
    assert status["counters"]["refused_commands"] == 4
    whys = [item["why"] for item in status["set_aside"]]
    assert "only relay can be set" in whys
    assert "neither true nor false" in whys
    assert "not JSON" in whys
    assert "source shelly1 does not have commands = true" in whys
    assert not [topic for topic, _ in ear.others if topic.endswith("/command")]


def reported(ear: Ear, importers: Starter, eventually: Eventually) -> dict[str, Any]:
    """Return a status that is younger than now: it is told anew on every connect."""
    now = time.time()
    broker = importers.broker
    broker.kill()
    broker.start()
    eventually(lambda: ear.status.get("time", 0) > now and ear.status.get("state") == "online")
    return ear.status


def test_a_retained_command_is_an_old_one(importers: Starter, ear: Ear, eventually: Eventually) -> None:
    ear.say(topics.device(NODE, "plug", "set"), '{"relay": true}', retain=True)
    importers.start(PROBE + source("tasmota", "commands = true"))
    ready(ear, eventually)
    ear.say("stat/plug/POWER", "OFF")
    eventually(lambda: ear.known("plug"))
    ear.set("plug", {"relay": False})
    eventually(lambda: ("cmnd/plug/POWER", "OFF") in ear.others)
    assert ("cmnd/plug/POWER", "ON") not in ear.others


def test_retained_messages_tell_what_a_device_is_and_are_no_readings(
    importers: Starter, ear: Ear, eventually: Eventually
) -> None:
    ear.say("stat/plug/POWER", "ON", retain=True)
    ear.say("tele/plug/LWT", "Online", retain=True)
    ear.say("shellies/other/relay/0", "on", retain=True)
    importers.start(PROBE + source("tasmota", "commands = true") + source("shelly1", "retained = true"))
    ready(ear, eventually)
    eventually(lambda: ear.known("other") == {"relay": True})
    eventually(lambda: "plug" in ear.infos)
    eventually(lambda: ear.last("plug") == "online")
    eventually(lambda: ("cmnd/plug/STATE", "") in ear.others)
    ear.set("plug", {"relay": False})
    eventually(lambda: ("cmnd/plug/POWER", "OFF") in ear.others)
    assert ear.known("plug") == {}
    assert ear.stored_of("plug") == []


def test_a_last_will_makes_a_device_offline_and_its_next_word_online(
    importers: Starter, ear: Ear, eventually: Eventually
) -> None:
    importers.start(PROBE + source("tasmota") + source("zigbee2mqtt"))
    ready(ear, eventually)
    ear.say("tele/plug/LWT", "Offline")  # nobody knows yet that there is such a device
    ear.say("tele/plug/INFO1", '{"Info1":{"Module":"Sonoff Pow"}}')
    ear.say("tele/never/LWT", "Online")  # nor ever will: it has no values
    ear.say("stat/plug/POWER", "ON")
    ear.say("zigbee2mqtt/one", '{"power":1}')
    eventually(lambda: ear.last("plug") == "online" and ear.last("one") == "online")
    ear.say("tele/plug/LWT", "Offline")
    ear.say("zigbee2mqtt/bridge/state", '{"state":"offline"}')
    eventually(lambda: ear.last("plug") == "offline" and ear.last("one") == "offline")
    ear.say("tele/plug/LWT", "Online")
    ear.say("zigbee2mqtt/one", '{"power":2}')
    eventually(lambda: ear.last("plug") == "online" and ear.last("one") == "online")
    assert ear.infos["plug"]["model"] == "Tasmota Sonoff Pow"
    assert {name for name, _ in ear.availability} == {"plug", "one", "ready_probe"}


def test_devices_of_like_names_stay_apart_over_restarts(importers: Starter, ear: Ear, eventually: Eventually) -> None:
    section = PROBE + source("zigbee2mqtt", 'devices = { "Wohnzimmer (alt)" = "old" }')
    process = importers.start(section)
    ready(ear, eventually)
    ear.say("zigbee2mqtt/Küche/Plug 1", '{"power":1}')
    ear.say("zigbee2mqtt/küche plug_1", '{"power":2}')
    ear.say("zigbee2mqtt/Wohnzimmer (alt)", '{"power":3}')
    ear.say("zigbee2mqtt/日本", '{"power":4}')
    expected = {"kuche_plug_1": {"power": 1}, "kuche_plug_1_2": {"power": 2}, "old": {"power": 3}}
    eventually(lambda: {name: ear.known(name) for name in expected} == expected)
    process.terminate()
    assert process.wait(timeout=30) == 0
    ear.states.clear()
    importers.start(section)
    ready(ear, eventually)
    ear.say("zigbee2mqtt/küche plug_1", '{"power":2}')  # the other way round this time
    ear.say("zigbee2mqtt/Küche/Plug 1", '{"power":1}')
    eventually(lambda: ear.known("kuche_plug_1") == {"power": 1} and ear.known("kuche_plug_1_2") == {"power": 2})
    assert importers.said().count("'日本' is not the name of a device") == 1


def test_a_device_keeps_its_own_time_if_it_can_be_believed(
    importers: Starter, ear: Ear, eventually: Eventually
) -> None:
    importers.start(PROBE + source("tasmota", 'timezone = "Asia/Kathmandu"') + source("emonhub") + source("shelly2"))
    ready(ear, eventually)
    begun = time.time()
    own = int(begun) - 30
    local = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(own + 5 * 3600 + 45 * 60))
    ear.say("tele/plug/SENSOR", json.dumps({"Time": local, "ENERGY": {"Power": 1}}))
    ear.say("tele/lost/SENSOR", '{"Time":"1970-01-01T00:33:28","ENERGY":{"Power":22}}')
    ear.say("emon/JSON/emontx", json.dumps({"power1": 1, "time": own + 0.25}))
    ear.say("emon/JSON/old", '{"power1": 100, "time": 1399980731.7}')
    ear.say(
        "shellyplus1-1/events/rpc",
        json.dumps({"method": "NotifyStatus", "params": {"ts": begun + 9e6, "switch:0": {"apower": 1}}}),
    )
    for name in ("plug", "lost", "emontx", "old", "shellyplus1-1"):
        eventually(partial(ear.stored_of, name))
    assert ear.stored_of("plug")[0][0] == own
    assert ear.stored_of("emontx")[0][0] == own + 0.25
    for name in ("lost", "old", "shellyplus1-1"):
        assert begun - 1 <= ear.stored_of(name)[0][0] <= time.time()


HOSTILE = [
    b"",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"ENERGY":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"ENERGY":[' + b"1," * 200_000 + b"1]}",
    b"9" * 100_000,
    b'{"ENERGY":{"Power":' + b"9" * 5_000 + b"}}",
    b'{"ENERGY":{"Power":1e999,"Voltage":NaN,"Current":-Infinity,"Total":"\\ud800"}}',
    b'{"\\ud800":1,"Time":{},"ENERGY":5}',
    json.dumps({f"sensor{number}": {"Temperature": number} for number in range(5_000)}).encode(),
    b'{"state":"' + b"x" * 300_000 + b'"}',
    b"null",
    b'"ON"',
]


def test_hostile_payloads_are_set_aside_and_the_good_ones_around_them_are_kept(
    importers: Starter, ear: Ear, eventually: Eventually
) -> None:
    process = importers.start(ALL)
    ready(ear, eventually)
    for number, payload in enumerate(HOSTILE):
        for topic in (
            "tele/hostile/SENSOR",
            "tele/hostile/STATE",
            "tele/hostile/LWT",
            "tele/hostile/INFO1",
            "stat/hostile/POWER",
            "shellies/plug/relay/0/power",
            "shellies/plug/announce",
            "shelly-1/events/rpc",
            "shelly-1/status/switch:0",
            "node/sensor/x/state",
            "homeassistant/sensor/node/x/config",
            "zigbee2mqtt/plug",
            "zigbee2mqtt/bridge/devices",
            "zigbee2mqtt/bridge/state",
            "emon/JSON/plug",
            "emonhub/rx/1/values",
            topics.device(NODE, "hostile", "set"),
        ):
            ear.say(topic, payload)
        ear.say("stat/pace/STATUS8", json.dumps({"StatusSNS": {"ENERGY": {"Power": number}}}))
        eventually(partial(ear.shows, "pace", {"power": number}))  # no more waits than there is room for
    ear.say("tele/hostile/SENSOR", '{"ENERGY":{"Power":NaN,"Voltage":230.5}}')
    eventually(lambda: ear.known("hostile").get("voltage") == 230.5)
    assert process.poll() is None
    status = reported(ear, importers, eventually)
    assert status["counters"]["refused"] >= 100
    assert status["counters"]["dropped_messages"] == status["counters"]["oversized_messages"] == 0
    assert status["set_aside"]
    assert "power" not in ear.known("hostile")


def test_unknown_topics_are_counted_and_the_newest_are_shown(
    importers: Starter, ear: Ear, eventually: Eventually
) -> None:
    importers.start('[mqtt_importer]\nwatch = ["#"]\n' + PROBE + source("tasmota"))
    ready(ear, eventually)
    for number in range(30):
        ear.say(f"heating/{number}", f"{number}.5")
    ear.say("heating/29", "again")
    ear.say("stat/plug/POWER", "ON")
    eventually(lambda: ear.known("plug"))

    def shown() -> object:
        unknown = reported(ear, importers, eventually)["facts"].get("unknown")
        return unknown if unknown and unknown[0]["topic"] == "heating/29" else None

    unknown = eventually(shown)
    assert isinstance(unknown, list)
    assert unknown[0] == {"topic": "heating/29", "count": 2, "payload": "again"}
    assert [item["topic"] for item in unknown[:3]] == ["heating/29", "heating/28", "heating/27"]
    assert len(unknown) == 20
    assert ear.status["counters"]["unknown_messages"] == 31  # nothing of our own among them


def test_overlapping_filters_make_one_reading_of_one_message(
    importers: Starter, ear: Ear, eventually: Eventually
) -> None:
    maps = '[{ topic = "x/+/power", device = "{1}" }, { topic = "x/y/+", device = "y" }, { topic = "+/y/+", device = "y" }]'
    importers.start(PROBE + source("map", f"maps = {maps}"))
    ready(ear, eventually)
    for power in range(5):
        ear.say("x/y/power", str(power))
    eventually(lambda: len(ear.stored_of("y")) >= 5)
    ear.say("x/z/power", "1")
    eventually(lambda: ear.stored_of("z"))
    assert [values for _, values in ear.stored_of("y")] == [{"power": power} for power in range(5)]


def test_a_broker_that_restarts_is_found_again(
    importers: Starter, ear: Ear, eventually: Eventually, broker: LocalBroker
) -> None:
    process = importers.start(PROBE + source("tasmota"))
    ready(ear, eventually)
    ear.say("stat/plug/POWER", "ON")
    eventually(lambda: ear.known("plug") == {"relay": True})
    for wanted in (False, True):
        broker.kill()
        broker.start()
        ear.states.clear()
        eventually(lambda: ear.bus.connected)
        ready(ear, eventually)
        ear.say("stat/plug/POWER", "ON" if wanted else "OFF")
        eventually(partial(ear.shows, "plug", {"relay": wanted}))
    assert process.poll() is None


class ForeignBroker:
    """A broker of someone else: with a user, with TLS if there is a certificate, on a port of its own."""

    def __init__(self, folder: Path, *, tls: bool) -> None:
        folder.mkdir()
        self.port = free_port()
        secrets = folder / "secrets"
        command = [sys.executable, str(ROOT / "scripts/secrets"), str(secrets), "--user", "house", "--user", "ear"]
        subprocess.run([*command, *(["--tls", "localhost"] if tls else [])], check=True, capture_output=True)
        self.passwords = {user: (secrets / user).read_text().strip() for user in ("house", "ear")}
        self.password_file = secrets / "house"
        self.ca = str(secrets / "broker/ca.crt") if tls else ""
        self._config = folder / "mosquitto.conf"
        keys = f"certfile {secrets}/broker/server.crt\nkeyfile {secrets}/broker/server.key\n" if tls else ""
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {secrets}/broker/passwords\n{keys}"
            f"user {getpass.getuser()}\nlog_dest stderr\nlog_type error\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([mosquitto_command(), "-c", str(self._config)])

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho, when a handshake is cut off
@pytest.mark.parametrize(("tls", "version"), [(False, "3.1.1"), (True, "5")])
def test_another_broker_with_a_user_and_tls_is_read_and_restarts(
    importers: Starter, ear: Ear, eventually: Eventually, tmp_path: Path, tls: bool, version: str
) -> None:
    foreign = ForeignBroker(tmp_path / "foreign", tls=tls)
    ca = f'ca = "{foreign.ca}"\n' if tls else ""
    process = importers.start(
        source("tasmota", 'broker = "house"\ncommands = true')
        + f'[mqtt_importer.brokers.house]\nhost = "localhost"\nport = {foreign.port}\nversion = "{version}"\n'
        + f'user = "house"\npassword = "file:{foreign.password_file}"\n{ca}'
    )
    eventually(lambda: "broker house" in importers.said())  # it is away at first
    try:
        for power in (1, 2):
            foreign.start()
            with Ear(foreign.port, password=foreign.passwords["ear"], name="other", ca=foreign.ca) as house:

                def heard(house: Ear = house, power: int = power) -> bool:
                    house.say("tele/plug/SENSOR", json.dumps({"ENERGY": {"Power": power}}))
                    return ear.known("plug").get("power") == power

                eventually(heard)
                eventually(lambda: ear.last("plug") == "online")
                house.say("stat/plug/POWER", "OFF")
                eventually(lambda: ear.known("plug").get("relay") is False)
                ear.set("plug", {"relay": True})
                eventually(partial(house.others.count, ("cmnd/plug/POWER", "ON")))
                assert not [topic for topic, _ in house.others if topic.startswith(topics.ROOT)]
            foreign.kill()
            eventually(lambda: ear.last("plug") == "offline")
    finally:
        foreign.kill()
    assert process.poll() is None
    assert foreign.passwords["house"] not in importers.said()


def test_without_sources_it_says_so_and_waits(importers: Starter, ear: Ear, eventually: Eventually) -> None:
    process = importers.start("")
    eventually(lambda: ear.status.get("state") == "online")
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert "nothing to import" in importers.said()
