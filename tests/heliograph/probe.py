"""A service for tests: does what the [probe] section says. Run with: python -m tests.heliograph.probe FILE."""

import threading
from typing import Literal

from heliograph.config import ServiceOptions
from heliograph.service import Service, run


class Probe(ServiceOptions, frozen=True):
    """The [probe] section."""

    then: Literal["wait", "return", "crash", "crash_thread", "crash_callback"] = "wait"


def main(options: Probe, service: Service) -> None:
    """Report something, then end as configured."""
    service.count("things", 3)
    service.fact("colour", "red")
    service.watch(lambda: {"watched": 7})
    for number in range(12):
        service.set_aside("not a thing", f"thing {number} \ud800 {'x' * 500}", "port \udfff")
    service.set_aside("not bytes", b"\xff\x00", "port " * 200)
    service.report()
    service.bus.subscribe("probe/go", lambda _: crash() if options.then == "crash_callback" else None)
    service.bus.publish("probe/here", b"")
    if options.then == "return":
        service.bus.wait_connected(30)
        return
    if options.then == "crash":
        crash()
    if options.then == "crash_thread":
        service.bus.wait_connected(30)  # only a connected client has a will
        threading.Thread(target=crash, name="worker").start()
    while True:
        service.wait(60)


def crash() -> None:
    """Fail as a mistake in a program does."""
    raise RuntimeError("a mistake")


if __name__ == "__main__":
    run("probe", Probe, main)
