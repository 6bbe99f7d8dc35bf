"""Formats, one module each: formats/NAME.py reads what comes from ports with `format = "NAME"`.

Its function `parser(source, context)` returns a readings.Format, which reads lines; it raises
ValueError if the options of the port do not go with the format. A format whose unit is not
a line has a function `cutter(joined_late)`, too, that returns a readings.Cutter; its parser
returns a readings.BlockFormat. `BAUD` is the usual speed of a port that speaks the format.
A format that `auto` can recognise has `RECOGNITION`, a readings.Recognition.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple

from services.serial_bridge.readings import Cutter, Recognition, Said

AUTO = "auto"
BAUD = 38_400


class Kind(NamedTuple):
    """What the module of a format has.

    `cutter` is None if the format is one of lines, `recognition` if `auto` cannot tell it from others.
    """

    name: str
    parser: Callable[[Any, Any], Callable[[Any], Said]]
    cutter: Callable[[bool], Cutter] | None
    baud: int
    recognition: Recognition | None


def known() -> list[str]:
    """Return the names of all formats; `auto`, which finds out which of them it is, is none."""
    return sorted(module.name for module in iter_modules(__path__))


def load(name: str) -> Kind:
    """Return a format; raise ValueError if there is none of this name."""
    if name not in known():
        raise ValueError(f"no such format: {name!r}; known are {', '.join([AUTO, *known()])}")
    module = import_module(f"{__name__}.{name}")
    return Kind(
        name,
        module.parser,
        getattr(module, "cutter", None),
        getattr(module, "BAUD", BAUD),
        getattr(module, "RECOGNITION", None),
    )


def recognised() -> list[Kind]:
    """Return the formats that `auto` tells from each other, the more specific ones first."""
    kinds = [kind for kind in map(load, known()) if kind.recognition]
    return sorted(kinds, key=lambda kind: -kind.recognition.specificity if kind.recognition else 0)
