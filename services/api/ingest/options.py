"""What the configuration says of readings that come in over HTTP."""

import re

import msgspec

from heliograph import topics, units
from heliograph.config import Config
from heliograph.store import buckets

_DEVICE_KEY = re.compile(r"[0-9a-f]{32}")


class Pimonitor(Config, frozen=True):
    """[api.pimonitor]: `tz` is the zone of the sensors' times; empty: nothing is taken."""

    tz: str = ""

    def __post_init__(self) -> None:
        """Refuse a zone that there is not."""
        if self.tz:
            try:
                buckets.zone(self.tz)
            except buckets.BucketError as error:
                raise ValueError(f"tz: {error}") from None


class SmartPlug(Config, frozen=True):
    """[api.smartplug]: `plugs` are the devices by the id that a plug sends; `port` is for clients that want one."""

    plugs: dict[str, str] = msgspec.field(default_factory=dict)
    port: int = 0

    def __post_init__(self) -> None:
        """Refuse names that no device can have, and a port that nothing can listen on."""
        if not 0 <= self.port < 65536:
            raise ValueError(f"port: {self.port} is not between 1 and 65535, nor 0 for none")
        for name in self.plugs.values():
            topics.name(name)
        if len(set(self.plugs.values())) < len(self.plugs):
            raise ValueError("plugs: two of them are the same device")


class Node(Config, frozen=True):
    """[api.emoncms.nodes.N]: the device that a node is, and its positions: `names` and `units`, in their order."""

    device: str = ""
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that the topic tree does not take, and units that nobody knows."""
        if self.device:
            topics.name(self.device)
        for name in self.names:
            if not topics.is_channel(name):
                raise ValueError(f"names: {name[:80]!r} is no channel: lower-case letters, digits and _ are")
        if len(set(self.names)) < len(self.names):
            raise ValueError("names: one stands there twice")
        if len(self.units) > len(self.names):
            raise ValueError("units: there are more of them than names")
        for unit in self.units:
            units.spelled(unit)


class EncryptedDevice(Config, frozen=True):
    """[api.emoncms.devices.USERID]: `key` encrypts what a device without TLS sends."""

    key: str

    def __post_init__(self) -> None:
        """Refuse what is no AES-128 key, without showing it."""
        if not _DEVICE_KEY.fullmatch(self.key):
            raise ValueError("key: it is not 32 lower-case hexadecimal characters")


class Emoncms(Config, frozen=True):
    """[api.emoncms]: nodes that are not called by their number, and devices that encrypt."""

    nodes: dict[str, Node] = msgspec.field(default_factory=dict)
    devices: dict[str, EncryptedDevice] = msgspec.field(default_factory=dict)
