"""The readings of a device with channels of every kind, and the results of every query about them."""

import random
import struct
from datetime import UTC, datetime

from heliograph.messages import Block, Channel, Info, Value
from heliograph.store.buckets import edges
from heliograph.store.interface import FUNCTIONS, Reader, Writer
from tests.heliograph.plain_list import DAY

KINDS = Info(
    "Model",
    {
        "power": Channel("W"),
        "odd": Channel("W"),
        "energy": Channel("kWh", "counter", rollover=10_000.0),
        "mode": Channel("", "text"),
        "on": Channel("", "state"),
    },
)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
DECEMBER = NEW_YEAR - 31 * DAY
BUCKETS = [("1h", "UTC"), ("5m", "UTC"), ("1d", "Europe/Berlin"), ("1d", "Asia/Kolkata"), ("7m", "UTC"), ("1mo", "UTC")]
Reading = list[float | Value | None]


class Clock:
    """Returns the time that a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def readings(start: float, days: int, every: int, seed: int = 1) -> list[Reading]:
    """The readings of a device with channels of every kind."""
    chance = random.Random(seed)
    rows: list[Reading] = []
    energy = 9_000.0
    for n in range(int(days * DAY / every)):
        energy = round(energy + chance.random(), 1) % 10_000
        if chance.random() < 0.002:
            energy = 0.0
        power = None if chance.random() < 0.01 else round(chance.gauss(500, 30), 1)
        if chance.random() < 0.999 or n % 7:
            mode, is_on = chance.choice(["bulk", "float"]), chance.random() < 0.5
            rows.append([start + n * every, power, chance.gauss(0, 1) / 3, energy, mode, is_on])
    return rows


def block(rows: list[Reading]) -> list[Block]:
    return [Block("meter", tuple(KINDS.channels), rows)]


def bits(value: object) -> object:
    """A value with its floats as bytes, also within lists, tuples and dictionaries."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, dict):
        return {name: bits(one) for name, one in value.items()}
    return [bits(one) for one in value] if isinstance(value, list | tuple) else value


def query_results(reader: Reader, start: float, end: float) -> dict[str, object]:
    """The results of every query about all series, by name."""
    results: dict[str, object] = {"extent": reader.extent()}
    names = {one.id: one.name for one in reader.series()}
    for sid, name in names.items():
        page = reader.raw(sid, 0, 1e11, limit=10**9)
        results[f"{name} raw"] = [page.times, page.values]
        results[f"{name} latest"] = reader.latest([sid])[sid]
        for bucket, zone in BUCKETS:
            cuts = edges(start, end, bucket, zone)
            results[f"{name} {bucket} {zone}"] = reader.aggregate(sid, cuts, FUNCTIONS)
    results["export"] = sorted((time, names[sid], value) for time, sid, value in reader.export(list(names), 0, 1e11))
    return results


def differing(one: dict[str, object], other: dict[str, object]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if bits(one[name]) != bits(other[name])]


def take(writer: Writer, rows: list[Reading], at_once: int = 1000) -> None:
    for first in range(0, len(rows), at_once):
        assert writer.write("roof", block(rows[first : first + at_once])) == []
        writer.commit({})
