"""The sections [api.pimonitor], [api.smartplug] and [api.emoncms] of the configuration."""

import re

import msgspec

from heliograph import nearest, topics, units
from heliograph.config import Config
from heliograph.store import buckets

_DEVICE_KEY = re.compile(r"[0-9a-f]{32}")


class PimonitorOptions(Config, frozen=True):
    """[api.pimonitor]: `tz` is the time zone of the sensors' clocks; empty: nothing is accepted."""

    tz: str = ""

    def __post_init__(self) -> None:
        """Refuse an unknown time zone."""
        if self.tz:
            try:
                buckets.zone(self.tz)
            except buckets.BucketError:
                raise ValueError(f"tz: {self.tz!r} is not a time zone{nearest.time_zones(self.tz)}") from None


class SmartPlugOptions(Config, frozen=True):
    """[api.smartplug]: `plugs` maps the id that a plug sends to a device; `port` is one for plugs only, 0 for none."""

    plugs: dict[str, str] = msgspec.field(default_factory=dict)
    port: int = 0

    def __post_init__(self) -> None:
        """Refuse invalid device names and ports."""
        if not 0 <= self.port < 65536:
            raise ValueError(f"port: {self.port} is not between 1 and 65535, nor 0 for none")
        for plug, name in self.plugs.items():
            topics.name(name, f"plugs.{plug}")
        if len(set(self.plugs.values())) < len(self.plugs):
            raise ValueError("plugs: two are the same device")


class EmoncmsNode(Config, frozen=True):
    """[api.emoncms.nodes.N]: the device for a node, and the `names` and `units` of its channels by position."""

    device: str = ""
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that are not valid in topics, and unknown units."""
        if self.device:
            topics.name(self.device, "device")
        for name in self.names:
            if not topics.is_channel(name):
                raise ValueError(
                    f"names: {name[:80]!r} is not the name of a channel; use lower-case letters, digits and _"
                )
        if len(set(self.names)) < len(self.names):
            raise ValueError("names: one is listed twice")
        if len(self.units) > len(self.names):
            raise ValueError("units: more units than names")
        for unit in self.units:
            units.spelled(unit)


class EncryptedDevice(Config, frozen=True):
    """[api.emoncms.devices.USERID]: `key` encrypts what a device without TLS sends."""

    key: str

    def __post_init__(self) -> None:
        """Refuse what is not an AES-128 key, without showing it."""
        if not _DEVICE_KEY.fullmatch(self.key):
            raise ValueError("key: it is not 32 lower-case hexadecimal characters")


class EmoncmsOptions(Config, frozen=True):
    """[api.emoncms]: nodes whose device or channels have other names, and devices that encrypt."""

    nodes: dict[str, EmoncmsNode] = msgspec.field(default_factory=dict)
    devices: dict[str, EncryptedDevice] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse two nodes that are the same device."""
        devices = [node.device for node in self.nodes.values() if node.device]
        if len(set(devices)) < len(devices):
            raise ValueError("nodes: two are the same device")
