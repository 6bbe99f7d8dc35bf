"""The [storage] section."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from heliograph import topics
from heliograph.config import ServiceOptions


class Storage(ServiceOptions, frozen=True):
    """The [storage] section."""

    RENAMED: ClassVar[Mapping[str, str]] = {"url": "[node] store"}

    nodes: list[str] = msgspec.field(default_factory=list)
    commit_seconds: float = 10.0
    keep_years: float = 0.0
    keep_raw_years: float = 0.0
    keep_gigabytes: float = 0.0
    backup: str = ""

    def __post_init__(self) -> None:
        """Refuse names that no node can have, and numbers out of range."""
        for node in self.nodes:
            topics.name(node, "nodes")
        for option in ("keep_years", "keep_raw_years", "keep_gigabytes"):
            if getattr(self, option) < 0:
                raise ValueError(f"{option}: {getattr(self, option)} is less than 0, which keeps everything")
        if self.backup and not self.backup.startswith("/"):
            raise ValueError(
                f"backup: expected the path of a folder, such as /media/usb/heliograph, found {self.backup!r}"
            )
        if not 0.01 <= self.commit_seconds <= 30:
            raise ValueError(f"commit_seconds: {self.commit_seconds} is not between 0.01 and 30")
