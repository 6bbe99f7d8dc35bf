import re
import tomllib

import msgspec
import pytest

from heliograph import config
from services.uploader import targets
from services.uploader.options import TargetOptions, secret_names, secrets
from services.uploader.settings import Uploader
from tests.conftest import ROOT
from tests.uploader.lists import manual

INTRODUCTION = (ROOT / "docs/targets.md").read_text().partition("\n## ")[0]


def sample(kind: str) -> str:
    match = re.search(r"```toml\n(.*?)```", manual(kind), re.DOTALL)
    assert match, f"the docstring of targets/{kind} has no sample: ```toml … ```"
    return match[1]


def parsed(text: str) -> TargetOptions:
    read = tomllib.loads(text.replace('"file:/run/secrets/', '"secret-'))
    (options,) = config.section(Uploader, read, "uploader", ROOT / "docs/targets.md").parsed()
    return options


@pytest.mark.parametrize("kind", targets.known())
def test_the_sample_of_each_kind_is_accepted(kind: str) -> None:
    options = parsed(sample(kind))
    assert type(options) is targets.load(kind)
    assert bool(secrets(options)) == bool(secret_names(type(options)))


@pytest.mark.parametrize("kind", targets.known())
def test_what_is_commented_out_is_the_default_or_an_example(kind: str) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(targets.load(kind))}
    for line, comment in re.findall(r"^# (\w+ = .*?)(?: # (.*))?$", sample(kind), re.MULTILINE):
        ((name, value),) = tomllib.loads(line).items()
        assert name in fields, line
        shown = msgspec.convert(value.replace("file:", "") if isinstance(value, str) else value, fields[name].type)
        factory = fields[name].default_factory
        default = fields[name].default if factory is msgspec.NODEFAULT else factory()
        assert (shown == default) != comment.startswith("example"), f"{line}: the default is {default!r}"


@pytest.mark.parametrize("kind", [kind for kind in targets.known() if kind != "influxdb"])  # sample.toml has all of its
def test_every_option_of_a_kind_is_named(kind: str) -> None:
    shared, all_ = (
        {field.encode_name for field in msgspec.structs.fields(options)}
        for options in (TargetOptions, targets.load(kind))
    )
    text = INTRODUCTION + manual(kind)
    named = re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE) + re.findall(r"`(\w+)`", text)
    assert all_ - shared <= set(named), f"the docstring of targets/{kind} does not name these options"
