"""The scan of a line: a serial line at each baud rate and unit ID, a host at each unit ID."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from services.modbus_poller import models
from services.modbus_poller.client import LineClient
from services.modbus_poller.errors import LineDown
from services.modbus_poller.options import DeviceOptions, LineOptions
from services.modbus_poller.reads import ReadRequest, request
from services.modbus_poller.scan import identify

RATES = (9600, 19200, 115200, 2400, 38400, 4800, 57600)  # the most common factory settings first
LOW_UNIT_IDS = range(1, 11)
SUNSPEC_UNIT_ID = 126  # factory setting of many SunSpec devices
MAX_UNIT_ID = 247
UNUSED_UNIT_ID = 213  # a device that responds to it, too, ignores the unit ID
PROBES = (request(4, 0, 2), request(3, 0, 2))
REQUEST_DELAY_SECONDS = 0.02  # enough for most devices
LATEST_SECONDS = 2.0  # ten times the time-out: a response that comes later is not waited for

Progress = Callable[[str], object]


class FoundDevice(NamedTuple):
    """A unit ID that responds, and the model that fits the device, "" if none does."""

    unit_id: int
    model: str


class ScanResult(NamedTuple):
    """The devices of a line with its baud rate and parity (0 and "none" for a host), or why it cannot be opened."""

    port: str
    baud: int
    parity: str
    devices: list[FoundDevice]
    error: str = ""
    echoes: bool = False  # the adapter returns what is sent


def likely_unit_ids() -> list[int]:
    """Return the unit IDs that are worth a try: the low ones and factory settings."""
    factory_settings = {models.load(name).header.unit_id for name in models.names()}
    return sorted({*LOW_UNIT_IDS, *factory_settings, SUNSPEC_UNIT_ID})


def steps(port: str, unit_ids: Iterable[int], rates: Iterable[int], parities: Iterable[str]) -> int:
    """Return how many unit IDs `scan` tries on a line, if no device responds before the last rate."""
    count = len(list(unit_ids))
    return count if "://" in port else count * len(list(rates)) * len(list(parities))


def scan(
    port: str,
    unit_ids: Iterable[int],
    rates: Iterable[int],
    parities: Iterable[str],
    timeout: float,
    progress: Progress,
    step: Callable[[], object],
    connect: Callable[[LineOptions], LineClient] = lambda line: LineClient(line, latest=LATEST_SECONDS),
) -> ScanResult:
    """Return the devices of a line, which are only read. A serial line is scanned up to the first rate with a response.

    `progress` is called with a text before each try, `step` with each unit ID that is tried.
    """
    unit_ids = list(unit_ids)
    serial = "://" not in port
    try:
        for baud in rates if serial else [0]:
            for parity in parities if serial else ["none"]:
                with connect(_line(port, baud, parity, timeout)) as client:
                    settings = f"{baud} baud, {'even parity, ' if parity == 'even' else ''}" if serial else ""
                    responding = list(_responding(client, unit_ids, progress, settings, step))
                    if responding:
                        devices = [_identified(client, unit_id, progress) for unit_id in responding]
                        return ScanResult(port, baud, parity, devices, echoes=client.echoes)
    except LineDown as error:
        return ScanResult(port, 0, "none", [], str(error))
    return ScanResult(port, 0, "none", [])


def _line(port: str, baud: int, parity: str, timeout: float) -> LineOptions:
    devices = (DeviceOptions("device", models.SUNSPEC),)  # a line needs one
    return LineOptions(port, devices, baud=baud, parity="even" if parity == "even" else "none", timeout=timeout)


def _responding(
    client: LineClient, unit_ids: list[int], progress: Progress, settings: str, step: Callable[[], object]
) -> Iterator[int]:
    """Yield the unit IDs that respond; only the first, if its device ignores the unit ID."""
    ignores_unit_id: bool | None = None  # not known before the first response
    for unit_id in unit_ids:
        progress(f"{settings}unit ID {unit_id}")
        step()
        if ignores_unit_id or not identify.responds(_reader(client, unit_id), PROBES):
            continue
        yield unit_id
        if ignores_unit_id is None:
            ignores_unit_id = identify.responds(_reader(client, UNUSED_UNIT_ID), PROBES[:1])


def _identified(client: LineClient, unit_id: int, progress: Progress) -> FoundDevice:
    match = identify.best_match(
        _reader(client, unit_id), models.names(), lambda name: progress(f"unit ID {unit_id}: trying {name}")
    )
    return FoundDevice(unit_id, match.model if match else "")


def _reader(client: LineClient, unit_id: int) -> Callable[[ReadRequest], list[int]]:
    def read(one: ReadRequest) -> list[int]:
        return client.read(unit_id, one.function, one.address, one.count, REQUEST_DELAY_SECONDS)

    return read
