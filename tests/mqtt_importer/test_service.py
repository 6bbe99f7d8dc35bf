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

from heliograph import names, topics
from services.mqtt_importer import families
from tests.conftest import LocalBroker, Processes, Starter, free_port, mosquitto_command
from tests.mqtt_importer import family_cases
from tests.mqtt_recorder import NODE, Recorder

Eventually = Callable[..., object]


@pytest.fixture
def importers(tmp_path: Path, broker: LocalBroker, processes: Processes) -> Starter:
    return Starter("mqtt_importer", tmp_path, broker, processes)


def source(family: str, options: str = "") -> str:
    return f'[[mqtt_importer.sources]]\nfamily = "{family}"\n{options}\n'


def ready(recorder: Recorder, eventually: Eventually) -> None:
    """Wait until what is published reaches the importer: it is subscribed when it answers."""

    def imported() -> bool:
        recorder.publish("probe/importer/ready", str(time.time()))
        devices: dict[str, Any] = recorder.known("ready_probe")
        return bool(devices)

    eventually(imported)


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
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    process = importers.start(ALL)
    ready(recorder, eventually)
    devices: dict[str, dict[str, object]] = {}
    families_of: dict[str, str] = {}
    commands: dict[tuple[str, str], family_cases.Command] = {}
    for family, message in ((family, message) for family, case in FIRST.items() for message in case.message):
        recorder.publish(message.topic, message.payload)
        if message.device:
            device = names.device(message.device)
            families_of[device] = family
            devices.setdefault(device, {}).update(message.values)
            commands |= {(device, command.channel): command for command in message.commands}
    for name, expected in devices.items():
        whose = f"{families_of[name]}: {name}"
        eventually(partial(recorder.shows, name, expected), what=f"{whose} shows {expected}")
        eventually(partial(recorder.stored_of, name), what=f"{whose} is stored")
        eventually(partial(recorder.is_online, name), what=f"{whose} is online")
    assert recorder.infos.keys() == {*devices, "ready_probe"}
    assert recorder.infos["tasmota_5a9ae8"]["channels"]["energy"] == {"unit": "kWh", "kind": "counter"}
    assert recorder.infos["kitchen_my_plug"]["model"] == "Xiaomi ZNCZ02LM"
    assert {info["service"] for info in recorder.infos.values()} == {"mqtt_importer"}

    for (name, channel), command in commands.items():
        recorder.set(name, {channel: command.value})
        eventually(partial(recorder.others.count, (command.topic, command.payload)))
    assert recorder.known("tasmota_5a9ae8")["relay"] is False  # the device decides
    recorder.publish("stat/tasmota_5A9AE8/POWER", "ON")
    eventually(lambda: recorder.known("tasmota_5a9ae8")["relay"] is True)

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    eventually(lambda: recorder.last("tasmota_5a9ae8") == "offline")
    assert "Traceback" not in importers.output()


def test_commands_that_cannot_be_carried_out_are_set_aside(
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    importers.start(PROBE + source("tasmota", "commands = true") + source("shelly1"))
    ready(recorder, eventually)
    recorder.publish("stat/plug/POWER", "OFF")
    recorder.publish("shellies/other/relay/0", "off")
    eventually(lambda: recorder.known("plug") and recorder.known("other"))
    recorder.set("plug", {"power": 5, "relay": "maybe"})
    recorder.publish(topics.device(NODE, "plug", "set"), "not JSON")
    recorder.set("other", {"relay": True})
    recorder.set("not_ours", {"relay": True})
    recorder.publish(f"{topics.ROOT}/{NODE}/devices/Not A Name/set", "{}")
    recorder.publish(topics.device(NODE, "plug", "set"), '{"relay": true}', retain=True)
    recorder.set("plug", {"relay": False})
    eventually(lambda: ("cmnd/plug/POWER", "OFF") in recorder.others)
    eventually(
        lambda: ("cmnd/plug/POWER", "ON") in recorder.others
    )  # retained, but published while the importer was connected
    status = reported(recorder, importers, eventually)
    assert status["counters"]["refused_commands"] == 4
    reasons = [item["why"] for item in status["set_aside"]]
    assert "only relay can be set" in reasons
    assert "neither true nor false" in reasons
    assert "not JSON" in reasons
    assert "source shelly1 does not have commands = true" in reasons
    assert not [topic for topic, _ in recorder.others if topic.endswith("/command")]


def test_two_texts_with_one_name_are_one_channel_and_one_that_is_set_aside(
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    importers.start(PROBE + source("zigbee2mqtt", 'channels = { power_2 = { name = "power" } }'))
    ready(recorder, eventually)
    recorder.publish("zigbee2mqtt/plug", '{"pvPower":1}')
    recorder.publish("zigbee2mqtt/plug", '{"pv_power":2,"pv":{"power":3},"power":4}')
    recorder.publish("zigbee2mqtt/plug", '{"power_2":5,"pvPower":6}')
    eventually(lambda: recorder.known("plug").get("pv_power") == 6)
    status = reported(recorder, importers, eventually)
    stored = {
        tuple(values.items()) for _, values in recorder.stored_of("plug")
    }  # some come again: the broker restarted
    assert stored == {(("pv_power", 1),), (("power", 4),), (("pv_power", 6),)}
    assert [item["what"] for item in status["set_aside"]] == [
        "pv_power: 'pv_power' would be called pv_power, which is the name of 'pvPower'",
        "pv.power: 'pv.power' would be called pv_power, which is the name of 'pvPower'",
        "power_2: 'power_2' would be called power, which is the name of 'power'",
    ]


@pytest.mark.parametrize(("is_old", "channel"), [(False, "kwh"), (True, "k_wh")])
def test_a_data_folder_from_before_keeps_the_former_spelling_of_channels(
    importers: Starter, recorder: Recorder, tmp_path: Path, eventually: Eventually, *, is_old: bool, channel: str
) -> None:
    if is_old:
        (tmp_path / "data" / "outbox" / "mqtt_importer").mkdir(parents=True)
    importers.start(PROBE + source("zigbee2mqtt"))
    ready(recorder, eventually)
    recorder.publish("zigbee2mqtt/Küche", '{"kWh":1}')
    eventually(lambda: recorder.known("kuche") == {channel: 1})


def reported(recorder: Recorder, importers: Starter, eventually: Eventually) -> dict[str, Any]:
    """Return a status that is younger than now: it is published on every connect."""
    now = time.time()
    broker = importers.broker
    broker.kill()
    broker.start()
    eventually(lambda: recorder.status.get("time", 0) > now and recorder.status.get("state") == "online")
    return recorder.status


def test_a_retained_command_is_an_old_one(importers: Starter, recorder: Recorder, eventually: Eventually) -> None:
    recorder.publish(topics.device(NODE, "plug", "set"), '{"relay": true}', retain=True)
    importers.start(PROBE + source("tasmota", "commands = true"))
    ready(recorder, eventually)
    recorder.publish("stat/plug/POWER", "OFF")
    eventually(lambda: recorder.known("plug"))
    recorder.set("plug", {"relay": False})
    eventually(lambda: ("cmnd/plug/POWER", "OFF") in recorder.others)
    assert ("cmnd/plug/POWER", "ON") not in recorder.others


def test_retained_messages_describe_a_device_and_are_not_readings(
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    recorder.publish("stat/plug/POWER", "ON", retain=True)
    recorder.publish("tele/plug/LWT", "Online", retain=True)
    recorder.publish("shellies/other/relay/0", "on", retain=True)
    importers.start(PROBE + source("tasmota", "commands = true") + source("shelly1", "import_retained = true"))
    ready(recorder, eventually)
    eventually(lambda: recorder.known("other") == {"relay": True})
    eventually(lambda: "plug" in recorder.infos)
    eventually(lambda: recorder.last("plug") == "online")
    eventually(lambda: ("cmnd/plug/STATE", "") in recorder.others)
    recorder.set("plug", {"relay": False})
    eventually(lambda: ("cmnd/plug/POWER", "OFF") in recorder.others)
    assert recorder.known("plug") == {}
    assert recorder.stored_of("plug") == []


def test_a_last_will_makes_a_device_offline_and_its_next_message_online(
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    importers.start(PROBE + source("tasmota") + source("zigbee2mqtt"))
    ready(recorder, eventually)
    recorder.publish("tele/plug/LWT", "Offline")  # the device is still unknown
    recorder.publish("tele/plug/INFO1", '{"Info1":{"Module":"Sonoff Pow"}}')
    recorder.publish("tele/never/LWT", "Online")  # never imported: it has no values
    recorder.publish("stat/plug/POWER", "ON")
    recorder.publish("zigbee2mqtt/one", '{"power":1}')
    eventually(lambda: recorder.last("plug") == "online" and recorder.last("one") == "online")
    recorder.publish("tele/plug/LWT", "Offline")
    recorder.publish("zigbee2mqtt/bridge/state", '{"state":"offline"}')
    eventually(lambda: recorder.last("plug") == "offline" and recorder.last("one") == "offline")
    recorder.publish("tele/plug/LWT", "Online")
    recorder.publish("zigbee2mqtt/one", '{"power":2}')
    eventually(lambda: recorder.last("plug") == "online" and recorder.last("one") == "online")
    assert recorder.infos["plug"]["model"] == "Tasmota Sonoff Pow"
    assert {name for name, _ in recorder.availability} == {"plug", "one", "ready_probe"}


def test_devices_of_like_names_stay_apart_over_restarts(
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    section = PROBE + source("zigbee2mqtt", 'devices = { "Wohnzimmer (alt)" = "old" }')
    process = importers.start(section)
    ready(recorder, eventually)
    recorder.publish("zigbee2mqtt/Küche/Plug 1", '{"power":1}')
    recorder.publish("zigbee2mqtt/küche plug_1", '{"power":2}')
    recorder.publish("zigbee2mqtt/Wohnzimmer (alt)", '{"power":3}')
    recorder.publish("zigbee2mqtt/%%", '{"power":4}')
    expected = {"kuche_plug_1": {"power": 1}, "kuche_plug_1_2": {"power": 2}, "old": {"power": 3}}
    eventually(lambda: {name: recorder.known(name) for name in expected} == expected)
    process.terminate()
    assert process.wait(timeout=30) == 0
    recorder.states.clear()
    importers.start(section)
    ready(recorder, eventually)
    recorder.publish("zigbee2mqtt/küche plug_1", '{"power":2}')  # the other way round this time
    recorder.publish("zigbee2mqtt/Küche/Plug 1", '{"power":1}')
    eventually(
        lambda: recorder.known("kuche_plug_1") == {"power": 1} and recorder.known("kuche_plug_1_2") == {"power": 2}
    )
    assert importers.output().count("'%%' is not the name of a device") == 1


def test_a_device_keeps_its_own_timestamp_if_it_is_credible(
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    importers.start(PROBE + source("tasmota", 'timezone = "Asia/Kathmandu"') + source("emonhub") + source("shelly2"))
    ready(recorder, eventually)
    begun = time.time()
    own = int(begun) - 30
    local = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(own + 5 * 3600 + 45 * 60))
    recorder.publish("tele/plug/SENSOR", json.dumps({"Time": local, "ENERGY": {"Power": 1}}))
    recorder.publish("tele/lost/SENSOR", '{"Time":"1970-01-01T00:33:28","ENERGY":{"Power":22}}')
    recorder.publish("emon/JSON/emontx", json.dumps({"power1": 1, "time": own + 0.25}))
    recorder.publish("emon/JSON/old", '{"power1": 100, "time": 1399980731.7}')
    recorder.publish(
        "shellyplus1-1/events/rpc",
        json.dumps({"method": "NotifyStatus", "params": {"ts": begun + 9e6, "switch:0": {"apower": 1}}}),
    )
    for name in ("plug", "lost", "emontx", "old", "shellyplus1-1"):
        eventually(partial(recorder.stored_of, name))
    assert recorder.stored_of("plug")[0][0] == own
    assert recorder.stored_of("emontx")[0][0] == own + 0.25
    for name in ("lost", "old", "shellyplus1-1"):
        assert begun - 1 <= recorder.stored_of(name)[0][0] <= time.time()


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
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    process = importers.start(ALL)
    ready(recorder, eventually)
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
            recorder.publish(topic, payload)
        recorder.publish("stat/pace/STATUS8", json.dumps({"StatusSNS": {"ENERGY": {"Power": number}}}))
        eventually(partial(recorder.shows, "pace", {"power": number}))  # no more waits than there is room for
    recorder.publish("tele/hostile/SENSOR", '{"ENERGY":{"Power":NaN,"Voltage":230.5}}')
    eventually(lambda: recorder.known("hostile").get("voltage") == 230.5)
    assert process.poll() is None
    # what is known of devices is reported two seconds later
    eventually(lambda: "hostile" in reported(recorder, importers, eventually)["facts"]["devices"])
    status = recorder.status
    assert status["counters"]["refused"] >= 100
    assert status["counters"]["no_value"] >= status["facts"]["devices"]["hostile"]["without_value"] >= 1
    assert status["counters"]["dropped_messages"] == status["counters"]["oversized_messages"] == 0
    assert status["set_aside"]
    assert "power" not in recorder.known("hostile")


def test_unknown_topics_are_counted_and_the_newest_are_shown(
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    importers.start('[mqtt_importer]\nwatch = ["#"]\n' + PROBE + source("tasmota") + source("shelly2"))
    ready(recorder, eventually)
    for number in range(30):
        recorder.publish(f"heating/{number}", f"{number}.5")
    recorder.publish("shelly/status/presence:0", '{"num_objects":2}')
    recorder.publish("shelly/events/rpc", '{"method":"NotifyStatus","params":{"switch:0":{"apower":5,"phase":7}}}')
    recorder.publish("heating/29", "again")
    recorder.publish("stat/plug/POWER", "ON")
    eventually(lambda: recorder.known("plug"))

    def shown() -> object:
        unknown = reported(recorder, importers, eventually)["facts"].get("unknown_topics")
        return unknown if unknown and unknown[0]["topic"] == "heating/29" else None

    unknown = eventually(shown)
    assert isinstance(unknown, list)
    assert unknown[0] == {"topic": "heating/29", "count": 2, "payload": "again"}
    assert unknown[1] == {"topic": "shelly/events/rpc switch:0.phase", "count": 1, "payload": "7"}
    assert unknown[2] == {"topic": "shelly/status/presence:0", "count": 1, "payload": '{"num_objects":2}'}
    assert [item["topic"] for item in unknown[3:5]] == ["heating/28", "heating/27"]
    assert len(unknown) == 20
    assert recorder.status["counters"]["unknown_messages"] == 33  # nothing of our own among them


def test_the_radio_devices_of_a_zigbee_bridge_are_devices_and_offline_with_it(
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    importers.start(PROBE + source("tasmota"))
    ready(recorder, eventually)
    kitchen = {"Device": "0x1A2B", "Name": "Kitchen", "Temperature": 21.5, "Endpoint": 1}
    recorder.publish("tele/zbbridge/SENSOR", json.dumps({"ZbReceived": {"0x1A2B": kitchen, "0x9F01": {"Power": 1}}}))
    eventually(lambda: recorder.known("zbbridge_0x9f01"))
    assert recorder.known("zbbridge_kitchen") == {"temperature": 21.5}
    assert recorder.known("zbbridge_0x9f01") == {"power": True}
    recorder.publish("tele/zbbridge/LWT", "Offline")
    eventually(lambda: {recorder.last("zbbridge_kitchen"), recorder.last("zbbridge_0x9f01")} == {"offline"})
    recorder.publish("tele/zbbridge/SENSOR", json.dumps({"ZbReceived": {"0x1A2B": kitchen}}))
    eventually(lambda: recorder.is_online("zbbridge_kitchen"))
    assert "zbbridge" not in recorder.infos


def test_overlapping_filters_make_one_reading_of_one_message(
    importers: Starter, recorder: Recorder, eventually: Eventually
) -> None:
    maps = '[{ topic = "x/+/power", device = "{1}" }, { topic = "x/y/+", device = "y" }, { topic = "+/y/+", device = "y" }]'
    importers.start(PROBE + source("map", f"maps = {maps}"))
    ready(recorder, eventually)
    for power in range(5):
        recorder.publish("x/y/power", str(power))
    eventually(lambda: len(recorder.stored_of("y")) >= 5)
    recorder.publish("x/z/power", "1")
    eventually(lambda: recorder.stored_of("z"))
    assert [values for _, values in recorder.stored_of("y")] == [{"power": power} for power in range(5)]


def test_a_broker_that_restarts_is_found_again(
    importers: Starter, recorder: Recorder, eventually: Eventually, broker: LocalBroker
) -> None:
    process = importers.start(PROBE + source("tasmota"))
    ready(recorder, eventually)
    recorder.publish("stat/plug/POWER", "ON")
    eventually(lambda: recorder.known("plug") == {"relay": True})
    for relay in (False, True):
        broker.kill()
        broker.start()
        recorder.states.clear()
        eventually(lambda: recorder.bus.connected)
        ready(recorder, eventually)
        recorder.publish("stat/plug/POWER", "ON" if relay else "OFF")
        eventually(partial(recorder.shows, "plug", {"relay": relay}))
    assert process.poll() is None


class SecuredBroker:
    """A broker of somebody else: with a user, with TLS if there is a certificate, on a port of its own."""

    def __init__(self, folder: Path, *, tls: bool) -> None:
        folder.mkdir()
        self.port = free_port()
        secrets = folder / "secrets"
        command = [sys.executable, "-m", "cli.secrets", str(secrets), "--user", "house", "--user", "recorder"]
        subprocess.run([*command, *(["--tls", "localhost"] if tls else [])], check=True, capture_output=True)
        self.passwords = {user: (secrets / user).read_text().strip() for user in ("house", "recorder")}
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
    importers: Starter, recorder: Recorder, eventually: Eventually, tmp_path: Path, tls: bool, version: str
) -> None:
    remote = SecuredBroker(tmp_path / "remote", tls=tls)
    ca = f'ca = "{remote.ca}"\n' if tls else ""
    process = importers.start(
        source("tasmota", 'broker = "house"\ncommands = true')
        + f'[mqtt_importer.brokers.house]\nhost = "localhost"\nport = {remote.port}\nversion = "{version}"\n'
        + f'user = "house"\npassword = "file:{remote.password_file}"\n{ca}'
    )
    eventually(lambda: "broker house" in importers.output())  # it is away at first
    away = {"house": f"at localhost:{remote.port} is away"}
    eventually(lambda: recorder.status.get("facts", {}).get("broker_problems") == away)
    try:
        for power in (1, 2):
            remote.start()
            with Recorder(remote.port, password=remote.passwords["recorder"], name="other", ca=remote.ca) as house:

                def imported(house: Recorder = house, power: int = power) -> bool:
                    house.publish("tele/plug/SENSOR", json.dumps({"ENERGY": {"Power": power}}))
                    return recorder.known("plug").get("power") == power

                eventually(imported)
                eventually(lambda: recorder.last("plug") == "online")
                house.publish("stat/plug/POWER", "OFF")
                eventually(lambda: recorder.known("plug").get("relay") is False)
                recorder.set("plug", {"relay": True})
                eventually(partial(house.others.count, ("cmnd/plug/POWER", "ON")))
                assert not [topic for topic, _ in house.others if topic.startswith(topics.ROOT)]
            remote.kill()
            eventually(lambda: recorder.last("plug") == "offline")
    finally:
        remote.kill()
    assert process.poll() is None
    assert remote.passwords["house"] not in importers.output()


def test_the_own_broker_under_another_name_gets_a_client_of_its_own(
    importers: Starter, broker: LocalBroker, recorder: Recorder, eventually: Eventually
) -> None:
    """With one identifier the two connections ended each other again and again."""
    importers.start(
        source("tasmota", 'broker = "mine"')
        + f'[mqtt_importer.brokers.mine]\nhost = "localhost"\nport = {broker.port}\n'
    )
    for power in range(3):

        def imported(power: int = power) -> bool:
            recorder.publish("tele/plug/SENSOR", json.dumps({"ENERGY": {"Power": power}}))
            return recorder.known("plug").get("power") == power

        eventually(imported)
    output = importers.output()
    assert "lost the broker" not in output
    assert "is lost" not in output


def test_without_sources_it_logs_that_and_waits(importers: Starter, recorder: Recorder, eventually: Eventually) -> None:
    process = importers.start("")
    eventually(lambda: recorder.status.get("state") == "online")
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert "nothing to import" in importers.output()
