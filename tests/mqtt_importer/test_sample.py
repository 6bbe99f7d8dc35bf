import tomllib
from typing import Any

import msgspec

from services.mqtt_importer import families
from services.mqtt_importer.options import ForeignBroker, MqttImporter, Override, Source
from tests.samples import sections

SHIPPED, SPELLED_OUT = sections("mqtt_importer")


def section(text: str) -> dict[str, Any]:
    found = tomllib.loads(text)["mqtt_importer"]
    assert isinstance(found, dict)
    return found


def names(kind: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind)}


def test_every_default_in_the_sample_is_the_true_one() -> None:
    assert section(SPELLED_OUT) != section(SHIPPED)
    assert msgspec.convert(section(SPELLED_OUT), MqttImporter) == msgspec.convert(section(SHIPPED), MqttImporter)


def test_every_option_is_in_the_sample() -> None:
    spelled = section(SPELLED_OUT)
    assert set(spelled) == names(MqttImporter)
    assert set(spelled["sources"][0]) == names(Source)
    assert set(spelled["brokers"]["house"]) == names(ForeignBroker)
    for name in names(Override):
        assert name in SHIPPED


def test_the_sample_names_every_family() -> None:
    for name in families.known():
        assert f"\n##   {name} " in SHIPPED


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
    found = tomllib.loads('[[mqtt_importer.sources]]\nfamily = "map"\n' + text)["mqtt_importer"]
    assert len(msgspec.convert(found, MqttImporter).sources[0].maps) == 4
