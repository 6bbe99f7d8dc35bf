"""The service: a worker for every target, woken when storage has committed, and commands about them."""

import gc
import logging
from functools import partial

from heliograph import topics
from heliograph.bus import Message
from heliograph.errors import StoreAway
from heliograph.service import Service
from heliograph.store import open_reader
from heliograph.store.damage import Damage
from heliograph.store.interface import Reader
from services.uploader.engine.state import StateFile
from services.uploader.management import Management
from services.uploader.settings import Uploader
from services.uploader.workers import Workers

log = logging.getLogger(__name__)

STATUS_SECONDS = 2.0
GARBAGE = 50_000  # objects between two looks for cycles: rows come by the thousand, and are in none


def main(options: Uploader, service: Service) -> None:
    """Upload until the process is stopped."""
    gc.set_threshold(GARBAGE)
    targets = options.parsed()
    folder = service.data / "uploader"
    file = StateFile(folder / "uploader.db")
    damage = Damage()
    reader = open_reader(service.store.data, url=service.store.url, damage=damage)
    workers = Workers(service.node, folder, reader, file, partial(_now, service, reader))
    try:
        workers.start(targets)
        if not workers.names():
            log.info("nothing to upload: config.toml has no [[uploader.targets]], and no target was added at runtime")
        with Management(service, workers):
            service.bus.subscribe(topics.every_service("committed"), partial(_committed, workers))
            while True:
                service.fact("targets", workers.facts())
                service.fact("problems", [*file.problems, *workers.problems()])
                service.fact("store_problems", damage.problems())
                service.wait(STATUS_SECONDS)
    finally:
        workers.stop()
        reader.close()
        file.close()


def _committed(workers: Workers, _message: Message) -> None:
    workers.wake()


def _now(service: Service, reader: Reader) -> float:
    """Return the time; while the clock cannot be trusted, that of the newest point: an interval is not over before it is."""
    if service.clock.synchronised:
        return service.clock.now()
    try:
        extent = reader.extent()
    except StoreAway:
        return 0.0
    return extent[1] if extent else 0.0
