"""What is known live as Prometheus text: services, devices, outboxes, uploads.

Names and types follow Prometheus' naming practices. What a status says is never trusted: what is no number is left out,
labels are short and printable, and there are at most so many samples of everything.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from heliograph.messages import Status, is_value
from services.api.live import Device, Live
from services.api.schemas import described_file

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
UPLOADER = "uploader"
MOST_SAMPLES = 10_000  # of one metric
MOST_NAMES = 200  # counters of a service, and targets of an uploader
LABEL_CHARACTERS = 100
AVAILABILITIES = ("online", "offline", "asleep", "unknown")
UPLOAD_STATES = ("running", "waiting", "paused", "disabled", "starting", "invalid")

# Of what services count, these go down as well.
OUTBOX = {
    "frames_backlog": ("outbox_backlog_frames", "Frames in the outbox that storage has not committed yet."),
    "outbox_bytes": ("outbox_bytes", "Size of the outbox on disk."),
    "readings_in_memory": ("outbox_memory_readings", "Readings that are not in the outbox yet."),
}
AMOUNTS = frozenset({"devices", "devices_http", "entities", "unacknowledged", "without_class"})

# From the facts of a target, docs/uploads.md.
UPLOAD_GAUGES = {
    "backlog": ("upload_backlog_rows", "Readings or intervals that are not sent yet."),
    "rate": ("upload_rows_per_second", "Rows a second that were sent in the last minute."),
    "dead_letters": ("upload_dead_letters", "Rows that the target refused, and that are kept."),
}
UPLOAD_AGES = {
    "oldest": ("upload_oldest_age_seconds", "Age of the oldest reading or interval that is not sent yet."),
    "last_success": ("upload_last_success_age_seconds", "Time since the target last took something."),
}
UPLOAD_COUNTERS = {
    "sent": ("upload_sent_rows", "Rows that the target took."),
    "dropped": ("upload_dropped_dead_letters", "Dead letters dropped because there were too many."),
    "skipped": ("upload_skipped_rows", "Rows skipped because they were too old for the target."),
}

ValuesQuery = Annotated[bool, Query(description="Also the newest value of every channel that is a number.")]


def register(app: FastAPI, live: Live, node: str, connected: Callable[[], bool]) -> None:
    """Add `/metrics` to an application; `connected` says whether the broker answers."""

    @app.get("/metrics", responses=described_file("Prometheus' text format.", "text/plain"), tags=["node"])
    async def metrics(values: ValuesQuery = False) -> Response:
        """Services, devices, outboxes and uploads, for Prometheus."""
        found = page(live, node, connected(), time.time(), values=values)
        text = await asyncio.to_thread(found.text)
        return Response(text, 200, {"cache-control": "no-store"}, media_type=MEDIA_TYPE)


def page(live: Live, node: str, bus: bool, now: float, *, values: bool = False) -> "Page":
    """Return all metrics at a moment, s UTC; `bus` says whether the broker answers, with `values` those of channels too."""
    found = Page()
    found.gauge("bus_up", "Whether this node's api is connected to the broker.", bus, node=node)
    for (owner, name), status in sorted(live.services.items()):
        _service(found, status, now, node=owner, service=name)
        if name == UPLOADER:
            _uploads(found, status.facts.get("targets"), now, owner)
    for (owner, name), device in sorted(live.devices.items()):
        _device(found, device, now, node=owner, device=name)
        if values:
            _values(found, device)
    about = "Samples that are not on this page: they were too many, or alike."
    found.gauge("metrics_left_out", about, found.left_out, node=node)
    return found


class Page(Collector):
    """The metrics of one answer, by name."""

    def __init__(self) -> None:
        self.left_out = 0
        self._metrics: dict[str, Metric] = {}
        self._seen: set[tuple[str, ...]] = set()

    def collect(self) -> Iterable[Metric]:
        """Return all metrics."""
        return self._metrics.values()

    def text(self) -> bytes:
        """Return the page in Prometheus' text format, version 0.0.4."""
        return generate_latest(self)

    def gauge(self, name: str, about: str, value: object, /, **labels: str) -> None:
        """Add what goes up and down; nothing for what is no finite number."""
        self._add("gauge", name, about, value, labels)

    def counter(self, name: str, about: str, value: object, /, **labels: str) -> None:
        """Add what only goes up; it gets `_total` behind its name."""
        self._add("counter", name, about, value, labels)

    def states(self, name: str, about: str, state: object, states: Iterable[str], /, **labels: str) -> None:
        """Add a 1 for the state that it is in, and a 0 for every other one."""
        for one in states:
            self.gauge(name, about, one == state, **labels, state=one)

    def _add(self, kind: str, name: str, about: str, value: object, labels: Mapping[str, str]) -> None:
        number = finite(value)
        if number is None or (kind == "counter" and number < 0):
            return
        name = f"heliograph_{name}"
        shown = {key: label(text) for key, text in labels.items()}
        metric = self._metrics.get(name)
        if metric is None:
            metric = self._metrics[name] = Metric(name, about, kind)
        mark = (name, *shown.values())
        if mark in self._seen or len(metric.samples) >= MOST_SAMPLES:
            self.left_out += 1
            return
        self._seen.add(mark)
        metric.add_sample(f"{name}_total" if kind == "counter" else name, shown, number)


def finite(value: object) -> float | None:
    """Return a number or a boolean as a finite number, None for everything else."""
    return float(value) if isinstance(value, int | float) and is_value(value) else None


def label(text: str) -> str:
    """Return a text as the value of a label: short, and of characters that can be printed."""
    short = text[:LABEL_CHARACTERS]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in short)


def _age(now: float, moment: object) -> float | None:
    then = finite(moment)
    return None if then is None else now - then


def _first(found: Page, things: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield as many as there may be, and count the rest."""
    found.left_out += max(0, len(things) - MOST_NAMES)
    yield from sorted(things.items())[:MOST_NAMES]


def _service(found: Page, status: Status, now: float, *, node: str, service: str) -> None:
    labels = {"node": node, "service": service}
    online = status.state == "online"
    found.gauge("service_up", "Whether a service says that it is online.", online, **labels)
    if not online:
        return
    found.gauge("service_info", "The version of a service.", 1, **labels, version=status.version)
    found.gauge("service_start_time_seconds", "When a service was started, s since 1970.", status.started, **labels)
    found.gauge("service_status_age_seconds", "Age of the status of a service.", now - status.time, **labels)
    found.gauge("service_clock_synchronised", "Whether a service believes its clock.", not status.clock, **labels)
    for name, value in _first(found, status.counters):
        if name in OUTBOX:
            found.gauge(*OUTBOX[name], value, **labels)
        elif name in AMOUNTS:
            found.gauge("service_amount", "What a service has at the moment.", value, **labels, name=name)
        else:
            found.counter("service_counter", "What a service has counted since its start.", value, **labels, name=name)


def _uploads(found: Page, targets: object, now: float, node: str) -> None:
    if not isinstance(targets, dict):
        return
    for target, facts in _first(found, targets):
        if not isinstance(facts, dict):
            continue
        labels = {"node": node, "target": target}
        kind = facts.get("kind")
        found.gauge("upload_info", "The kind of a target.", 1, **labels, kind=kind if isinstance(kind, str) else "")
        found.states("upload_state", "The state of a target.", facts.get("state"), UPLOAD_STATES, **labels)
        for fact, words in UPLOAD_GAUGES.items():
            found.gauge(*words, facts.get(fact), **labels)
        for fact, words in UPLOAD_AGES.items():
            found.gauge(*words, _age(now, facts.get(fact)), **labels)
        for fact, words in UPLOAD_COUNTERS.items():
            found.counter(*words, facts.get(fact), **labels)


def _device(found: Page, device: Device, now: float, /, **labels: str) -> None:
    state = device.availability or "unknown"
    found.states("device_availability", "The availability of a device.", state, AVAILABILITIES, **labels)
    if device.info and device.info.interval > 0:
        about = "Time that is expected between two readings of a device."
        found.gauge("device_interval_seconds", about, device.info.interval, **labels)
    if device.newest:
        newest = max(one.time for one in device.newest.values())
        found.gauge("device_reading_age_seconds", "Age of the newest reading of a device.", now - newest, **labels)


def _values(found: Page, device: Device) -> None:
    for name, channel in device.channels().items():
        if one := device.newest.get(name):
            labels = {"node": device.node, "device": device.name, "channel": name, "unit": channel.unit}
            found.gauge("channel_value", "The newest value of a channel, in its own unit.", one.value, **labels)
