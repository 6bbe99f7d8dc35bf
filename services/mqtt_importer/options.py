"""The [mqtt_importer] section of the configuration."""

import ssl
from collections.abc import Iterator
from typing import ClassVar

import msgspec

from heliograph import nearest, tls, topics
from heliograph.config import Claim, Config, ServiceOptions
from services.mqtt_importer import families
from services.mqtt_importer.parsing import topic_filters
from services.mqtt_importer.source import MqttSource


class RemoteBroker(Config, tls.BrokerOptions, frozen=True):
    """One [mqtt_importer.brokers.NAME] section: a broker that is not the node's own."""

    RENAMED: ClassVar = {"client": "client_id"}

    host: str
    port: int = 0
    version: str = "3.1.1"
    user: str = ""
    password: str = ""
    client_id: str = ""
    tls: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        """Refuse impossible options, and certificates that cannot be read."""
        if not self.host:
            raise ValueError("host: is empty")
        if not 0 <= self.port < 65_536:
            raise ValueError(f"port: {self.port} is not between 1 and 65535")
        if self.version not in ("3.1.1", "5"):
            raise ValueError(f"version: expected 3.1.1 or 5, found {self.version!r}")
        if self.password and not self.user:
            raise ValueError("user: is empty, but there is a password")
        if self.key and not self.certificate:
            raise ValueError("certificate: is empty, but there is a key")
        self.context()

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context of the connection, None without TLS; raise ValueError if a file is unusable."""
        return tls.context(self.ca, self.certificate, self.key) if self.encrypted else None


class MqttImporter(ServiceOptions, frozen=True):
    """The [mqtt_importer] section."""

    RENAMED: ClassVar = {"most_devices": "max_devices"}

    sources: tuple[MqttSource, ...] = ()
    brokers: dict[str, RemoteBroker] = msgspec.field(default_factory=dict)
    watch: tuple[str, ...] = ()
    max_devices: int = 500

    def claims(self) -> Iterator[Claim]:
        """Yield the devices that the configuration names."""
        for number, source in enumerate(self.sources):
            for key, name in source.devices.items():
                yield Claim("device", name, f"sources[{number}].devices.{key}")

    def __post_init__(self) -> None:
        """Refuse sources of the same name, of unknown families and brokers, and maps that contradict themselves."""
        labels: set[str] = set()
        for source in self.sources:
            if source.label in labels:
                raise ValueError(f"sources: two are called {source.label!r}; give one of them a name")
            labels.add(source.label)
            if source.broker and source.broker not in self.brokers:
                near = nearest.hint(source.broker, self.brokers)
                raise ValueError(
                    f"sources.{source.label}: broker: there is no [mqtt_importer.brokers.{source.broker}]{near}"
                )
            try:
                family = families.load(source.family)(source)
            except ValueError as error:
                raise ValueError(f"sources.{source.label}: {error}") from None
            own = [one for one in family.filters if one.split("/")[0] == topics.ROOT]
            if own and not source.broker:
                raise ValueError(f"sources.{source.label}: {own[0]!r} is our own, there is nothing to import")
        for name in self.brokers:
            topics.name(name, "brokers")
        for one in self.watch:
            if not topic_filters.is_filter(one):
                raise ValueError(f"watch: {one!r} is not a topic filter")
        if self.max_devices < 1:
            raise ValueError(f"max_devices: {self.max_devices} is not a number of devices")
