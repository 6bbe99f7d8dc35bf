"""True is a number to Python: no option of any section that is a number takes it."""

import types
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliograph import config
from heliograph.config import Config
from heliograph.errors import ConfigError
from tests.conftest import ROOT

MODULES = [
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for folder in ("heliograph", "services")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "Config" in path.read_text() and "frozen=True" in path.read_text()
]


def sections(kind: type[Config] = Config) -> Iterator[type[Config]]:
    for one in kind.__subclasses__():
        if one.__module__.startswith(("heliograph", "services")):
            yield one
        yield from sections(one)


def alternatives(kind: Any) -> set[Any]:
    if typing.get_origin(kind) is typing.Annotated:
        return alternatives(typing.get_args(kind)[0])
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return {inner for one in typing.get_args(kind) for inner in alternatives(one)}
    return {kind}


def test_no_numeric_option_accepts_true() -> None:
    for module in MODULES:
        import_module(module)
    numbers = [
        (kind, field.encode_name)
        for kind in {*sections()}
        for field in msgspec.structs.fields(kind)
        if alternatives(field.type) & {int, float} and bool not in alternatives(field.type)
    ]
    assert len(numbers) > 60
    for kind, name in numbers:
        for value in (True, False):
            with pytest.raises(ConfigError, match=rf"\b{name}: expected .*{str(value).lower()}|{name}.*{value}"):
                config.section(kind, {"x": {name: value}}, "x", Path("mine.toml"))
