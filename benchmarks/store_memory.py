"""The most resident memory that a writer and a reader ever have, with numpy and without, each a process of its own.

The writer takes a backlog of sets A and B until it is sealed and settled; the reader answers all questions
of store_queries. Without --store, a store of a year is made first.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import store_data as data
from benchmarks import store_demands as demands
from benchmarks.store_child import BLOCKED
from benchmarks.store_make import make
from cli.programs import ROOT

WITH = ["-m", "benchmarks.store_child"]
WITHOUT = ["-c", BLOCKED]


def payloads(first: int, count: int) -> Iterator[bytes]:
    """Yield the journals of both sets, day by day."""
    sequence = 1
    for number in range(first, first + count):
        devices = [*data.meter(number, 1), *next(data.rooms(number, 1))]
        frames, sequence = data.journal(devices, sequence)
        yield from frames


def writing(how: list[str], folder: Path, first: int, count: int) -> float:
    """Return the peak of a writer that takes so many days."""
    command = [sys.executable, *how, "write", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        if child.stdin is None or child.stdout is None:
            raise OSError("no pipes")
        for payload in payloads(first, count):
            child.stdin.write(len(payload).to_bytes(4, "little") + payload)
        child.stdin.close()
        return _reported_number(child.stdout.read())


def reading(how: list[str], store: Path, *, details: bool) -> float:
    """Return the peak of a reader over the whole set of questions."""
    command = [sys.executable, *how, "read", str(store)]
    aside = None if details else subprocess.DEVNULL
    return _reported_number(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=aside).stdout)


def _reported_number(output: bytes) -> float:
    return float(output.decode().split()[-1])


def main() -> None:
    """Print the table."""
    parser = demands.arguments("store_memory", __doc__)
    parser.add_argument("--store", type=Path, default=None, help="a folder that store_make filled")
    parser.add_argument("--days", type=int, default=3, help="how many days the writers take (default: 3)")
    parser.add_argument("--details", action="store_true", help="say what each question cost a reader")
    options = parser.parse_args()
    first = demands.day_number(demands.YEAR)
    with demands.workplace(options.folder) as folder:
        store = options.store or folder / "year"
        if not options.store:
            make(store, 365)
        for name, how in (("numpy", WITH), ("without numpy", WITHOUT)):
            peak = writing(how, folder / name.replace(" ", "-"), first, options.days)
            demands.row(f"writer, {name}: {options.days} days of A and B", peak, "MB peak RSS", at_most=60)
            peak = reading(how, store, details=options.details)
            demands.row(f"reader, {name}: all questions, twice", peak, "MB peak RSS", at_most=80)


if __name__ == "__main__":
    main()
