"""The [uploader] section of the configuration."""

from collections.abc import Mapping
from typing import Any, ClassVar

from heliograph.config import ServiceOptions
from services.uploader.options import TargetOptions
from services.uploader.targets import parse_options


class Uploader(ServiceOptions, frozen=True):
    """The [uploader] section: the options of a target depend on its type, see `parsed`."""

    RENAMED: ClassVar[Mapping[str, str]] = {"store": "[node] store"}

    targets: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Refuse targets that are not valid, and two of the same name."""
        self.parsed()

    def parsed(self) -> tuple[TargetOptions, ...]:
        """Return the options of all targets; raise ValueError."""
        targets: dict[str, TargetOptions] = {}
        for index, values in enumerate(self.targets):
            where = f"targets.{values['name']}" if isinstance(values.get("name"), str) else f"targets[{index}]"
            try:
                options = parse_options(values)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            if options.name in targets:
                raise ValueError(f"targets: two are called {options.name!r}")
            targets[options.name] = options
        return tuple(targets.values())
