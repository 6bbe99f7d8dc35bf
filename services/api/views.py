"""From the live state to responses."""

from collections.abc import Mapping, Sequence

import msgspec

from heliograph.messages import Channel, Status
from heliograph.outbox_losses import shown
from services.api import queries
from services.api.live import DeviceState, LiveState, Newest
from services.api.schemas import ChannelResponse, DeviceResponse, Health, LatestResponse, NodeResponse, ServiceHealth
from services.api.seeding import Stored


def health(
    live: LiveState, node: str, bus: bool, store_problem: str, now: float, damages: Sequence[str] = ()
) -> Health:
    """Return the health of this node; `store_problem` is empty when the store answers, `damages` is what it cannot read.

    A service of this node that cannot write, as its fact `write_error` says, makes the node degraded, and so does what
    its storage reports of the store in `store_problems`, and any service of itself in `problems`
    and of its outbox in `outbox_problems`.
    """
    services = _services(live, node)
    problems = [] if bus else ["no connection to the broker"]
    if store_problem:
        problems.append(f"no answer from the store: {store_problem}")
    damages = list(dict.fromkeys([*damages, *_store_problems(services)]))
    problems += damages
    problems += [f"{name}: {error}" for name, one in services.items() if (error := one.facts.get("write_error"))]
    problems += [f"{name}: {problem}" for name, one in services.items() for problem in _listed(one, "problems")]
    problems += [f"{name}: {problem}" for name, one in services.items() for problem in _listed(one, "outbox_problems")]
    problems += [
        f"{name}: not stored since {shown(since)}"
        for name, one in services.items()
        if type(since := one.facts.get("not_stored_since")) is int and 0 < since < queries.LATEST
    ]
    return Health(
        status="degraded" if problems else "ok",
        detail="; ".join(problems),
        node=node,
        time=now,
        bus=bus,
        store=not store_problem,
        problems=damages,
        services=services,
    )


def _store_problems(services: Mapping[str, ServiceHealth]) -> list[str]:
    return [problem for one in services.values() for problem in _listed(one, "store_problems")]


def _listed(service: ServiceHealth, fact: str) -> list[str]:
    listed = service.facts.get(fact)
    return [str(item) for item in listed] if isinstance(listed, list) else []


def nodes(live: LiveState) -> list[NodeResponse]:
    """Return every node that has a device or a service, by name."""
    names = sorted({node for node, _ in live.devices} | {node for node, _ in live.services})
    return [
        NodeResponse(node, sum(1 for owner, _ in live.devices if owner == node), _services(live, node))
        for node in names
    ]


def devices(live: LiveState, node: str | None) -> list[DeviceResponse]:
    """Return every device of one node or of all, by name."""
    return [_device(device) for (owner, _), device in sorted(live.devices.items()) if node in (None, owner)]


def latest(live: LiveState, patterns: Sequence[str], stored: Stored) -> dict[str, LatestResponse]:
    """Return the newest value of each series that matches: the live one, which has been seeded, or that of a removed device.

    Raises RequestRefused for a full name that does not exist.
    """
    known = {name: (channel, newest) for name, channel, newest in live.newest()}
    for series in stored.series:
        if series.name not in known:
            point = stored.latest.get(series.id)
            newest = Newest(point.time, point.value) if point else None
            known[series.name] = Channel(series.unit, series.kind), newest
    answers = {}
    for name in queries.select(patterns, known):
        channel, newest = known[name]
        time, value = newest or (None, None)
        answers[name] = LatestResponse(time, value, channel.unit)
    return answers


def _services(live: LiveState, node: str) -> dict[str, ServiceHealth]:
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


def _device(device: DeviceState) -> DeviceResponse:
    info = device.info
    channels = []
    for name, channel in device.channels().items():
        time, value = device.newest.get(name) or (None, None)
        channels.append(ChannelResponse(name, channel.label, channel.unit, channel.kind, time, value))
    return DeviceResponse(
        node=device.node,
        device=device.name,
        model=info.model if info else "",
        availability=device.availability or "unknown",
        interval=info.interval if info else 0.0,
        channels=channels,
    )
