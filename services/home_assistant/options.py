"""The [home_assistant] section of the configuration."""

import re
from typing import ClassVar

from heliograph import topics
from heliograph.config import ServiceOptions

_PREFIX = re.compile(r"[^/+#\x00]+(?:/[^/+#\x00]+)*")


class HomeAssistant(ServiceOptions, frozen=True):
    """The nodes whose devices to show, this one if there are none, and the prefix of the discovery topics."""

    RENAMED: ClassVar = {"prefix": "discovery_prefix"}

    nodes: tuple[str, ...] = ()
    discovery_prefix: str = "homeassistant"

    def __post_init__(self) -> None:
        """Refuse impossible and repeated names of nodes, and a prefix that cannot begin a topic."""
        for node in self.nodes:
            topics.name(node, "nodes")
            if self.nodes.count(node) > 1:
                raise ValueError(f"nodes: {node!r} is listed twice")
        if not _PREFIX.fullmatch(self.discovery_prefix) or len(self.discovery_prefix) > 200:
            raise ValueError(f"discovery_prefix: {self.discovery_prefix[:80]!r} cannot begin a topic")
