import tomllib

import msgspec

from services.mqtt_importer.options import MqttImporter, RemoteBroker
from services.mqtt_importer.source import ChannelOverride, MqttSource
from tests.samples import assert_sample_tells_the_truth, documented, fields, sections

SHIPPED, _ = sections("mqtt_importer")


def test_the_sample_documents_every_option_with_its_true_default() -> None:
    assert_sample_tells_the_truth(MqttImporter, "mqtt_importer")


def test_every_option_of_a_source_and_a_broker_is_in_the_sample() -> None:
    spelled = documented("mqtt_importer")
    assert set(spelled["sources"][0]) == fields(MqttSource)
    assert set(spelled["brokers"]["house"]) == fields(RemoteBroker)
    for name in fields(ChannelOverride):
        assert name in SHIPPED


def test_the_maps_in_the_sample_are_maps() -> None:
    lines = SHIPPED.split("\n")
    begin = lines.index("##   [[mqtt_importer.sources.maps]]")
    text = "\n".join(
        line.removeprefix("##").strip()
        for line in lines[
            begin : lines.index(
                "## Without values, every value in a JSON payload becomes a channel. A value that takes numbers has"
            )
        ]
    )
    section = tomllib.loads('[[mqtt_importer.sources]]\nfamily = "map"\n' + text)["mqtt_importer"]
    assert len(msgspec.convert(section, MqttImporter).sources[0].maps) == 4
