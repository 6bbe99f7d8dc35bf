"""The [uploader] section of the configuration."""

from collections.abc import Mapping
from typing import Any, ClassVar

from heliograph.config import Config
from services.uploader.options import TargetOptions
from services.uploader.targets import parse_options


class Uploader(Config, frozen=True):
    """The [uploader] section: what a target is made of depends on its kind, see `parsed`."""

    RENAMED: ClassVar[Mapping[str, str]] = {"store": "[node] store"}

    targets: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Refuse targets that are none, and two of the same name."""
        self.parsed()

    def parsed(self) -> tuple[TargetOptions, ...]:
        """Return the options of all targets; raise ValueError."""
        found: dict[str, TargetOptions] = {}
        for place, told in enumerate(self.targets):
            where = f"targets.{told['name']}" if isinstance(told.get("name"), str) else f"targets[{place}]"
            try:
                options = parse_options(told)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            if options.name in found:
                raise ValueError(f"targets: two are called {options.name!r}")
            found[options.name] = options
        return tuple(found.values())
