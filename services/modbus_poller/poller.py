"""The service: a thread for each line."""

import logging
import threading
import time

from heliograph import topics
from heliograph.bus import Message
from heliograph.service import Service
from services.modbus_poller import writing
from services.modbus_poller.options import ModbusPoller
from services.modbus_poller.worker import LineWorker

log = logging.getLogger(__name__)

STUCK_SECONDS = 150.0  # longer than any time-out: a driver that never returns
CHECK_SECONDS = 5.0
SHUTDOWN_SECONDS = 1.0
STAGGER_SECONDS = 0.0008  # between the ticks of one line and the next: too short to notice, but a thousand lines spread


def main(options: ModbusPoller, service: Service) -> None:
    """Poll until the process is stopped."""
    if not options.lines:
        log.warning("no [[modbus_poller.lines]] in the configuration: nothing to poll")
    producer = service.producer()
    stop = threading.Event()
    workers = [LineWorker(line, service, producer, stop, n * STAGGER_SECONDS) for n, line in enumerate(options.lines)]
    threads = [
        threading.Thread(target=worker.run, name=line.port, daemon=True)
        for worker, line in zip(workers, options.lines, strict=True)
    ]
    by_device = {
        device.name: worker for worker, line in zip(workers, options.lines, strict=True) for device in line.devices
    }
    subscribe(service, by_device)
    for thread in threads:
        thread.start()
    try:
        while True:
            if all(time.monotonic() - worker.last_progress < STUCK_SECONDS for worker in workers):
                service.wait(CHECK_SECONDS)
            else:
                time.sleep(CHECK_SECONDS)  # without a heartbeat, so that the supervisor restarts the service
    finally:
        stop.set()
        for worker in workers:
            worker.wake()
        end = time.monotonic() + SHUTDOWN_SECONDS
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))


def subscribe(service: Service, workers: dict[str, LineWorker]) -> None:
    """Pass the commands for each device on to its worker; retained commands are outdated, and ignored."""

    def receive(message: Message) -> None:
        device = topics.parse(message.topic).owner
        if message.retained or device not in workers:
            return
        try:
            workers[device].submit(writing.parse(device, message))
        except ValueError as error:
            service.set_aside(str(error), message.payload, f"{device}: set")

    service.bus.subscribe(topics.every_device("set", service.node), receive)
