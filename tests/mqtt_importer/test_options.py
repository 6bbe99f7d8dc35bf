import tomllib
from pathlib import Path

import pytest

from heliograph import config
from heliograph.errors import ConfigError
from services.mqtt_importer import families
from services.mqtt_importer.message_queue import MAX_BYTES, MAX_PAYLOAD_BYTES, MessageQueue, ReceivedMessage
from services.mqtt_importer.options import MqttImporter, RemoteBroker
from services.mqtt_importer.parsing import json_paths, timestamps, topic_filters
from services.mqtt_importer.source import MqttSource

SOURCE = '[[mqtt_importer.sources]]\nfamily = "tasmota"\n'
BROKER = '[mqtt_importer.brokers.house]\nhost = "h"\n'


def load(text: str) -> MqttImporter:
    return config.section(MqttImporter, tomllib.loads(text), "mqtt_importer", Path("config.toml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[mqtt_importer.sources]]\nfamily = "nest"',
            f"no such family: 'nest'; there are {', '.join(families.known())}",
        ),
        (SOURCE + SOURCE, "two are called 'tasmota'"),
        (SOURCE + 'broker = "house"', "there is no [mqtt_importer.brokers.house]"),
        (SOURCE + 'topic = "a/#"', "not the beginning of a topic"),
        (SOURCE + 'topic = "tele/%topic%"', "%prefix%"),
        (SOURCE + 'timezone = "Mars/Olympus"', "'Mars/Olympus' is not a time zone"),
        (SOURCE + 'timezone = "../../etc/passwd"', "is not a time zone"),
        (SOURCE + "max_timestamp_age = nan", "max_timestamp_age: nan"),
        (SOURCE + 'devices = { a = "A/B" }', "'A/B' is not a name"),
        (SOURCE + 'devices = { a = "b", c = "b" }', "devices: two have the same name"),
        (SOURCE + 'channels = { a = { name = "A" } }', "'A' is not the name of a channel"),
        (SOURCE + "channels = { a = { scale = 0.0 } }", "not a factor"),
        (SOURCE + 'maps = [{ topic = "a", device = "b" }]', "only sources of the family map"),
        ('[[mqtt_importer.sources]]\nfamily = "map"', "needs at least one"),
        ('[[mqtt_importer.sources]]\nfamily = "map"\nmaps = [{ topic = "a/b#", device = "b" }]', "not a topic filter"),
        ('[[mqtt_importer.sources]]\nfamily = "map"\nmaps = [{ topic = "a", device = "" }]', "device: is empty"),
        (
            '[[mqtt_importer.sources]]\nfamily = "map"\nmaps = [{ topic = "heliograph/+/devices/+/state", device = "{2}" }]',
            "is our own",
        ),
        (
            '[[mqtt_importer.sources]]\nfamily = "map"\n'
            'maps = [{ topic = "a", device = "b", values = { c = { path = "a..b" } } }]',
            "'a..b' is not a path",
        ),
        (
            '[[mqtt_importer.sources]]\nfamily = "map"\n'
            'maps = [{ topic = "a", device = "b", values = { "Power 1" = {}, power_1 = {} } }]',
            "maps: values: 'power_1' would be called power_1, as 'Power 1' is",
        ),
        ('[mqtt_importer]\nwatch = ["a/#/b"]', "not a topic filter"),
        ("[mqtt_importer]\nmax_devices = 0", "max_devices"),
        (SOURCE + "past = 60", "past; it is now max_timestamp_age"),
        (SOURCE + "retained = true", "retained; it is now import_retained"),
        ("[mqtt_importer]\nmost_devices = 5", "most_devices; it is now max_devices"),
        (BROKER + 'client = "pi"', "client; it is now client_id"),
        (BROKER + "port = 70000", "70000 is not between"),
        (BROKER + 'version = "4"', "expected 3.1.1 or 5"),
        (BROKER + 'password = "x"', "user: is empty"),
        (BROKER + 'key = "x"', "certificate: is empty"),
        (BROKER + 'ca = "/not/there"', "cannot use '/not/there'"),
        (BROKER + 'certificate = "/not/there"', "cannot use '/not/there'"),
    ],
)
def test_a_wrong_section_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_another_heliograph_may_be_imported_from_another_broker() -> None:
    maps = 'maps = [{ topic = "heliograph/+/devices/+/state", device = "{2}" }]'
    assert load(f'[[mqtt_importer.sources]]\nfamily = "map"\nbroker = "house"\n{maps}\n{BROKER}').sources


def test_the_port_follows_the_encryption() -> None:
    assert RemoteBroker(host="h").address == ("h", 1883)
    assert RemoteBroker(host="h", tls=True).address == ("h", 8883)
    assert RemoteBroker(host="h", tls=True, port=1884).address == ("h", 1884)


def test_a_local_time_that_comes_twice_is_the_nearer_one() -> None:
    berlin = MqttSource(family="tasmota", timezone="Europe/Berlin").zone()
    summer, winter = 1_761_438_600.0, 1_761_442_200.0  # 2025-10-26, 02:30 twice
    assert timestamps.credible("2025-10-26T02:30:00", berlin, summer + 5, 600) == summer
    assert timestamps.credible("2025-10-26T02:30:00", berlin, winter + 5, 600) == winter
    assert timestamps.credible("2025-10-26T02:30:00+02:00", None, summer + 5, 600) == summer
    assert timestamps.credible("2025-10-26T02:30:00", None, summer + 5, 600) is None
    assert timestamps.credible(summer * 1000, None, summer + 5, 600) == summer
    assert timestamps.credible(summer + 61, None, summer, 600) is None
    assert timestamps.credible(summer - 601, None, summer, 600) is None


def test_paths_and_filters() -> None:
    assert json_paths.follow(json_paths.parse('a["b.c"][1].d'), {"a": {"b.c": [0, {"d": 7}]}}) == 7
    assert topic_filters.wildcards("a/+/#", "a/b/c/d") == ("b", "c/d")
    assert topic_filters.wildcards("a/#", "a") == ("",)
    assert topic_filters.wildcards("#", "$SYS/broker") is None
    assert topic_filters.without_covered(["a/#", "a/+/c", "a", "+/b", "b/+"]) == ["+/b", "a/#", "b/+"]


def test_a_flood_is_dropped_and_counted_and_what_was_read_leaves_room() -> None:
    messages = MessageQueue()
    one = ReceivedMessage("", "a", bytes(MAX_PAYLOAD_BYTES), False, None)
    for _ in range(MAX_BYTES // MAX_PAYLOAD_BYTES + 3):
        messages.put(one)
    messages.put(one._replace(payload=bytes(MAX_PAYLOAD_BYTES + 1)))
    assert (messages.dropped, messages.oversized) == (3, 1)
    assert messages.get(0) == one
    messages.put(one)
    assert messages.dropped == 3
