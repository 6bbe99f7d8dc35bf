"""The options of a source: one [[mqtt_importer.sources]] section."""

import math
from typing import ClassVar
from zoneinfo import ZoneInfo

import msgspec

from heliograph import nearest, topics
from heliograph.config import Config
from heliograph.messages import Kind
from services.mqtt_importer.parsing import json_paths, topic_filters


class ChannelOverride(Config, frozen=True):
    """What the configuration knows better about a channel than its maker."""

    name: str = ""
    unit: str = ""
    kind: Kind | None = None
    label: str = ""
    scale: float = 1.0
    skip: bool = False

    def __post_init__(self) -> None:
        """Refuse an impossible name, and a scale of 0, NaN or infinity."""
        if self.name and not topics.is_channel(self.name):
            raise ValueError(f"name: {self.name!r} is not the name of a channel")
        if not (math.isfinite(self.scale) and self.scale):
            raise ValueError(f"scale: {self.scale!r} is not a factor")


class MappedValue(Config, frozen=True):
    """A value of a map: its path in the payload, its description, and how it is commanded."""

    path: str = ""
    unit: str = ""
    kind: Kind | None = None
    on: str = "ON"
    off: str = "OFF"
    command: str = ""
    template: str = ""

    def __post_init__(self) -> None:
        """Refuse a malformed path."""
        json_paths.parse(self.path)


class TopicMap(Config, frozen=True):
    """One [[mqtt_importer.sources.maps]] section: which values of which device a topic has."""

    topic: str
    device: str
    model: str = ""
    time: str = ""
    values: dict[str, MappedValue] = msgspec.field(default_factory=dict)
    availability: bool = False
    online: str = "online"
    offline: str = "offline"

    def __post_init__(self) -> None:
        """Refuse a malformed path, and a device without a name."""
        json_paths.parse(self.time)
        if not self.device:
            raise ValueError("device: is empty")


class MqttSource(Config, frozen=True):
    """One [[mqtt_importer.sources]] section: devices of one family on one broker."""

    RENAMED: ClassVar = {"past": "max_timestamp_age", "retained": "import_retained"}

    family: str
    name: str = ""
    broker: str = ""
    topic: str = ""
    devices: dict[str, str] = msgspec.field(default_factory=dict)
    channels: dict[str, ChannelOverride] = msgspec.field(default_factory=dict)
    commands: bool = False
    import_retained: bool = False
    timezone: str = ""
    max_timestamp_age: float = 600.0
    interval: float = 0.0
    maps: tuple[TopicMap, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names, topics, times and maps that a source cannot have."""
        topics.name(self.label, "name" if self.name else "family")
        for key, name in self.devices.items():
            topics.name(name, f"devices.{key}")
        if len(set(self.devices.values())) < len(self.devices):
            raise ValueError("devices: two have the same name")
        if self.topic and (
            self.topic[0] == "$" or not topic_filters.is_filter(self.topic) or {"+", "#"} & set(self.topic)
        ):
            raise ValueError(f"topic: {self.topic!r} is not the beginning of a topic")
        for option, seconds in (("max_timestamp_age", self.max_timestamp_age), ("interval", self.interval)):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{option}: {seconds!r} is not a number of seconds")
        if self.maps and self.family != "map":
            raise ValueError("maps: only sources of the family map have maps")
        self.zone()

    @property
    def label(self) -> str:
        """What the source is called in the status and in the file of device names: its name, else its family."""
        return self.name or self.family

    def zone(self) -> ZoneInfo | None:
        """Return the time zone of the devices' clocks, None if it is not configured; raise ValueError if it does not exist."""
        if not self.timezone:
            return None
        try:
            return ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"timezone: {self.timezone!r} is not a time zone{nearest.time_zones(self.timezone)}"
            ) from None

    def overrides(self, *devices: str) -> dict[str, ChannelOverride]:
        """Return the overrides of a device's channels; those of `device/channel` take precedence over those of `channel`."""
        chosen = {name: override for name, override in self.channels.items() if "/" not in name}
        for device in devices:
            prefix = f"{device}/"
            chosen |= {
                name.removeprefix(prefix): override
                for name, override in self.channels.items()
                if name.startswith(prefix)
            }
        return chosen
