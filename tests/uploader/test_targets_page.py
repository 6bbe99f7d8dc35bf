import re
import tomllib

import msgspec
import pytest

from heliograph import config
from services.uploader import kinds
from services.uploader.options import TargetOptions, secrets
from services.uploader.settings import Uploader
from tests.conftest import ROOT

PAGE = (ROOT / "docs/targets.md").read_text()
SAMPLES = re.findall(r"^## (\w+)$.*?```toml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


def parsed(sample: str) -> TargetOptions:
    read = tomllib.loads(sample.replace('"file:/run/secrets/', '"secret-'))
    (options,) = config.section(Uploader, read, "uploader", ROOT / "docs/targets.md").parsed()
    return options


@pytest.mark.parametrize(("kind", "sample"), SAMPLES, ids=[kind for kind, _ in SAMPLES])
def test_the_sample_of_each_kind_is_taken(kind: str, sample: str) -> None:
    options = parsed(sample)
    assert type(options) is kinds.load(kind).Options
    assert secrets(options)


@pytest.mark.parametrize(("kind", "sample"), SAMPLES, ids=[kind for kind, _ in SAMPLES])
def test_what_is_commented_out_is_the_default_or_possible(kind: str, sample: str) -> None:
    for line in re.findall(r"^# (\w+ = .*)$", sample, re.MULTILINE):
        told = tomllib.loads(line)
        (name,) = told
        fields = {field.encode_name: field for field in msgspec.structs.fields(kinds.load(kind).Options)}
        assert name in fields, line
        msgspec.convert(
            told[name].replace("file:", "") if isinstance(told[name], str) else told[name], fields[name].type
        )


def test_every_kind_that_sends_to_others_has_its_section() -> None:
    assert {kind for kind, _ in SAMPLES} >= set(kinds.KINDS) - {"influxdb", "file"}
