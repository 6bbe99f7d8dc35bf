"""The [home_assistant] section of the configuration."""

import re

from heliograph import topics
from heliograph.config import Config

_PREFIX = re.compile(r"[^/+#\x00]+(?:/[^/+#\x00]+)*")


class HomeAssistant(Config, frozen=True):
    """Whose devices Home Assistant shall see, and where it looks for them; no nodes: the one of this service."""

    nodes: tuple[str, ...] = ()
    prefix: str = "homeassistant"

    def __post_init__(self) -> None:
        """Refuse names that no node has, and a prefix that is no topic."""
        for node in self.nodes:
            topics.name(node)
            if self.nodes.count(node) > 1:
                raise ValueError(f"nodes: {node!r} stands there twice")
        if not _PREFIX.fullmatch(self.prefix) or len(self.prefix) > 200:
            raise ValueError(f"prefix: {self.prefix[:80]!r} cannot begin a topic")
