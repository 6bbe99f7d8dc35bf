"""What is known live, in the shapes of the answers."""

from collections.abc import Sequence

import msgspec

from heliograph.messages import Channel, Status
from heliograph.store.interface import Point, Series
from services.api import queries
from services.api.live import Device, Live, Newest
from services.api.schemas import ChannelAnswer, DeviceAnswer, Health, LatestAnswer, NodeAnswer, ServiceHealth


def health(live: Live, node: str, bus: bool, store_problem: str, now: float, damages: Sequence[str] = ()) -> Health:
    """Return how this node is; `store_problem` is empty when the store answers, `damages` is what it cannot read.

    A service of this node that cannot write, as its fact `write_error` says, makes the node degraded, too.
    """
    services = _services(live, node)
    problems = [] if bus else ["no connection to the broker"]
    if store_problem:
        problems.append(f"no answer from the store: {store_problem}")
    problems += damages
    problems += [f"{name}: {error}" for name, one in services.items() if (error := one.facts.get("write_error"))]
    return Health(
        status="degraded" if problems else "ok",
        detail="; ".join(problems),
        node=node,
        time=now,
        bus=bus,
        store=not store_problem,
        problems=list(damages),
        services=services,
    )


def nodes(live: Live) -> list[NodeAnswer]:
    """Return every node that has a device or a service, by name."""
    names = sorted({node for node, _ in live.devices} | {node for node, _ in live.services})
    return [
        NodeAnswer(node, sum(1 for owner, _ in live.devices if owner == node), _services(live, node)) for node in names
    ]


def devices(live: Live, node: str | None) -> list[DeviceAnswer]:
    """Return every device of one node or of all, by name."""
    return [_device(device) for (owner, _), device in sorted(live.devices.items()) if node in (None, owner)]


def latest(
    live: Live, wanted: Sequence[str], stored: Sequence[tuple[Series, Point | None]] = ()
) -> dict[str, LatestAnswer]:
    """Return the newest values of the series that are meant, newer ones of the store before live ones.

    Raises Refused for a name that is none.
    """
    known = {name: (channel, newest) for name, channel, newest in live.newest()}
    for series, point in stored:
        channel, newest = known.get(series.name) or (Channel(series.unit, series.kind), None)
        if point and (newest is None or point.time > newest.time):
            newest = Newest(point.time, point.value)
        known[series.name] = channel, newest
    answers = {}
    for name in queries.select(wanted, known):
        channel, newest = known[name]
        time, value = newest or (None, None)
        answers[name] = LatestAnswer(time, value, channel.unit)
    return answers


def _services(live: Live, node: str) -> dict[str, ServiceHealth]:
    return {name: _service(status) for (owner, name), status in sorted(live.services.items()) if owner == node}


def _service(status: Status) -> ServiceHealth:
    return ServiceHealth(
        state=status.state,
        version=status.version,
        time=status.time,
        started=status.started,
        clock=status.clock,
        counters=status.counters,
        facts=status.facts,
        set_aside=[msgspec.to_builtins(item) for item in status.set_aside],
    )


def _device(device: Device) -> DeviceAnswer:
    info = device.info
    channels = []
    for name, channel in device.channels().items():
        time, value = device.newest.get(name) or (None, None)
        channels.append(ChannelAnswer(name, channel.label, channel.unit, channel.kind, time, value))
    return DeviceAnswer(
        node=device.node,
        device=device.name,
        model=info.model if info else "",
        availability=device.availability or "unknown",
        interval=info.interval if info else 0.0,
        channels=channels,
    )
