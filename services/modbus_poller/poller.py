"""The service: a thread for each line."""

import threading
import time

from heliograph import topics
from heliograph.bus import Message
from heliograph.service import Service
from services.modbus_poller import writing
from services.modbus_poller.options import ModbusPoller
from services.modbus_poller.worker import Worker

STUCK_SECONDS = 150.0  # longer than any time-out: a driver that never returns
LOOK_SECONDS = 5.0
LEAVE_SECONDS = 1.0
APART_SECONDS = 0.0008  # between the ticks of one line and the next: few lines seem to tick at once, many do not


def main(options: ModbusPoller, service: Service) -> None:
    """Poll until the process is told to stop."""
    producer = service.producer()
    stop = threading.Event()
    workers = [Worker(line, service, producer, stop, n * APART_SECONDS) for n, line in enumerate(options.lines)]
    threads = [
        threading.Thread(target=worker.run, name=line.port, daemon=True)
        for worker, line in zip(workers, options.lines, strict=True)
    ]
    owners = {
        device.name: worker for worker, line in zip(workers, options.lines, strict=True) for device in line.devices
    }
    listen(service, owners)
    for thread in threads:
        thread.start()
    try:
        while True:
            if all(time.monotonic() - w.moved < STUCK_SECONDS for w in workers):
                service.wait(LOOK_SECONDS)
            else:
                time.sleep(LOOK_SECONDS)
    finally:
        stop.set()
        for worker in workers:
            worker.wake()
        end = time.monotonic() + LEAVE_SECONDS
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))


def listen(service: Service, owners: dict[str, Worker]) -> None:
    """Pass commands for these devices on to who polls them; a retained command is an old one."""

    def take(message: Message) -> None:
        device = topics.parse(message.topic).owner
        if message.retained or device not in owners:
            return
        try:
            owners[device].obey(writing.command(device, message))
        except ValueError as error:
            service.set_aside(str(error), message.payload, f"{device}: set")

    service.bus.subscribe(topics.every_device("set", service.node), take)
