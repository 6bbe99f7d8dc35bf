"""How everything that takes readings is put together from the configuration and the service."""

from collections.abc import Collection, Mapping

from heliograph.service import Service
from services.api.history import History
from services.api.ingest.bodies import Bodies
from services.api.ingest.emoncms import EmoncmsInput
from services.api.ingest.gate import Gate
from services.api.ingest.intake import Intake
from services.api.ingest.keys import Keys
from services.api.ingest.options import Emoncms, Pimonitor, SmartPlug
from services.api.ingest.posts import PimonitorPost
from services.api.ingest.routes import Ingest
from services.api.ingest.smartplug import Plugs
from services.api.live import Live


def open_ingest(
    service: Service,
    live: Live,
    history: History,
    *,
    keys: Mapping[str, str],
    body_limit: int,
    writes_per_second: float,
    origins: Collection[str],
    pimonitor: Pimonitor,
    smartplug: SmartPlug,
    emoncms: Emoncms,
) -> Ingest:
    """Return what takes readings; raise ConfigError if the outbox is out of reach."""
    device_keys = {f"device {user}": device.key for user, device in emoncms.devices.items()}
    gate = Gate(
        Keys(keys, device_keys), Bodies(body_limit), writes_per_second, origins, service.count, service.set_aside
    )
    intake = Intake(
        service.producer(),
        live,
        service.node,
        service.data / "api" / "devices.json",
        clock_is_right=lambda: service.clock.synchronised,
    )
    service.watch(intake.counters)
    return Ingest(
        gate,
        intake,
        PimonitorPost(pimonitor, gate, intake, service.clock.now),
        EmoncmsInput(emoncms, gate, intake, history, service.clock.now),
        Plugs(smartplug, gate, intake, live),
    )
