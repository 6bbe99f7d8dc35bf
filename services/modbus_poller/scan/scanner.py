"""Looking for Modbus devices: on a serial line at each rate and address, at a host at each address."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from services.modbus_poller import models
from services.modbus_poller.client import Client
from services.modbus_poller.errors import LineDown
from services.modbus_poller.options import Device, Line
from services.modbus_poller.reads import Block, request
from services.modbus_poller.scan import identify

# In the order of how many devices are delivered with them.
RATES = (9600, 19200, 115200, 2400, 38400, 4800, 57600)
UNITS = range(1, 11)
LAST_UNIT = 247
NOBODY = 213  # an address that nobody gives: who answers to it does not look at the address
QUESTIONS = (request(4, 0, 2), request(3, 0, 2))

Look = Callable[[str], object]


class Found(NamedTuple):
    """A device that answers at an address, and what it seems to be: "" if it is none of the models."""

    unit_id: int
    model: str


class Finding(NamedTuple):
    """What was found on a line: its rate and parity (of a host: 0 and "none"), its devices, or why it could not be used."""

    port: str
    baud: int
    parity: str
    devices: list[Found]
    trouble: str = ""


def likely_units() -> list[int]:
    """Return the addresses that are worth a try: the low ones, and those that devices are delivered with."""
    delivered = {models.load(name).header.unit_id for name in models.names()}
    return sorted({*UNITS, *delivered, 126})


def steps(line: str, units: Iterable[int], rates: Iterable[int], parities: Iterable[str]) -> int:
    """Return how many addresses `scan` asks on a line, if nobody is found before the last rate."""
    count = len(list(units))
    return count if "://" in line else count * len(list(rates)) * len(list(parities))


def scan(
    port: str,
    units: Iterable[int],
    rates: Iterable[int],
    parities: Iterable[str],
    timeout: float,
    look: Look,
    step: Callable[[], object],
) -> Finding:
    """Return the devices of a line. Only reads; all devices of a serial line are at the first rate where one answers.

    `look` hears what is tried, `step` is called after each address.
    """
    units = list(units)
    serial = "://" not in port
    try:
        for baud in rates if serial else [0]:
            for parity in parities if serial else ["none"]:
                with _client(port, baud, parity, timeout) as client:
                    where = f"{baud} baud, {'even parity, ' if parity == 'even' else ''}" if serial else ""
                    there = list(_answering(client, units, look, where, step))
                    if there:
                        devices = [_identified(client, unit, look) for unit in there]
                        return Finding(port, baud, parity, devices)
    except LineDown as error:
        return Finding(port, 0, "none", [], str(error))
    return Finding(port, 0, "none", [])


@contextmanager
def _client(port: str, baud: int, parity: str, timeout: float) -> Iterator[Client]:
    anyone = (Device("anyone", models.SUNSPEC),)
    even = parity == "even"
    line = Line(port, anyone, baud=baud, parity="even" if even else "none", timeout=timeout)
    with Client(line) as client:
        yield client


def _answering(client: Client, units: list[int], look: Look, where: str, step: Callable[[], object]) -> Iterator[int]:
    """Yield the addresses that answer; only the first, if the device answers to any."""
    any_address = False
    for unit in units:
        look(f"{where}unit ID {unit}")
        step()
        if any_address or not identify.is_there(_reader(client, unit), QUESTIONS):
            continue
        yield unit
        any_address = identify.is_there(_reader(client, NOBODY), QUESTIONS[:1])


def _identified(client: Client, unit: int, look: Look) -> Found:
    match = identify.best(_reader(client, unit), models.names(), lambda name: look(f"unit ID {unit}: trying {name}"))
    return Found(unit, match.model if match else "")


def _reader(client: Client, unit: int) -> Callable[[Block], list[int]]:
    def read(block: Block) -> list[int]:
        return client.read(unit, block.function, block.address, block.count, PAUSE_SECONDS)

    return read


PAUSE_SECONDS = 0.02  # what most devices need between two requests, whatever they are
