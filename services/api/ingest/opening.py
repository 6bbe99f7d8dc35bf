"""Builds everything that accepts readings, from the configuration and the service."""

from collections.abc import Collection, Mapping

from heliograph import names, names_before
from heliograph.service import Service
from services.api.addresses import Addresses
from services.api.ingest.bodies import Bodies
from services.api.ingest.emoncms import EmoncmsInput
from services.api.ingest.gate import Gate
from services.api.ingest.intake import HttpIntake
from services.api.ingest.keys import Keys
from services.api.ingest.naming import PostedNames
from services.api.ingest.options import EmoncmsOptions, PimonitorOptions, SmartPlugOptions
from services.api.ingest.posts import PimonitorPost
from services.api.ingest.routes import Ingest
from services.api.ingest.smartplug import SmartPlugs
from services.api.live import LiveState
from services.api.reader_pool import ReaderPool


def open_ingest(
    service: Service,
    live: LiveState,
    store: ReaderPool,
    *,
    keys: Mapping[str, str],
    body_limit: int,
    writes_per_second: float,
    ahead_seconds: float,
    addresses: Addresses,
    origins: Collection[str],
    pimonitor: PimonitorOptions,
    smartplug: SmartPlugOptions,
    emoncms: EmoncmsOptions,
) -> Ingest:
    """Return what accepts readings; raise ConfigError if the outbox cannot be opened."""
    device_keys = {f"device {user}": device.key for user, device in emoncms.devices.items()}
    gate = Gate(
        Keys(keys, device_keys),
        Bodies(body_limit),
        writes_per_second,
        origins,
        service.count,
        service.set_aside,
        addresses,
    )
    rule = names.rule_of(service.data, service.name, names_before.PLAIN)
    intake = HttpIntake(
        service.producer(),
        live,
        service.node,
        service.data / "api" / "devices.json",
        clock_is_right=lambda: service.clock.synchronised,
        ahead_seconds=ahead_seconds,
        now=service.clock.now,
        names=PostedNames(rule),
    )
    service.watch(intake.counters)
    return Ingest(
        gate,
        intake,
        PimonitorPost(pimonitor, gate, intake, service.clock.now),
        EmoncmsInput(emoncms, gate, intake, store, service.clock.now),
        SmartPlugs(smartplug, gate, intake, live),
    )
