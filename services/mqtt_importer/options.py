"""The [mqtt_importer] section of the configuration."""

import math
import ssl
from zoneinfo import ZoneInfo

import msgspec

from heliograph import tls, topics
from heliograph.config import Config
from heliograph.messages import Kind
from services.mqtt_importer import families, filters, paths


class ForeignBroker(Config, tls.BrokerOptions, frozen=True):
    """One [mqtt_importer.brokers.NAME] section: a broker that is not the node's own."""

    host: str
    port: int = 0
    version: str = "3.1.1"
    user: str = ""
    password: str = ""
    client: str = ""
    tls: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        """Refuse what no broker can have, and certificates that cannot be read."""
        if not self.host:
            raise ValueError("host: it is empty")
        if not 0 <= self.port < 65_536:
            raise ValueError(f"port: {self.port} is not between 1 and 65535")
        if self.version not in ("3.1.1", "5"):
            raise ValueError(f"version: expected 3.1.1 or 5, found {self.version!r}")
        if self.password and not self.user:
            raise ValueError("user: it is empty, and there is a password")
        if self.key and not self.certificate:
            raise ValueError("certificate: it is empty, and there is a key")
        self.context()

    def context(self) -> ssl.SSLContext | None:
        """Return how the connection is encrypted, None if it is not; raise ValueError if a file is unusable."""
        return tls.context(self.ca, self.certificate, self.key) if self.encrypted else None


class Override(Config, frozen=True):
    """What the configuration knows better about a channel than its maker."""

    name: str = ""
    unit: str = ""
    kind: Kind | None = None
    label: str = ""
    scale: float = 1.0
    skip: bool = False

    def __post_init__(self) -> None:
        """Refuse a name that is none, and a scale that changes nothing into something."""
        if self.name and not topics.is_channel(self.name):
            raise ValueError(f"name: {self.name!r} is not the name of a channel")
        if not (math.isfinite(self.scale) and self.scale):
            raise ValueError(f"scale: {self.scale!r} is not a factor")


class Wanted(Config, frozen=True):
    """A value of a map: where it stands, what it means, and how it is commanded."""

    path: str = ""
    unit: str = ""
    kind: Kind | None = None
    on: str = "ON"
    off: str = "OFF"
    command: str = ""
    template: str = ""

    def __post_init__(self) -> None:
        """Refuse a path that is none."""
        paths.parse(self.path)


class Map(Config, frozen=True):
    """One [[mqtt_importer.sources.maps]] section: which topics are what of which device."""

    topic: str
    device: str
    model: str = ""
    time: str = ""
    values: dict[str, Wanted] = msgspec.field(default_factory=dict)
    availability: bool = False
    online: str = "online"
    offline: str = "offline"

    def __post_init__(self) -> None:
        """Refuse a path that is none, and a device without a name."""
        paths.parse(self.time)
        if not self.device:
            raise ValueError("device: it is empty")


class Source(Config, frozen=True):
    """One [[mqtt_importer.sources]] section: devices of one family on one broker."""

    family: str
    name: str = ""
    broker: str = ""
    topic: str = ""
    devices: dict[str, str] = msgspec.field(default_factory=dict)
    channels: dict[str, Override] = msgspec.field(default_factory=dict)
    commands: bool = False
    retained: bool = False
    timezone: str = ""
    past: float = 600.0
    interval: float = 0.0
    maps: tuple[Map, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no source can be."""
        topics.name(self.called)
        for name in self.devices.values():
            topics.name(name)
        if self.topic and (self.topic[0] == "$" or not filters.is_filter(self.topic) or {"+", "#"} & set(self.topic)):
            raise ValueError(f"topic: {self.topic!r} is not the beginning of a topic")
        for option, seconds in (("past", self.past), ("interval", self.interval)):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{option}: {seconds!r} is not a number of seconds")
        if self.maps and self.family != "map":
            raise ValueError("maps: only sources of the family map have some")
        self.zone()

    @property
    def called(self) -> str:
        """What the source is called."""
        return self.name or self.family

    def zone(self) -> ZoneInfo | None:
        """Return the time zone of the devices' clocks, None if it is not known; raise ValueError if there is none such."""
        if not self.timezone:
            return None
        try:
            return ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"timezone: there is no {self.timezone!r}; one is Europe/Berlin") from None


class MqttImporter(Config, frozen=True):
    """The [mqtt_importer] section."""

    sources: tuple[Source, ...] = ()
    brokers: dict[str, ForeignBroker] = msgspec.field(default_factory=dict)
    watch: tuple[str, ...] = ()
    most_devices: int = 500

    def __post_init__(self) -> None:
        """Refuse sources of the same name, of unknown families and brokers, and maps that contradict themselves."""
        names: set[str] = set()
        for source in self.sources:
            if source.called in names:
                raise ValueError(f"sources: two are called {source.called!r}; give one of them a name")
            names.add(source.called)
            if source.broker and source.broker not in self.brokers:
                raise ValueError(
                    f"sources.{source.called}: broker: there is no [mqtt_importer.brokers.{source.broker}]"
                )
            try:
                made = families.load(source.family)(source)
            except ValueError as error:
                raise ValueError(f"sources.{source.called}: {error}") from None
            own = [wanted for wanted in made.filters if wanted.split("/")[0] == topics.ROOT]
            if own and not source.broker:
                raise ValueError(f"sources.{source.called}: {own[0]!r} is our own, there is nothing to import")
        for name in self.brokers:
            topics.name(name)
        for wanted in self.watch:
            if not filters.is_filter(wanted):
                raise ValueError(f"watch: {wanted!r} is not a topic filter")
        if self.most_devices < 1:
            raise ValueError(f"most_devices: {self.most_devices} is not a number of devices")
