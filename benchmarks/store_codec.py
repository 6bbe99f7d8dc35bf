"""Size and speed of the store's block codec on typical channels: `python -m benchmarks.store_codec`.

Bytes per value beside zlib of the same numbers as float64, and CPU nanoseconds per value with either kernel.
It needs numpy. The channels are deterministic: the tests of the codec hold their sizes.
"""

import math
import random
import statistics
import time
import zlib
from array import array
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import click

from heliograph.store import blocks, fast_blocks, plain_blocks

DAY = 17_280  # readings of a day, one every 5 s
MONTH = 744  # hours
POWERS = (0.2, 0.3, 0.3, 0.5, 0.5, 0.8, 1.0, 1.5, 2.0)  # W, what the noise of a phase or a load is


def wandering(chance: random.Random, start: float, step: float, noise: float, digits: int) -> list[float]:
    """Return a day of a random walk with a sensor's noise."""
    path = accumulate((chance.gauss(0, step) for _ in range(DAY - 1)), initial=start)
    return [round(value + chance.gauss(0, noise), digits) for value in path]


def load(chance: random.Random, noise: float) -> list[float]:
    """Return a day of power in W: a base load, and a device that is switched a few times an hour."""
    volts, level = [], 0.0
    for _ in range(DAY):
        if chance.random() < 0.005:
            level = chance.choice((0.0, 0.0, 60.0, 800.0, 2000.0))
        volts.append(round(chance.gauss(120 + level, noise * (1 + level / 500)), 1))
    return volts


def sun(chance: random.Random) -> list[float]:
    """Return a day of power in W of a roof: nothing at night, clouds by day."""
    high = (max(0.0, -math.cos(index / DAY * 2 * math.pi)) for index in range(DAY))
    return [round(4000 * part * (1 - 0.002 * abs(chance.gauss(0, 1))), 1) for part in high]


def counter(powers: list[float]) -> list[float]:
    """Return the energy in Wh that these powers make."""
    energies = accumulate((power * 5 / 3600 for power in powers[1:]), initial=81_234.5)
    return [round(energy, 1) for energy in energies]


def meter(seed: int) -> dict[str, list[float]]:
    """Return a day of an energy meter with 14 channels."""
    chance = random.Random(seed)
    powers = {f"power {number}": load(chance, noise) for number, noise in enumerate(POWERS[:-1])}
    powers["power sun"] = sun(chance)
    return {
        "voltage": wandering(chance, 230, 0.02, 0.05, 2),
        "frequency": wandering(chance, 50, 0.0005, 0.005, 2),
        **powers,
        "imported": counter(powers["power 0"]),
        "exported": counter(powers["power sun"]),
        "temperature": wandering(chance, 21, 0.005, 0.03, 1),
    }


def harder(seed: int) -> dict[str, list[float]]:
    """Return a day of each kind of values that compress badly."""
    chance = random.Random(seed)
    single = array("f", [chance.gauss(230, 5) for _ in range(DAY)])
    tenths = [round(chance.gauss(230, 5), 1) for _ in range(DAY)]
    return {
        "1 decimal, sd 5": tenths,
        "2 decimals, sd 1": [round(chance.gauss(230, 1), 2) for _ in range(DAY)],
        "3 decimals, sd 1": [round(chance.gauss(20, 1), 3) for _ in range(DAY)],
        "float32, 7 digits": [float(f"{value:.7g}") for value in single],
        "float32, widened": list(single),
        "ADC counts": [round(chance.gauss(9000, 20)) / 32768 * 3.3 for _ in range(DAY)],
        "float64": [chance.gauss(230, 5) for _ in range(DAY)],
        "1 % odd": [value if chance.random() > 0.01 else value / 3 for value in tenths],
    }


def times(seed: int) -> dict[str, list[int]]:
    """Return the integers of a day: time axes in ms, and arrival numbers."""
    chance = random.Random(seed)
    start = 1_700_000_000_000
    grid = [start + 5000 * number for number in range(DAY)]
    return {
        "times, grid": grid,
        "times, 0.05 % missing": [at for at in grid if chance.random() > 0.0005],
        "times, jitter 60 ms": [at + chance.randrange(60) for at in grid],
        "arrivals, 1 in 5": list(accumulate((chance.choice((1, 4, 5, 5, 5, 6, 9)) for _ in grid), initial=4_000_000)),
    }


def nanoseconds(work: Callable[[Any], object], items: list[Any], count: int, runs: int) -> float:
    """Return the CPU time per value of some work on every item, as the median of several runs."""
    seconds = []
    for _ in range(runs):
        begun = time.process_time()
        for item in items:
            work(item)
        seconds.append(time.process_time() - begun)
    return statistics.median(seconds) * 1e9 / count


def row(title: str, columns: "list[array[Any]]", runs: int) -> None:
    """Print the size of some columns of floats or integers, and what writing and reading them takes."""
    floats = columns[0].typecode == "d"
    encode, decode = (
        (blocks.encode_floats, blocks.decode_floats) if floats else (blocks.encode_ints, blocks.decode_ints)
    )
    count = sum(map(len, columns))
    size = sum(len(encode(column)) for column in columns) / count
    yardstick = sum(len(zlib.compress(array("d", column).tobytes())) for column in columns) / count
    line = f"{title:24}{size:9.3f}{yardstick:9.3f}{size / yardstick:7.2f}"
    for kernel in (fast_blocks, plain_blocks):
        blocks.kernel = kernel
        vectors = [blocks.floats(column) if floats else blocks.ints(column) for column in columns]
        encoded = [encode(vector) for vector in vectors]
        line += f"{nanoseconds(encode, vectors, count, runs):9.0f}{nanoseconds(decode, encoded, count, runs):9.1f}"
    print(line)


@click.command()
@click.option("--runs", default=5, show_default=True, help="Times are the median of so many runs.")
@click.option("--seed", default=1, show_default=True, help="Of the random numbers.")
def main(runs: int, seed: int) -> None:
    """Print bytes and nanoseconds per value of a day of each channel, and of a month of hours."""
    print(f"{'':24}{'B/value':>9}{'zlib':>9}{'ratio':>7}{'numpy ns/value':>18}{'plain ns/value':>18}")
    print(f"{'':49}{'write':>9}{'read':>9}{'write':>9}{'read':>9}")
    day = {name: array("d", values) for name, values in meter(seed).items()}
    row("meter, 14 channels", list(day.values()), runs)
    for name, column in day.items():
        row(name, [column], runs)
    for name, values in harder(seed).items():
        row(name, [array("d", values)], runs)
    for name, numbers in times(seed).items():
        row(name, [array("q", numbers)], runs)
    row("month of hours, x14", [column[:MONTH] for column in day.values()], runs)


if __name__ == "__main__":
    main()
