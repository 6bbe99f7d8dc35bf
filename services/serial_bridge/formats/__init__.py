"""Line formats, one module each: formats/NAME.py reads the lines of ports with `format = "NAME"`.

Its function `parser(port, nodes)` returns a readings.Format; it raises ValueError if the
options of the port do not go with the format.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from services.serial_bridge.readings import Format


def known() -> list[str]:
    """Return the names of all formats."""
    return sorted(module.name for module in iter_modules(__path__))


def load(name: str) -> Callable[[Any, Any], Format]:
    """Return the `parser` of a format; raise ValueError if there is no such format."""
    if name not in known():
        raise ValueError(f"no such format: {name!r}; known are {', '.join(known())}")
    parser: Callable[[Any, Any], Format] = import_module(f"{__name__}.{name}").parser
    return parser
