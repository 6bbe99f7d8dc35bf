"""Removes what is gone for good from the broker, for `heliograph forget` and `heliograph store rename`.

The broker keeps the description, the availability and the plain values of a device until they are removed, and the
status of a service. Readings stay in the store.
"""

import queue
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from heliograph import config, topics
from heliograph.bus import Bus, Message
from heliograph.errors import ConfigError

CONNECT_SECONDS = 10.0
QUIET_SECONDS = 1.0  # without a message, after which there are no more
MOST_SECONDS = 10.0  # a node that still runs is never quiet
DISCOVERY = "homeassistant/device/{}_{}/config"
WITHOUT_SECTION = ("api", "storage", "home_assistant")  # services that run without a section of the configuration


class Forgotten(NamedTuple):
    """The topics that the broker has forgotten, and those of which it still has what it retains: no service here may remove it."""

    removed: list[str]
    left: list[str]


def forget(broker: config.Broker, service: str, node: str, device: str) -> None:
    """Remove what the broker retains of a device, unseen; raise ConfigError if there is no connection to the broker."""
    kept = [topics.device(node, device, "info"), topics.device(node, device, "availability")]
    with _opened(broker, service) as bus:
        _wait(bus, broker, service)
        for topic in kept:
            bus.publish(topic, b"", qos=1, retain=True)


def forget_retained(
    brokers: Mapping[str, config.Broker],
    node: str,
    device: str = "",
    *,
    discovery: bool = True,
    stored: Collection[str] = (),
) -> Forgotten:
    """Remove what the broker retains of a device, or of a node, its devices and services, as far as it can be seen.

    `brokers` has the services as which to connect. Each sees what it may read, and removes what it may write: with the users of
    mosquitto/acl all of them take everything, and the user api all devices. With `discovery` also what is retained for Home
    Assistant. `stored` are devices of the node of which the store has series: the page forgets them although nothing is
    retained. Raises ConfigError if there is no connection to the broker.
    """
    arrived: queue.SimpleQueue[Message] = queue.SimpleQueue()
    with ExitStack() as opened:
        buses = [opened.enter_context(_opened(broker, service)) for service, broker in brokers.items()]
        for bus, (service, broker) in zip(buses, brokers.items(), strict=True):
            _wait(bus, broker, service)
            bus.subscribe(f"{topics.ROOT}/{node}/{f'devices/{device}/' if device else ''}#", arrived.put)
        seen = {message.topic for message in _arriving(arrived) if message.retained and message.payload}
        others = set() if device else {topics.service(node, service, "status") for service in brokers}
        infos = {topics.device(node, name, "info") for name in stored} - seen
        others |= infos
        for topic in seen:
            _, _, group, name, *_ = topic.split("/")
            if group == "services":
                others.add(topics.service(node, name, "committed"))
            elif group == "devices" and discovery:
                others.add(discovery_topic(node, name))
        for topic in sorted(seen | others):
            for bus in buses:
                bus.publish(topic, b"", qos=1, retain=True)
        left = set(seen)
        for message in _arriving(arrived) if seen else ():
            if not message.payload:
                left.discard(message.topic)
            if not left:
                break
    return Forgotten(sorted((seen | infos) - left), sorted(left))


def _arriving(arrived: queue.SimpleQueue[Message]) -> Iterator[Message]:
    """Yield messages until none has arrived for a while, at most for as long as a node that runs may take."""
    end = time.monotonic() + MOST_SECONDS
    with suppress(queue.Empty):
        while time.monotonic() < end:
            yield arrived.get(timeout=QUIET_SECONDS)


def _opened(broker: config.Broker, service: str) -> Bus:
    """Return a connection that is not begun; without the node's name: two clients of one name would fight."""
    return Bus(broker, "forget", service, quiet=True)


def _wait(bus: Bus, broker: config.Broker, service: str) -> None:
    """Wait for the broker; raise ConfigError if it does not answer."""
    if not bus.wait_connected(CONNECT_SECONDS):
        why = f" ({bus.problem})" if bus.problem else ""
        raise ConfigError(f"[broker]: cannot connect to {broker.host}:{broker.port} as {service}{why}")


def discovery_topic(node: str, device: str) -> str:
    """Return the topic of the discovery message of a device, as services/home_assistant/identifiers.py makes it."""
    return DISCOVERY.format(*(name.replace("_", "_U") for name in (node, device)))


def brokers(path: Path, service: str) -> dict[str, config.Broker]:
    """Return the [broker] section of each service that has a password here, or of one service; raise ConfigError if none has."""
    file = config.read(path)
    names = [service] if service else [name for name in (*file, *WITHOUT_SECTION) if topics.is_name(name)]
    usable: dict[str, config.Broker] = {}
    why = ""
    for name in dict.fromkeys(names):
        if name in ("node", "broker", "site", "quality"):
            continue
        try:
            usable[name] = config.section(config.Broker, file, "broker", path, name)
        except ConfigError as error:
            why = str(error)
    if not usable:
        raise ConfigError(why)
    return usable
