"""What a value costs at rest, all tiers, and what CPU a backlog costs from JSON until it is sealed; beside the rivals.

Set A goes into each of them, set B and the harder values into ours. Servers get line protocol or COPY, whose making is
not counted; ours gets the journals as storage receives them. Then: one value per message.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from benchmarks import store_data as data
from benchmarks import store_demands as demands
from benchmarks import store_rivals
from benchmarks.store_own import Filling, filled
from heliograph.messages import Block, Frame

SIZE_DEMANDS = {"VictoriaMetrics": 1.7, "InfluxDB": 0.2, "SQLite rows": 0.05}
CPU_DEMANDS = {"InfluxDB": 1.0, "PostgreSQL": 0.5}
SINGLES = 200_000


def own(folder: Path, what: str, days: Iterable[Sequence[data.Day]], at_most: float | None) -> Filling:
    """Fill a store of ours and print its size; the demand is on the values alone, as research measured them."""
    filling = filled(folder, days)
    demands.row(f"{what}, values alone", filling.chunk_bytes() / filling.values, "B/value", at_most=at_most)
    demands.row("  … with times and all tiers", filling.sealed_bytes() / filling.values, "B/value")
    return filling


def singles(folder: Path) -> float:
    """Return how many values a CPU second takes when each is a message of its own: decode, write, commit."""
    start = float(demands.day_number(demands.YEAR) * data.DAY_SECONDS)
    filling = Filling(folder)
    payloads = [
        msgspec.json.encode(Frame([Block("meter", ("voltage",), [[start + n, 230 + n % 7 / 10]])], data.EPOCH, n + 1))
        for n in range(SINGLES)
    ]
    begun = time.process_time()
    for payload in payloads:
        filling.message(payload, maintained=False)
    filling.commit(maintained=False)
    used = time.process_time() - begun
    filling.close()
    return SINGLES / used


def main() -> None:
    """Print the table."""
    parser = demands.arguments("store_load", __doc__)
    parser.add_argument("--days", type=int, default=10, help="how many days of set A (default: 10; a year: 365)")
    store_rivals.option(parser, "sqlite,duckdb,influx,victoria,postgres")
    options = parser.parse_args()
    first, count = demands.day_number(demands.YEAR), options.days
    with demands.workplace(options.folder) as folder:
        print(f"{count} days of set A, {count * data.DAY_SECONDS // 5 * 14 / 1e6:.1f} M values")
        meter = filled(folder / "a", ([day] for day in data.meter(first, count)))
        size, cpu = meter.sealed_bytes() / meter.values, meter.cpu / meter.values * 1e6
        demands.row("at rest, set A, all tiers", size, "B/value", at_most=1.0)
        demands.row(
            "  … and hot.db and the names, however many values", (meter.bytes() - meter.sealed_bytes()) / 1e6, "MB"
        )
        demands.row("backlog, JSON → sealed", cpu, "CPU s/M values", at_most=0.8)
        with store_rivals.started(options.rivals, folder / "rivals") as rivals:
            for rival in rivals:
                begun = rival.cpu
                values = 0
                for day in data.meter(first, count):
                    rival.load(day)
                    values += day.values
                loaded = rival.cpu
                rival.settle()
                theirs = rival.bytes() / values
                demands.ratio(f"{rival.name}: at rest", size, theirs, "B/value", at_most=SIZE_DEMANDS.get(rival.name))
                used = (loaded - begun) / values * 1e6
                demands.ratio(f"{rival.name}: load", cpu, used, "CPU s/M values", at_most=CPU_DEMANDS.get(rival.name))
                demands.row("  … and to settle", (rival.cpu - loaded) / values * 1e6, "CPU s/M values")
        few = min(count, 10)
        room = own(folder / "b", f"set B, {few} days", data.rooms(first, few), None)
        demands.row("backlog, set B, JSON → sealed", room.cpu / room.values * 1e6, "CPU s/M values")
        for kind in data.HARDER:
            limit = 2.0 if kind == data.HARDER[0] else 3.0
            days = ([day] for day in data.harder(kind, first, 3))
            own(folder / kind.replace(" ", "-"), f"{kind}, 3 days", days, limit)
        demands.row(
            "one value per message, decode + hot", singles(folder / "singles"), "values/CPU s", at_least=100_000
        )


if __name__ == "__main__":
    main()
