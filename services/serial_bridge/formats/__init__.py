"""Formats, one module each: formats/NAME.py parses what comes from ports with `format = "NAME"`.

Its function `parser(source, context)` returns a readings.LineParser; it raises ValueError if the options of the port do not
go with the format. A format whose unit is not a line has a function `splitter(joined_late)`, too, that returns a
readings.StreamSplitter; its parser returns a readings.BlockParser. `BAUD` is the usual speed of a port with this format.
A format that `auto` can detect has `DETECTION`, a readings.Detection.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple

from heliograph import nearest
from services.serial_bridge.parsing.readings import Detection, ParseResult, StreamSplitter

AUTO = "auto"
BAUD = 38_400


class FormatModule(NamedTuple):
    """The contents of a format's module.

    `splitter` is None if the format is one of lines, `detection` if `auto` cannot tell it from others.
    """

    name: str
    parser: Callable[[Any, Any], Callable[[Any], ParseResult]]
    splitter: Callable[[bool], StreamSplitter] | None
    baud: int
    detection: Detection | None


def known() -> list[str]:
    """Return the names of all formats, without `auto`, which detects one of them."""
    return sorted(module.name for module in iter_modules(__path__))


def load(name: str) -> FormatModule:
    """Return a format; raise ValueError if there is no such format."""
    if name not in known():
        raise ValueError(f"no such format: {name!r}{nearest.choices(name, [AUTO, *known()])}")
    module = import_module(f"{__name__}.{name}")
    return FormatModule(
        name,
        module.parser,
        getattr(module, "splitter", None),
        getattr(module, "BAUD", BAUD),
        getattr(module, "DETECTION", None),
    )


def detectable() -> list[FormatModule]:
    """Return the formats that `auto` detects, the more specific ones first."""
    formats = [one for one in map(load, known()) if one.detection]
    return sorted(formats, key=lambda one: -one.detection.specificity if one.detection else 0)
