import re
import tomllib

import msgspec
import pytest

from heliograph import config
from services.uploader import targets
from services.uploader.options import TargetOptions, secret_names, secrets
from services.uploader.settings import Uploader
from tests.conftest import ROOT

PAGE = (ROOT / "docs/targets.md").read_text()
SAMPLES = re.findall(r"^## (\w+)$.*?```toml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
SECTIONS = dict(re.findall(r"^## (\w+)$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES = {  # commented out, and not the defaults
    ("emoncms", "names"),
    ("emoncms", "userid"),
    ("http", "user"),
    ("http", "password"),
    ("http", "success_codes"),
    ("mqtt", "port"),
}


def parsed(sample: str) -> TargetOptions:
    read = tomllib.loads(sample.replace('"file:/run/secrets/', '"secret-'))
    (options,) = config.section(Uploader, read, "uploader", ROOT / "docs/targets.md").parsed()
    return options


@pytest.mark.parametrize(("kind", "sample"), SAMPLES, ids=[kind for kind, _ in SAMPLES])
def test_the_sample_of_each_kind_is_taken(kind: str, sample: str) -> None:
    options = parsed(sample)
    assert type(options) is targets.load(kind)
    assert bool(secrets(options)) == bool(secret_names(type(options)))


@pytest.mark.parametrize(("kind", "sample"), SAMPLES, ids=[kind for kind, _ in SAMPLES])
def test_what_is_commented_out_is_the_default_or_an_example(kind: str, sample: str) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(targets.load(kind))}
    for line in re.findall(r"^# (\w+ = .*)$", sample, re.MULTILINE):
        ((name, told),) = tomllib.loads(line).items()
        assert name in fields, line
        value = msgspec.convert(told.replace("file:", "") if isinstance(told, str) else told, fields[name].type)
        factory = fields[name].default_factory
        default = fields[name].default if factory is msgspec.NODEFAULT else factory()
        assert (value == default) == ((kind, name) not in EXAMPLES), line


@pytest.mark.parametrize("kind", [kind for kind in targets.known() if kind != "influxdb"])  # sample.toml has all of its
def test_every_option_of_a_kind_is_named(kind: str) -> None:
    shared, all_ = (
        {field.encode_name for field in msgspec.structs.fields(options)}
        for options in (TargetOptions, targets.load(kind))
    )
    text = PAGE.partition("\n## ")[0] + SECTIONS[kind]
    named = re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE) + re.findall(r"`(\w+)`", text)
    assert all_ - shared <= set(named)


def test_every_kind_has_its_section() -> None:
    assert [kind for kind, _ in SAMPLES] == list(SECTIONS)
    assert set(SECTIONS) == set(targets.known())
