"""What a live node of 24 series writes to its card: the meter of set A and one device of set B, a FULL commit every 10 s.

Accelerated: a day of data as fast as it goes, the store's clock being the data's; the same for a table of rows in SQLite;
with blocks of 1 KiB, as mkfs.ext4 gives an image below 512 MB, and of 4 KiB, as a card has them.
This undercounts what ext4's journal adds in real time. --real-time SECONDS counts that too, beside servers, and
extrapolates to a day; all get the hour before it first, so that none is measured while its files still grow.
Needs root: every store is on a private loop ext4.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks import store_data as data
from benchmarks import store_demands as demands
from benchmarks import store_rivals
from benchmarks.store_data import Day
from benchmarks.store_loop import CARD, SMALL, Disk, NoLoop, disk
from benchmarks.store_rivals_sqlite import Sqlite
from heliograph.messages import Info
from heliograph.store import open_writer
from heliograph.store.interface import Progress

COMMIT = 10  # seconds
WARM = 3600  # seconds of data before anything is counted
MEGABYTES = 1024
REAL_TIME_DEMANDS = {"InfluxDB": 0.5, "PostgreSQL": 0.25}


class Own:
    """The store, committed on request; `Rival.live` of our own."""

    def __init__(self, folder: Path) -> None:
        self.name = "Heliograph"
        self._time = 0.0
        self._sequence = 0
        self._writer = open_writer(folder, now=lambda: self._time)
        for name, channels in (("meter", data.METER), ("room0", data.ROOM)):
            self._writer.declare(data.NODE, name, Info("benchmark", channels))

    def live(self, days: Sequence[Day], now: float) -> None:
        """Take readings one by one, as they come, commit them with the progress of two producers; do what is due."""
        self._time = now
        for day in days:
            for block in day.blocks(1):
                self._writer.write(data.NODE, [block])
                self._sequence += 1
        progress = Progress(self._sequence, 0)
        self._writer.commit({(f"{data.NODE}/{name}", data.EPOCH): progress for name in ("poller", "bridge")})
        while self._writer.maintain():
            pass

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


def intervals(start: float, end: float) -> Iterator[tuple[float, list[Day]]]:
    """Yield what is read until each commit: (its time, a part of a Day per device)."""
    first = int(start // data.DAY_SECONDS)
    for number in range(first, int(-(-end // data.DAY_SECONDS))):
        whole = [next(data.meter(number, 1)), *next(data.rooms(number, 1, devices=1))]
        for since in range(number * data.DAY_SECONDS, (number + 1) * data.DAY_SECONDS, COMMIT):
            if start <= since < end:
                yield since + COMMIT, [_part(day, since * 1000, (since + COMMIT) * 1000) for day in whole]


def _part(day: Day, start: int, end: int) -> Day:
    first, last = np.searchsorted(day.times, [start, end])
    return day._replace(times=day.times[first:last], columns=[column[first:last] for column in day.columns])


def accelerated(folder: Path, hours: float, block: int, rivals: bool) -> None:
    """Print what so many hours cost the device whose ext4 has blocks of so many bytes."""
    start = float(demands.day_number(demands.YEAR) * data.DAY_SECONDS) - WARM
    end = start + WARM + hours * 3600
    with disk(folder, f"own{block}", MEGABYTES, block) as card:
        own = Own(card.folder)
        values, before, begun = 0, 0, 0.0
        for now, days in intervals(start, end):
            if now == start + WARM + COMMIT:
                before, begun = card.written(), time.process_time()
            own.live(days, now)
            values += sum(day.values for day in days) if now > start + WARM else 0
        used = time.process_time() - begun
        ours = (card.written() - before) / values
        own.close()
    demands.row(
        f"live, {hours:g} h accelerated, FULL every {COMMIT} s, blocks of {block}", ours, "B/value", at_most=160
    )
    demands.row("  … that is", ours * values / hours * 24 / 1e6, "MB/day")
    demands.row("  … and CPU, without decoding and the data's making", used / values * 1e6, "CPU s/M values")
    if rivals:
        with disk(folder, f"rows{block}", MEGABYTES, block) as card:
            rows = Sqlite(card.folder)
            before = 0
            for now, days in intervals(start, end):
                if now == start + WARM + COMMIT:
                    before = card.written()
                rows.live(days)
            theirs = (card.written() - before) / values
            rows.stop()
        demands.ratio(f"SQLite rows, FULL every {COMMIT} s", ours, theirs, "B/value", at_most=0.1)


def real_time(folder: Path, seconds: int, block: int, mounted: str, names: str) -> None:
    """Print what so many seconds cost each device, as MB a day."""
    with ExitStack() as opened:
        card = opened.enter_context(disk(folder, "real", MEGABYTES, block, mounted))
        own = Own(card.folder)
        opened.callback(own.close)
        others: list[tuple[Disk, store_rivals.Rival]] = []
        for name in [name for name in names.split(",") if name != "none"]:
            theirs = opened.enter_context(disk(folder, name, MEGABYTES, block, mounted))
            others += [(theirs, rival) for rival in opened.enter_context(store_rivals.started(name, theirs.folder))]
        begin = time.time() // COMMIT * COMMIT
        for now, days in intervals(begin - WARM, begin):
            own.live(days, now)
        before_them = []
        for theirs, rival in others:
            rival.live([day for now, days in intervals(begin - WARM, begin) for day in days])
            before_them.append(theirs.written())
        before, begun = card.written(), time.monotonic()
        begin = time.time() // COMMIT * COMMIT
        for now, days in intervals(begin, begin + seconds):
            time.sleep(max(0.0, now - time.time()))
            own.live(days, now)
            for _, rival in others:
                rival.live(days)
        a_day = data.DAY_SECONDS / (time.monotonic() - begun) / 1e6
        ours = (card.written() - before) * a_day
        demands.row(
            f"live, {seconds} s in real time, FULL every {COMMIT} s, blocks of {block}", ours, "MB/day", at_most=150
        )
        for (theirs, rival), earlier in zip(others, before_them, strict=True):
            figure = (theirs.written() - earlier) * a_day
            demands.ratio(rival.name, ours, figure, "MB/day", at_most=REAL_TIME_DEMANDS.get(rival.name))


def main() -> None:
    """Print the table, or why there is none."""
    parser = demands.arguments("store_device", __doc__)
    parser.add_argument("--hours", type=float, default=24, help="how many hours of data, accelerated (default: 24)")
    parser.add_argument("--real-time", type=int, default=0, metavar="SECONDS", help="count in real time, too")
    parser.add_argument(
        "--block", type=int, choices=(SMALL, CARD), default=CARD, help="of the ext4s in real time (4096)"
    )
    parser.add_argument("--mount", default="defaults", help="options of the ext4s in real time, such as commit=60")
    store_rivals.option(parser, "sqlite")
    options = parser.parse_args()
    names = ",".join(name for name in options.rivals.split(",") if name != "sqlite") or "none"
    with demands.workplace(options.folder) as folder:
        try:
            if options.hours:
                for block in (SMALL, CARD):
                    accelerated(folder, options.hours, block, "sqlite" in options.rivals)
            if options.real_time:
                real_time(folder, options.real_time, options.block, options.mount, names)
        except NoLoop as error:
            print(f"nothing can be counted: {error}")


if __name__ == "__main__":
    main()
