"""What answers cost: CPU milliseconds of the store, page cache warm, beside the rivals where no tier helps.

"fresh" is a reader's first answer to the question, "again" the same reader's next ones, which find the closed months in
its cache. Medians of several readers. Without --store, a store of a year is made first.
"""

from pathlib import Path

from benchmarks import store_data as data
from benchmarks import store_demands as demands
from benchmarks import store_rivals
from benchmarks.store_make import make
from benchmarks.store_questions import DAY, Question, cpu_ms, extent, questions
from heliograph.store import buckets, open_reader

UNTIERED = 420  # seconds: no tier has buckets that make seven minutes
RIVAL_DEMANDS = {"DuckDB file": 2.0, "PostgreSQL": 0.15, "SQLite rows": 0.15}


def measured(store: Path, question: Question, runs: int) -> tuple[float, float]:
    """Return the CPU ms of a fresh reader, which has only read the names, and of one that has been asked before."""
    fresh, again = [], []
    for _ in range(runs):
        reader = open_reader(store)
        reader.series()
        fresh.append(cpu_ms(reader, question))
        again.append(cpu_ms(reader, question))
        reader.close()
    return demands.median(fresh), demands.median(again)


def own(store: Path, runs: int) -> None:
    """Print the table of our own."""
    reader = open_reader(store)
    start, end = extent(reader)
    asked = questions(reader.series(), start, end)
    reader.close()
    print(f"a store of {(end - start) / DAY:.0f} days of set A; CPU ms, page cache warm, median of {runs}")
    for question in asked:
        measured(store, question, 1)
        fresh, again = measured(store, question, runs)
        demands.row(question.name, fresh, f"ms (again: {demands.shown(again)})", at_most=question.demand)


def beside(store: Path, names: str, days: int, runs: int, folder: Path) -> None:
    """Print what the bucket that no tier fits costs ours and the rivals, over the last days of the store."""
    last = demands.day_number(demands.YEAR + 1)
    start, end = (last - days) * DAY, last * DAY
    reader = open_reader(store)
    edges = buckets.edges(start, end, f"{UNTIERED}s", "UTC")
    number = next(one.id for one in reader.series() if one.channel == "load_power")
    reader.close()
    what = Question(
        "", days, None, lambda reader: len(reader.aggregate(number, edges, ("n", "mean", "min", "max"))["n"])
    )
    measured(store, what, 1)
    ours, _ = measured(store, what, runs)
    demands.row(f"{days} d @ 7 min, 1 series", ours, "ms")
    with store_rivals.started(names, folder) as rivals:
        for rival in rivals:
            for day in data.meter(last - days, days):
                rival.load(day)
            rival.settle()
            for seconds in (UNTIERED, 3600):
                rival.bucketed("load_power", start, end, seconds)
                begun, asked = rival.cpu, 0
                while asked < runs or (
                    rival.cpu - begun < 0.3 and asked < 50
                ):  # the kernel counts a server's CPU in steps of 10 ms
                    rival.bucketed("load_power", start, end, seconds)
                    asked += 1
                theirs = (rival.cpu - begun) * 1000 / asked
                if seconds == UNTIERED:
                    limit = RIVAL_DEMANDS.get(rival.name)
                    demands.ratio(f"{rival.name}: {days} d @ 7 min", ours, theirs, "ms", at_most=limit)
                else:
                    demands.row(f"{rival.name}: {days} d @ 1 h", theirs, "ms")


def main() -> None:
    """Print the table."""
    parser = demands.arguments("store_queries", __doc__)
    parser.add_argument("--store", type=Path, default=None, help="a folder that store_make filled")
    parser.add_argument("--runs", type=int, default=5, help="how many readers are asked (default: 5)")
    parser.add_argument("--days", type=int, default=10, help="how many days the rivals hold (default: 10; better: 90)")
    store_rivals.option(parser, "sqlite,duckdb,postgres")
    options = parser.parse_args()
    with demands.workplace(options.folder) as folder:
        store = options.store or folder / "year"
        if not options.store:
            make(store, 365)
        own(store, options.runs)
        beside(store, options.rivals, options.days, options.runs, folder / "rivals")


if __name__ == "__main__":
    main()
