"""Families of devices, one module each: families/NAME.py parses the messages of sources with `family = "NAME"`.

The first line of its docstring goes into the lists of families in README.md and sample.toml. Its function
`family(source)` returns a parsed.Family; it raises ValueError if the options of the source do not suit the family.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from heliograph import nearest
from services.mqtt_importer.parsing.parsed import Family
from services.mqtt_importer.source import MqttSource


def known() -> list[str]:
    """Return the names of all families."""
    return sorted(module.name for module in iter_modules(__path__))


def load(name: str) -> Callable[[MqttSource], Family]:
    """Return the `family` function of a family; raise ValueError for an unknown family."""
    if name not in known():
        raise ValueError(f"family: no such family: {name!r}{nearest.choices(name, known())}")
    create: Callable[[MqttSource], Family] = import_module(f"{__name__}.{name}").family
    return create
