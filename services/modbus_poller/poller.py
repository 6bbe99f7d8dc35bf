"""The service: a thread for each line."""

import threading
import time

from heliograph.service import Service
from services.modbus_poller.options import ModbusPoller
from services.modbus_poller.worker import Worker

STUCK_SECONDS = 150.0  # longer than any time-out: a driver that never returns
LOOK_SECONDS = 5.0
LEAVE_SECONDS = 1.0


def main(options: ModbusPoller, service: Service) -> None:
    """Poll until the process is told to stop."""
    producer = service.producer()
    stop = threading.Event()
    workers = [Worker(line, service, producer, stop) for line in options.lines]
    threads = [
        threading.Thread(target=worker.run, name=line.port, daemon=True)
        for worker, line in zip(workers, options.lines, strict=True)
    ]
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
        end = time.monotonic() + LEAVE_SECONDS
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
