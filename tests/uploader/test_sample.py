import tomllib

import msgspec

from services.uploader.settings import Uploader
from services.uploader.targets.influxdb import target as influxdb
from tests.samples import loaded, sections


def test_the_sample_tells_the_truth_and_all_of_it() -> None:
    shipped, spelled_out = sections("uploader")
    spelled, defaults = (loaded(Uploader, "uploader", text) for text in (spelled_out, shipped))
    assert isinstance(spelled, Uploader)
    assert isinstance(defaults, Uploader)
    assert spelled.parsed() == defaults.parsed()
    section = tomllib.loads(spelled_out)["uploader"]
    assert set(section) == {field.name for field in msgspec.structs.fields(Uploader)}
    (target,) = section["targets"]
    assert set(target) == {"kind"} | {field.encode_name for field in msgspec.structs.fields(influxdb.Options)}
