"""From the live state to responses."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from heliograph.messages import Channel, Status
from services.api import queries
from services.api.health import HealthWatch
from services.api.live import DeviceState, LiveState, Newest
from services.api.schemas import ChannelResponse, DeviceResponse, Health, LatestResponse, NodeResponse, ServiceHealth
from services.api.seeding import Stored


def health(live: LiveState, watch: HealthWatch, store_problem: str, now: float, damages: Sequence[str] = ()) -> Health:
    """Return the health of this node; `store_problem` is empty when the store answers, `damages` is what it cannot read."""
    problems = watch.problems(store_problem, damages)
    return Health(
        status="degraded" if problems else "ok",
        detail=problems[0].summary if problems else "",
        node=watch.node,
        time=now,
        bus=watch.bus,
        store=not store_problem,
        problems=problems,
        services=_services(live, watch.node),
    )


def nodes(live: LiveState) -> list[NodeResponse]:
    """Return every node that has a device or a service, by name."""
    names = sorted({node for node, _ in live.devices} | {node for node, _ in live.services})
    return [
        NodeResponse(node, sum(1 for owner, _ in live.devices if owner == node), _services(live, node))
        for node in names
    ]


def devices(live: LiveState, node: str | None) -> list[DeviceResponse]:
    """Return every device of one node or of all, by name."""
    return [_device(live, device) for (owner, _), device in sorted(live.devices.items()) if node in (None, owner)]


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


def _device(live: LiveState, device: DeviceState) -> DeviceResponse:
    info = device.info
    service = info.service if info else ""
    status = live.services.get((device.node, service))
    availability, why = device.availability or "unknown", ""
    if status and status.state == "offline":
        availability, why = "offline", f"{service} is offline"  # the service did not publish that of its devices
    elif status and availability == "offline":
        why = _why_offline(device.name, status.facts)
    channels = []
    for name, channel in device.channels().items():
        time, value = device.newest.get(name) or (None, None)
        channels.append(ChannelResponse(name, channel.label, channel.unit, channel.kind, time, value))
    return DeviceResponse(
        node=device.node,
        device=device.name,
        model=info.model if info else "",
        availability=availability,
        why=why,
        live=info is not None or bool(device.reported),
        interval=info.interval if info else 0.0,
        channels=channels,
    )


def _why_offline(name: str, facts: Mapping[str, Any]) -> str:
    """Return why a device is offline, from the facts that its service shows of it, or of the port that it is at."""
    for kind in ("device", "sensor", "counter"):
        if why := _text(facts.get(f"{kind}:{name}"), "why"):
            return why
    for kind in ("ports", "sockets"):
        ports = facts.get(kind)
        for port in ports.values() if isinstance(ports, dict) else ():
            devices = port.get("devices") if isinstance(port, dict) else None
            if isinstance(devices, list) and name in devices and (error := _text(port, "error")):
                return error
    devices = facts.get("devices")
    calculated = devices.get(name) if isinstance(devices, dict) else None
    missing = calculated.get("missing_inputs") if isinstance(calculated, dict) else None
    return f"no value of {', '.join(map(str, missing))}" if isinstance(missing, list) and missing else ""


def _text(fact: object, key: str) -> str:
    text = fact.get(key) if isinstance(fact, dict) else None
    return text if isinstance(text, str) else ""
