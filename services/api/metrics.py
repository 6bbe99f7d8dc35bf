"""Services, devices, outboxes and uploads as Prometheus text.

Names and types follow Prometheus' naming practices. The content of a status is not trusted: a value that is not a number
is left out, labels are short and printable, and the number of samples is limited.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from heliograph.messages import Status, is_value
from services.api.health import HealthWatch
from services.api.live import DeviceState, LiveState
from services.api.schemas import described_file

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
UPLOADER = "uploader"
MOST_SAMPLES = 10_000  # of one metric
MOST_NAMES = 200  # counters of a service, and targets of an uploader
LABEL_CHARACTERS = 100
AVAILABILITIES = ("online", "offline", "asleep", "unknown")
UPLOAD_STATES = ("running", "waiting", "paused", "disabled", "starting", "invalid")

# Counters of services that are gauges: they go down as well.
OUTBOX = {
    "frames_backlog": ("outbox_backlog_frames", "Frames in the outbox that storage has not committed yet."),
    "outbox_bytes": ("outbox_bytes", "Size of the outbox on disk."),
    "readings_in_memory": ("outbox_memory_readings", "Readings that are not in the outbox yet."),
}
GAUGES = frozenset({"devices", "devices_http", "entities", "unacknowledged", "without_class"})

# From the facts of a target, docs/uploads.md.
UPLOAD_GAUGES = {
    "backlog": ("upload_backlog_rows", "Readings or intervals that are not sent yet."),
    "rate": ("upload_rows_per_second", "Rows a second that were sent in the last minute."),
    "dead_letters": ("upload_dead_letters", "Rows that the target rejected and that are kept."),
}
UPLOAD_AGES = {
    "oldest": ("upload_oldest_age_seconds", "Age of the oldest reading or interval that is not sent yet."),
    "last_success": ("upload_last_success_age_seconds", "Time since the target last accepted a request."),
}
UPLOAD_COUNTERS = {
    "sent": ("upload_sent_rows", "Rows that the target accepted."),
    "dropped": ("upload_dropped_dead_letters", "Dead letters dropped because there were too many."),
    "skipped": ("upload_skipped_rows", "Rows skipped because they were too old for the target."),
    "passed_over": ("upload_passed_over_rows", "Rows left out because the target had newer ones when it began."),
}

ValuesQuery = Annotated[bool, Query(description="Also the newest value of every channel that is a number.")]


def register(app: FastAPI, live: LiveState, watch: HealthWatch) -> None:
    """Add `/metrics` to an application."""

    @app.get("/metrics", responses=described_file("Prometheus' text format.", "text/plain"), tags=["node"])
    async def metrics(values: ValuesQuery = False) -> Response:
        """Services, devices, outboxes and uploads, for Prometheus."""
        page = metrics_page(live, watch.node, watch.bus, time.time(), values=values)
        text = await asyncio.to_thread(page.text)
        return Response(text, 200, {"cache-control": "no-store"}, media_type=MEDIA_TYPE)


def metrics_page(live: LiveState, node: str, bus: bool, now: float, *, values: bool = False) -> "MetricsPage":
    """Return all metrics at a time (s UTC), with `values` also those of channels; `bus` is whether the broker answers."""
    page = MetricsPage()
    page.gauge("bus_up", "Whether this node's api is connected to the broker.", bus, node=node)
    for (owner, name), status in sorted(live.services.items()):
        _service(page, status, now, node=owner, service=name)
        if name == UPLOADER:
            _uploads(page, status.facts.get("targets"), now, owner)
    for (owner, name), device in sorted(live.devices.items()):
        _device(page, device, now, node=owner, device=name)
        if values:
            _values(page, device)
    about = "Samples that are missing here: there were too many, or two had the same labels."
    page.gauge("metrics_dropped_samples", about, page.dropped, node=node)
    return page


class MetricsPage(Collector):
    """The metrics of one response, by name."""

    def __init__(self) -> None:
        self.dropped = 0
        self._metrics: dict[str, Metric] = {}
        self._seen: set[tuple[str, ...]] = set()

    def collect(self) -> Iterable[Metric]:
        """Return all metrics."""
        return self._metrics.values()

    def text(self) -> bytes:
        """Return the page in Prometheus' text format, version 0.0.4."""
        return generate_latest(self)

    def gauge(self, name: str, about: str, value: object, /, **labels: str) -> None:
        """Add a gauge; nothing if the value is not a finite number."""
        self._add("gauge", name, about, value, labels)

    def counter(self, name: str, about: str, value: object, /, **labels: str) -> None:
        """Add a counter; its name gets the suffix `_total`."""
        self._add("counter", name, about, value, labels)

    def states(self, name: str, about: str, state: object, states: Iterable[str], /, **labels: str) -> None:
        """Add a sample for each of the states: 1 for the current one, 0 for the others."""
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
        key = (name, *shown.values())
        if key in self._seen or len(metric.samples) >= MOST_SAMPLES:
            self.dropped += 1
            return
        self._seen.add(key)
        metric.add_sample(f"{name}_total" if kind == "counter" else name, shown, number)


def finite(value: object) -> float | None:
    """Return a number or a boolean as a finite number, None for everything else."""
    return float(value) if isinstance(value, int | float) and is_value(value) else None


def label(text: str) -> str:
    """Return a text as the value of a label: short, of printable characters."""
    short = text[:LABEL_CHARACTERS]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in short)


def _age(now: float, moment: object) -> float | None:
    then = finite(moment)
    return None if then is None else max(0.0, now - then)


def _limited(page: MetricsPage, things: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield at most MOST_NAMES of them, and count the rest as dropped."""
    page.dropped += max(0, len(things) - MOST_NAMES)
    yield from sorted(things.items())[:MOST_NAMES]


def _service(page: MetricsPage, status: Status, now: float, *, node: str, service: str) -> None:
    labels = {"node": node, "service": service}
    online = status.state == "online"
    page.gauge("service_up", "Whether the status of a service is online.", online, **labels)
    if not online:
        return
    page.gauge("service_info", "The version of a service.", 1, **labels, version=status.version)
    page.gauge("service_start_time_seconds", "When a service was started, s since 1970.", status.started, **labels)
    page.gauge("service_status_age_seconds", "Age of the status of a service.", _age(now, status.time), **labels)
    page.gauge("service_clock_synchronised", "Whether a service trusts its clock.", not status.clock, **labels)
    for name, value in _limited(page, status.counters):
        if name in OUTBOX:
            page.gauge(*OUTBOX[name], value, **labels)
        elif name in GAUGES:
            page.gauge(
                "service_number",
                "A number in the status of a service that goes up and down.",
                value,
                **labels,
                name=name,
            )
        else:
            page.counter(
                "service_events", "A counter in the status of a service, since its start.", value, **labels, name=name
            )


def _uploads(page: MetricsPage, targets: object, now: float, node: str) -> None:
    if not isinstance(targets, dict):
        return
    for target, facts in _limited(page, targets):
        if not isinstance(facts, dict):
            continue
        labels = {"node": node, "target": target}
        kind = facts.get("kind")
        page.gauge("upload_info", "The kind of a target.", 1, **labels, kind=kind if isinstance(kind, str) else "")
        page.states("upload_state", "The state of a target.", facts.get("state"), UPLOAD_STATES, **labels)
        for fact, words in UPLOAD_GAUGES.items():
            page.gauge(*words, facts.get(fact), **labels)
        for fact, words in UPLOAD_AGES.items():
            page.gauge(*words, _age(now, facts.get(fact)), **labels)
        for fact, words in UPLOAD_COUNTERS.items():
            page.counter(*words, facts.get(fact), **labels)


def _device(page: MetricsPage, device: DeviceState, now: float, /, **labels: str) -> None:
    state = device.availability or "unknown"
    page.states("device_availability", "The availability of a device.", state, AVAILABILITIES, **labels)
    if device.info and device.info.interval > 0:
        about = "Expected time between two readings of a device."
        page.gauge("device_interval_seconds", about, device.info.interval, **labels)
    if device.newest:
        newest = max(one.time for one in device.newest.values())
        page.gauge("device_reading_age_seconds", "Age of the newest reading of a device.", _age(now, newest), **labels)


def _values(page: MetricsPage, device: DeviceState) -> None:
    for name, channel in device.channels().items():
        if one := device.newest.get(name):
            labels = {"node": device.node, "device": device.name, "channel": name, "unit": channel.unit}
            page.gauge("channel_value", "The newest value of a channel, in its own unit.", one.value, **labels)
