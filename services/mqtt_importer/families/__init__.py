"""Families of devices, one module each: families/NAME.py reads the topics of sources with `family = "NAME"`.

Its function `family(source)` returns a heard.Family; it raises ValueError if the options of
the source do not go with the family.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from services.mqtt_importer.heard import Family


def known() -> list[str]:
    """Return the names of all families."""
    return sorted(module.name for module in iter_modules(__path__))


def load(name: str) -> Callable[[Any], Family]:
    """Return the `family` function of a family; raise ValueError if there is no such family."""
    if name not in known():
        raise ValueError(f"family: no such family: {name!r}; known are {', '.join(known())}")
    made: Callable[[Any], Family] = import_module(f"{__name__}.{name}").family
    return made
