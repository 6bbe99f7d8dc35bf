"""Every family against payloads as its documents, or captures of devices, have them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from heliograph.messages import Channel
from services.mqtt_importer import families
from services.mqtt_importer.devices import Device
from services.mqtt_importer.heard import SILENCE, Family, Heard, NotUnderstood, Said, Switch
from services.mqtt_importer.options import Map, Override, Source, Wanted

STATE = Channel(kind="state")


def made(name: str, **options: Any) -> Family:
    return families.load(name)(Source(family=name, **options))


def heard(said: Said) -> Heard:
    assert isinstance(said, Heard), said
    return said


def values(said: Said, device: Device | None = None) -> dict[str, object]:
    found, refused = (device or Device("", "mqtt_importer", 0, {})).take(heard(said))
    assert refused == []
    return dict(found)


def channels(said: Said, overrides: Mapping[str, Override] | None = None) -> dict[str, Channel]:
    device = Device("", "mqtt_importer", 0, overrides or {})
    device.take(heard(said))
    return device.info.channels


# tasmota.github.io/docs/MQTT ("Command flow", "Examples"), and captures with energy.

TASMOTA_STATE = (
    b'{"Time":"2020-03-11T17:49:33","Uptime":"0T18:30:12","UptimeSec":66612,"Heap":28,"SleepMode":"Dynamic","Sleep":50,'
    b'"LoadAvg":19,"MqttCount":1,"POWER":"ON","Wifi":{"AP":1,"SSId":"no_net","BSSId":"82:2A:A8:D1:25:5D","Channel":6,'
    b'"RSSI":62,"Signal":-69,"LinkCount":1,"Downtime":"0T00:00:05"}}'
)
TASMOTA_SENSOR = (
    b'{"Time":"2022-10-18T12:08:14","ENERGY":{"TotalStartTime":"2022-10-13T10:12:20","Total":0.392,"Yesterday":0.179,'
    b'"Today":0.213,"Period":0,"Power":17,"ApparentPower":36,"ReactivePower":32,"Factor":0.47,"Voltage":230,'
    b'"Current":0.156},"ESP32":{"Temperature":26.7},"TempUnit":"C"}'
)


def test_tasmota_energy() -> None:
    said = made("tasmota").read("tele/tasmota_5A9AE8/SENSOR", TASMOTA_SENSOR)
    assert heard(said).device == "tasmota_5A9AE8"
    assert heard(said).time == "2022-10-18T12:08:14"
    assert values(said) == {
        "energy": 0.392,
        "energy_yesterday": 0.179,
        "energy_today": 0.213,
        "power": 17,
        "apparent_power": 36,
        "reactive_power": 32,
        "power_factor": 0.47,
        "voltage": 230,
        "current": 0.156,
        "esp32_temperature": 26.7,
    }
    found = channels(said)
    assert found["energy"] == Channel("kWh", "counter")
    assert found["energy_yesterday"] == Channel("kWh")
    assert found["reactive_power"] == Channel("var")
    assert found["esp32_temperature"] == Channel("°C")


def test_tasmota_fahrenheit_is_what_it_says() -> None:
    said = made("tasmota").read("tele/x/SENSOR", b'{"BME280":{"Temperature":77.0,"Pressure":29.9},"TempUnit":"F"}')
    assert channels(said) == {"bme280_temperature": Channel("°F"), "bme280_pressure": Channel("hPa")}


def test_tasmota_sensors_without_addresses_and_with_missing_values() -> None:
    said = made("tasmota").read(
        "tele/tasmota/SENSOR",
        b'{"Time":"2017-02-16T10:13:52","Switch1":"ON","DS18B20-1":{"Id":"01131B123456","Temperature":20.6},'
        b'"AM2301":{"Temperature":null,"Humidity":45.1}}',
    )
    assert values(said) == {"switch1": True, "ds18b20_1_temperature": 20.6, "am2301_humidity": 45.1}


def test_tasmota_phases() -> None:
    said = made("tasmota").read(
        "tele/meter/SENSOR", b'{"ENERGY":{"Total":1.5,"Power":[10,20,30],"Voltage":[230,231,229]}}'
    )
    assert values(said) == {
        "energy": 1.5,
        "power_1": 10,
        "power_2": 20,
        "power_3": 30,
        "voltage_1": 230,
        "voltage_2": 231,
        "voltage_3": 229,
    }


def test_tasmota_state_is_switched_where_it_comes_from() -> None:
    said = made("tasmota").read("tele/tasmota_switch/STATE", TASMOTA_STATE)
    assert values(said) == {"uptime": 66612, "relay": True, "wifi_quality": 62, "wifi_signal": -69}
    assert heard(said).switches == {"relay": Switch("cmnd/tasmota_switch/POWER", "ON", "OFF")}
    four = made("tasmota").read("stat/tasmota/POWER4", b"OFF")
    assert values(four) == {"relay_4": False}
    assert heard(four).switches == {"relay_4": Switch("cmnd/tasmota/POWER4", "ON", "OFF")}


def test_tasmota_answers_count_once() -> None:
    family = made("tasmota")
    assert values(family.read("stat/tasmota_switch/POWER", b"ON")) == {"relay": True}
    assert family.read("stat/tasmota_switch/RESULT", b'{"POWER":"ON"}') == SILENCE
    assert values(family.read("stat/tasmota_switch/RESULT", TASMOTA_STATE))["relay"] is True
    assert values(family.read("stat/x/STATUS8", b'{"StatusSNS":' + TASMOTA_SENSOR + b"}"))["power"] == 17
    assert family.read("stat/x/STATUS6", b'{"StatusMQT":{"MqttHost":"1.1.1.1"}}') == SILENCE


def test_tasmota_last_will_and_model() -> None:
    family = made("tasmota")
    assert heard(family.read("tele/x/LWT", b"Offline")).availability == "offline"
    online = heard(family.read("tele/x/LWT", b"Online"))
    assert online.availability == "online"
    assert online.asks == (("cmnd/x/STATE", ""),)
    assert heard(family.read("tele/x/INFO1", b'{"Info1":{"Module":"Sonoff Pow","Version":"13.2"}}')).model == (
        "Tasmota Sonoff Pow"
    )
    with pytest.raises(NotUnderstood):
        family.read("tele/x/LWT", b"perhaps")


def test_tasmota_full_topics() -> None:
    family = made("tasmota", topic="tasmota/bedroom/%topic%/%prefix%/")
    assert family.filters == ("tasmota/bedroom/+/tele/#", "tasmota/bedroom/+/stat/#")
    said = family.read("tasmota/bedroom/lamp/stat/POWER", b"ON")
    assert heard(said).device == "lamp"
    assert heard(said).switches["relay"].topic == "tasmota/bedroom/lamp/cmnd/POWER"
    assert family.read("tasmota/kitchen/lamp/stat/POWER", b"ON") is None
    with pytest.raises(ValueError, match="%prefix%"):
        made("tasmota", topic="tasmota/%topic%")


# shelly-api-docs.shelly.cloud/gen1, "MQTT" and the devices' own sections.


def test_shelly1_plug() -> None:
    family = made("shelly1")
    plug = "shellies/shellyplug-s-C18B12"
    said = family.read(f"{plug}/relay/0", b"on")
    assert heard(said).device == "shellyplug-s-C18B12"
    assert values(said) == {"relay": True}
    assert heard(said).switches == {"relay": Switch(f"{plug}/relay/0/command", "on", "off")}
    assert values(family.read(f"{plug}/relay/0", b"overpower")) == {"relay": False}
    assert values(family.read(f"{plug}/relay/0/power", b"101.12")) == {"power": 101.12}
    energy = family.read(f"{plug}/relay/0/energy", b"12345")
    assert values(energy) == {"energy": 205.75}  # watt-minutes
    assert channels(energy) == {"energy": Channel("Wh", "counter")}
    assert values(family.read(f"{plug}/temperature", b"29.64")) == {"temperature": 29.64}
    assert values(family.read(f"{plug}/overtemperature", b"0")) == {"overtemperature": False}
    for topic in ("temperature_f", "relay/0/overpower_value", "relay/0/command", "info"):
        assert family.read(f"{plug}/{topic}", b"85.35") == SILENCE
    assert heard(family.read(f"{plug}/online", b"false")).availability == "offline"
    announced = b'{"id":"shellyplug-s-C18B12","model":"SHPLG-S","mac":"C8C9A3C18B12","new_fw":false}'
    assert heard(family.read(f"{plug}/announce", announced)).model == "Shelly SHPLG-S"
    assert family.read("shellies/announce", announced) == SILENCE
    assert family.read(f"{plug}/what/is/this", b"1") is None


def test_shelly1_meter_of_three_phases() -> None:
    family = made("shelly1")
    assert values(family.read("shellies/shellyem3-0A/emeter/0/total", b"1234.5")) == {"energy": 1234.5}
    assert values(family.read("shellies/shellyem3-0A/emeter/2/total_returned", b"3.0")) == {"energy_returned_2": 3.0}
    assert values(family.read("shellies/shellyem3-0A/emeter/1/pf", b"-0.97")) == {"power_factor_1": -0.97}
    assert family.read("shellies/shellyem3-0A/emeter/1/energy", b"77") == SILENCE  # total has it, in Wh


def test_shelly1_sensors() -> None:
    family = made("shelly1")
    assert values(family.read("shellies/shellyht-1/sensor/humidity", b"44.5")) == {"humidity": 44.5}
    assert values(family.read("shellies/shellydw-1/sensor/state", b"open")) == {"open": True}
    assert values(family.read("shellies/shelly1-1/ext_temperature/1", b"21.06")) == {"ext_temperature_1": 21.06}


# shelly-api-docs.shelly.cloud/gen2: "Mqtt", "Notifications", "Switch", "EM"; frames as captured.


def test_shelly2_notifications_and_states() -> None:
    family = made("shelly2")
    plug = "shellyplus1-441793ab3fb4"
    frame = (
        b'{"src":"shellyplus1-441793ab3fb4","dst":"shellyplus1-441793ab3fb4/events","method":"NotifyStatus","params":'
        b'{"ts":1708179956.30,"switch:0":{"id":0,"temperature":{"tC":37.67,"tF":99.81}}}}'
    )
    said = heard(family.read(f"{plug}/events/rpc", frame))
    assert (said.device, said.time, said.model) == (plug, 1708179956.30, "Shelly shellyplus1")
    assert values(said) == {"device_temperature": 37.67}
    status = family.read(
        f"{plug}/status/switch:0",
        b'{"id":0, "source":"init", "output":false, "apower":27.1, "voltage":232.7, "current":0.12, "pf":0.97, '
        b'"aenergy":{"total":1523.3,"by_minute":[0,0,0],"minute_ts":1783004880},"temperature":{"tC":37.7, "tF":99.8}}',
    )
    assert values(status) == {
        "relay": False,
        "power": 27.1,
        "voltage": 232.7,
        "current": 0.12,
        "power_factor": 0.97,
        "energy": 1523.3,
        "device_temperature": 37.7,
    }
    assert channels(status)["energy"] == Channel("Wh", "counter")
    assert heard(status).switches == {"relay": Switch(f"{plug}/command/switch:0", "on", "off")}
    second = family.read(f"{plug}/status/switch:1", b'{"id":1,"output":true}')
    assert values(second) == {"relay_1": True}
    assert heard(family.read(f"{plug}/online", b"true")).availability == "online"


def test_shelly2_meters_and_what_is_no_measurement() -> None:
    family = made("shelly2", topic="garage")
    em = b'{"id":0,"a_voltage":230.1,"a_act_power":-950.2,"a_pf":0.98,"total_act_power":-950.2,"n_current":null}'
    assert values(family.read("garage/pro3em/status/em:0", em)) == {
        "voltage_a": 230.1,
        "power_a": -950.2,
        "power_factor_a": 0.98,
        "power": -950.2,
    }
    data = family.read("garage/pro3em/status/emdata:0", b'{"id":0,"total_act":5532.1,"total_act_ret":12.5}')
    assert values(data) == {"energy": 5532.1, "energy_returned": 12.5}
    assert channels(data)["energy"] == Channel("Wh", "counter")
    assert family.read("garage/pro3em/status/cloud", b'{"connected":true}') == SILENCE
    cloud = b'{"src":"shellyplus1-08b61fd90730","method":"NotifyStatus","params":{"ts":1736604020.06,"cloud":{"connected":true}}}'
    assert family.read("garage/x/events/rpc", cloud) == SILENCE
    assert family.read("garage/x/events/rpc", b'{"method":"NotifyEvent","params":{"ts":1,"events":[]}}') == SILENCE
    assert family.read("attic/x/online", b"true") is None
    assert family.read("garage/x/online", b"since yesterday") is None


# esphome.io/components/mqtt; discovery as home-assistant.io/integrations/mqtt has it.


def test_esphome_sensors_have_the_units_of_their_discovery() -> None:
    family = made("esphome")
    discovery = (
        b'{"unit_of_meas":"W","stat_cla":"measurement","dev_cla":"power","name":"Plug Power",'
        b'"stat_t":"livingroom/sensor/plug_power/state","avty_t":"livingroom/status"}'
    )
    assert family.read("homeassistant/sensor/livingroom/plug_power/config", discovery) == SILENCE
    longer = b'{"~":"livingroom","unit_of_measurement":"kWh","state_class":"total_increasing","state_topic":"~/sensor/total/state"}'
    family.read("homeassistant/sensor/livingroom/total/config", longer)
    power = family.read("livingroom/sensor/plug_power/state", b"12.4")
    assert heard(power).device == "livingroom"
    assert channels(power) == {"plug_power": Channel("W")}
    assert channels(family.read("livingroom/sensor/total/state", b"3.2")) == {"total": Channel("kWh", "counter")}
    assert values(family.read("livingroom/sensor/plug_power/state", b"nan")) == {}


def test_esphome_switches_lights_numbers_and_texts() -> None:
    family = made("esphome")
    said = family.read("livingroom/switch/relay/state", b"ON")
    assert values(said) == {"relay": True}
    assert heard(said).switches == {"relay": Switch("livingroom/switch/relay/command", "ON", "OFF")}
    assert values(family.read("livingroom/binary_sensor/window/state", b"OFF")) == {"window": False}
    assert values(family.read("livingroom/text_sensor/mode/state", b"mppt")) == {"mode": "mppt"}
    light = family.read("livingroom/light/lamp/state", b'{"state":"ON","brightness":255}')
    assert values(light) == {"lamp": True}
    number = heard(family.read("livingroom/number/limit/state", b"20"))
    assert number.switches["limit"].payload(25.5) == "25.5"
    assert heard(family.read("livingroom/status", b"offline")).availability == "offline"
    assert family.read("printer/status", b'{"pages":3}') is None


# zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages and …/exposes

BRIDGE_DEVICES = [
    {
        "ieee_address": "0x00158d00018255df",
        "type": "Router",
        "friendly_name": "kitchen/my_plug",
        "definition": {
            "model": "ZNCZ02LM",
            "vendor": "Xiaomi",
            "exposes": [
                {
                    "type": "switch",
                    "features": [
                        {
                            "type": "binary",
                            "name": "state",
                            "property": "state",
                            "value_on": "ON",
                            "value_off": "OFF",
                            "value_toggle": "TOGGLE",
                            "access": 7,
                        }
                    ],
                },
                {"type": "numeric", "name": "power", "property": "power", "unit": "W", "access": 5},
                {"type": "numeric", "name": "energy", "property": "energy", "unit": "kWh", "access": 1},
                {"type": "numeric", "name": "linkquality", "property": "linkquality", "unit": "lqi", "access": 1},
                {"type": "enum", "name": "mode", "property": "mode", "values": ["on", "restore"], "access": 7},
            ],
        },
    },
    {"friendly_name": "my_sensor", "definition": None, "supported": False},
    {"friendly_name": "Coordinator", "definition": None, "type": "Coordinator"},
]


def test_zigbee2mqtt_units_and_commands_come_from_exposes() -> None:
    family = made("zigbee2mqtt")
    assert family.read("zigbee2mqtt/bridge/devices", json.dumps(BRIDGE_DEVICES).encode()) == SILENCE
    payload = b'{"state":"ON","power":12.5,"energy":3.21,"linkquality":120,"mode":"on","last_seen":"2022-10-18T12:08:14+02:00"}'
    said = heard(family.read("zigbee2mqtt/kitchen/my_plug", payload))
    assert (said.device, said.model, said.time) == ("kitchen/my_plug", "Xiaomi ZNCZ02LM", "2022-10-18T12:08:14+02:00")
    assert values(said) == {"state": True, "power": 12.5, "energy": 3.21, "linkquality": 120, "mode": "on"}
    assert channels(said) == {
        "state": STATE,
        "power": Channel("W"),
        "energy": Channel("kWh", "counter"),
        "linkquality": Channel("lqi"),
        "mode": Channel(kind="text"),
    }
    assert said.switches["state"] == Switch("zigbee2mqtt/kitchen/my_plug/set", '{"state":"ON"}', '{"state":"OFF"}')
    assert said.switches["mode"].payload("restore") == '{"mode":"restore"}'
    assert set(said.switches) == {"state", "mode"}


def test_zigbee2mqtt_without_exposes_guesses() -> None:
    family = made("zigbee2mqtt")
    said = family.read(
        "zigbee2mqtt/my_sensor", b'{"temperature":27.34,"humidity":44.72,"occupancy":true,"action":"single"}'
    )
    assert values(said) == {"temperature": 27.34, "humidity": 44.72, "occupancy": True, "action": "single"}
    assert channels(said)["temperature"] == Channel("°C")
    assert heard(said).switches == {}


@pytest.mark.parametrize(
    ("payload", "state"), [(b"online", "online"), (b"offline", "offline"), (b'{"state":"offline"}', "offline")]
)
def test_zigbee2mqtt_availability(payload: bytes, state: str) -> None:
    family = made("zigbee2mqtt")
    said = heard(family.read("zigbee2mqtt/kitchen/my_plug/availability", payload))
    assert (said.device, said.availability) == ("kitchen/my_plug", state)
    bridge = heard(family.read("zigbee2mqtt/bridge/state", payload))
    assert (bridge.everyone, bridge.availability) == (True, state)
    assert family.read("zigbee2mqtt/kitchen/my_plug/set", b'{"state":"ON"}') == SILENCE
    assert family.read("zigbee2mqtt/bridge/logging", b'{"level":"info","message":"Zigbee: allowing"}') == SILENCE


# emonHub 2.7.19, EmonHubMqttInterfacer: what it published when it was run.


def test_emonhub_in_its_three_layouts() -> None:
    family = made("emonhub")
    assert values(family.read("emonhub/rx/10/values", b"100,200.5,-67")) == {"1": 100, "2": 200.5, "3": -67}
    assert values(family.read("emon/emontx/power1", b"100")) == {"power1": 100}
    rssi = family.read("emon/emontx/rssi", b"-67")
    assert channels(rssi) == {"rssi": Channel("dBm")}
    said = heard(
        family.read("emon/JSON/emontx", b'{"power1": 100, "power2": 200.5, "time": 1399980731.7, "rssi": -67}')
    )
    assert (said.device, said.time) == ("emontx", 1399980731.7)
    assert values(said) == {"power1": 100, "power2": 200.5, "rssi": -67}
    assert family.read("emon/emontx/power1", b"100") == SILENCE  # the JSON has it, with its time
    assert values(family.read("nodes/11/1", b"3")) == {"1": 3}
    assert family.read("emonhub/tx/20/values", b"14,38,34,700") is None


def test_a_node_of_emonhub_without_names_is_not_in_its_json_and_its_topics_count() -> None:
    family = made("emonhub")
    for _ in range(2):
        assert values(family.read("emon/11/1", b"3")) == {"1": 3}
        assert values(family.read("emon/11/2", b"4")) == {"2": 4}
        assert values(family.read("emonhub/rx/11/values", b"3,4")) == {"1": 3, "2": 4}
        assert values(family.read("emon/JSON/11", b'{"time": 1399980731.7}')) == {}


def test_emonhub_with_a_base_of_its_own() -> None:
    family = made("emonhub", topic="cellar")
    assert values(family.read("cellar/rx/11/values", b"3,4")) == {"1": 3, "2": 4}
    assert values(family.read("cellar/emontx/power1", b"7")) == {"power1": 7}
    assert family.read("emon/emontx/power1", b"7") is None


# Maps


def test_a_map_takes_paths_times_and_wildcards() -> None:
    described = Map(
        topic="solar/+/data",
        device="inverter_{1}",
        model="Home-made",
        time="ts",
        values={
            "pv_power": Wanted(path="ac[0].power", unit="W"),
            "total": Wanted(path='["e.total"]', unit="kWh"),
            "mode": Wanted(path="mode", kind="text"),
            "missing": Wanted(path="not.there"),
        },
    )
    family = made("map", maps=(described,))
    said = heard(
        family.read("solar/roof/data", b'{"ts":1763633000,"ac":[{"power":"812.5"}],"e.total":12.5,"mode":"on"}')
    )
    assert (said.device, said.time, said.model) == ("inverter_roof", 1763633000, "Home-made")
    assert values(said) == {"pv_power": 812.5, "total": 12.5, "mode": "on"}
    assert channels(said)["total"] == Channel("kWh", "counter")
    assert family.read("solar/roof", b"{}") is None


def test_a_map_takes_plain_values_switches_and_availability() -> None:
    relay = Wanted(kind="state", on="1", off="0", command="garden/{1}/set")
    level = Wanted(template='{"level": {value}}', command="garden/{1}/set")
    family = made(
        "map",
        maps=(
            Map(topic="garden/+/state", device="{1}", values={"relay": relay}),
            Map(topic="garden/+/level", device="{1}", values={"level": level}),
            Map(topic="garden/+/alive", device="{1}", availability=True, online="yes", offline="no"),
            Map(topic="house/+/+", device="{1}", values={"{2}": Wanted(unit="C")}),
        ),
    )
    said = heard(family.read("garden/pump/state", b"1"))
    assert values(said) == {"relay": True}
    assert said.switches == {"relay": Switch("garden/pump/set", "1", "0")}
    assert heard(family.read("garden/pump/level", b"50")).switches["level"].payload(20) == '{"level": 20}'
    assert heard(family.read("garden/pump/alive", b"no")).availability == "offline"
    kitchen = family.read("house/kitchen/Room Temperature", b"21.5")
    assert values(kitchen) == {"room_temperature": 21.5}
    assert channels(kitchen) == {"room_temperature": Channel("°C")}


def test_a_map_without_values_takes_everything() -> None:
    family = made("map", maps=(Map(topic="attic/#", device="attic"),))
    said = family.read("attic/weather", b'{"wind":{"speed":3.5,"gusts":[4,5]},"raining":false,"note":"dry"}')
    assert values(said) == {"wind_speed": 3.5, "wind_gusts_1": 4, "wind_gusts_2": 5, "raining": False, "note": "dry"}
    assert values(family.read("attic/lux", b"310")) == {"lux": 310}
    assert values(family.read("attic/fan", b"on")) == {"fan": True}


def test_a_wildcard_in_the_place_of_a_wildcard_is_text() -> None:
    family = made("map", maps=(Map(topic="a/+/+", device="{1}", values={"v": Wanted(command="c/{1}/{2}")}),))
    assert heard(family.read("a/{2}/x", b"1")).switches["v"].topic == "c/{2}/x"
