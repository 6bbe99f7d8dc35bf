"""Producer outbox → broker → storage, frames of 10 readings of 10 values, beside `mosquitto_sub > file`.

The flood: CPU seconds per 100,000 readings of every process, without its start. The pace: at 1,000 readings/s, the time
from a reading to the commit that makes it durable. The rest: what an idle storage needs.
"""

import argparse
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.processes import Measured, free_port, tool, wait_for

FLOOD_READINGS = 100_000
PACED_READINGS = 20_000
PER_SECOND = 1_000


class Bench:
    """A node in a temporary folder."""

    def __init__(self, folder: Path, count: int, per_second: float, commit_seconds: float) -> None:
        self.folder = folder
        self.count = count
        self.port = free_port()
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[node]\nname = "bench"\ndata = "{folder}"\nclock = "trust"\n[broker]\nport = {self.port}\n'
            f"[storage]\ncommit_seconds = {commit_seconds}\n"
            f"[producing]\ncount = {count}\nper_second = {per_second}\n"
        )
        settings = folder / "mosquitto.conf"
        settings.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n"
            "max_inflight_messages 5000\nmax_queued_messages 0\nmax_queued_bytes 67108864\n"
        )
        self.broker = Measured("broker", tool("mosquitto"), "-c", str(settings))
        time.sleep(0.3)

    def rows(self) -> int:
        """How many readings are durable."""
        path = self.folder / "store" / "hot.db"
        if not path.exists():
            return 0
        database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            return int(database.execute("SELECT coalesce(max(seq), 0) FROM frame").fetchone()[0])
        except sqlite3.OperationalError:
            return 0
        finally:
            database.close()


def flood() -> dict[str, float]:
    """Return CPU seconds per process, and readings per second from the first to the last commit."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), FLOOD_READINGS, 0, 0.5)
        storage = Measured.module("services.storage", bench.config)
        time.sleep(1.5)
        before = {"broker": bench.broker.cpu, "storage": storage.cpu}
        producer = Measured.module("benchmarks.producing", bench.config)
        wait_for((Path(name) / "begun").exists, "the producer never began")
        begun = time.monotonic()
        wait_for(lambda: bench.rows() >= FLOOD_READINGS, "the flood never ended")
        took = time.monotonic() - begun
        used = {
            "producer": producer.cpu - float((Path(name) / "begun").read_text()),
            "broker": bench.broker.cpu - before["broker"],
            "storage": storage.cpu - before["storage"],
        }
        for process in (producer, storage, bench.broker):
            process.stop()
        return {**used, "total": sum(used.values()), "readings/s": FLOOD_READINGS / took}


def floor() -> dict[str, float]:
    """Return the same with `mosquitto_sub > file` in the place of storage: no parsing, no commit, no acknowledgement."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), FLOOD_READINGS, 0, 0.5)
        target = Path(name) / "journal.txt"
        with target.open("wb") as out:
            topic = "heliograph/bench/services/+/journal"
            replay = "heliograph/bench/services/+/replay"
            sub = Measured(
                "sub",
                tool("mosquitto_sub"),
                *("-p", str(bench.port), "-V", "5", "-q", "1", "-t", topic, "-t", replay),
                stdout=out,
            )
            time.sleep(0.5)
            before = bench.broker.cpu
            producer = Measured.module("benchmarks.producing", bench.config)
            # nobody commits here, so the producer stops at its window of 2,000 frames
            wait_for(lambda: target.read_bytes().count(b"\n") >= 1_900, "mosquitto_sub never got the window")
            share = target.read_bytes().count(b"\n") * 10 / FLOOD_READINGS
            used = {"broker": (bench.broker.cpu - before) / share, "mosquitto_sub": sub.cpu / share}
            for process in (producer, sub, bench.broker):
                process.stop()
        return used


def paced(commit_seconds: float) -> list[float]:
    """Return the seconds from each reading to the commit that made it durable."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), PACED_READINGS, PER_SECOND, commit_seconds)
        storage = Measured.module("services.storage", bench.config)
        time.sleep(1.5)
        producer = Measured.module("benchmarks.producing", bench.config)
        seen, waits = 0, []
        path = Path(name) / "store" / "hot.db"
        database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
        while seen < PACED_READINGS:
            rows = database.execute("SELECT seq, ts FROM frame WHERE seq > ? ORDER BY seq", (seen,)).fetchall()
            now = time.time()
            waits += [now - ts / 1000 for _, ts in rows]
            seen = rows[-1][0] if rows else seen
            time.sleep(0.002)
        database.close()
        for process in (producer, storage, bench.broker):
            process.stop()
        return sorted(waits)


def idle() -> float:
    """Return the resident memory in MB of a storage that has nothing to do."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), 0, 0, 10)
        storage = Measured.module("services.storage", bench.config)
        time.sleep(5)
        rss = storage.rss
        storage.stop()
        bench.broker.stop()
        return rss


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how many runs the medians are of (default: 3)")
    runs = parser.parse_args().runs
    floods = [flood() for _ in range(runs)]
    floors = [floor() for _ in range(runs)]
    print(f"CPU s per {FLOOD_READINGS:,} readings of 10 values in frames of 10, median of {runs}")
    for key in ("producer", "broker", "storage", "total"):
        print(f"  {key:<24}{statistics.median(run[key] for run in floods):8.2f}")
    bare = {key: statistics.median(run[key] for run in floors) for key in ("broker", "mosquitto_sub")}
    for key, value in bare.items():
        print(f"  floor: {key:<17}{value:8.2f}")
    ratio = statistics.median(run["broker"] + run["storage"] for run in floods) / sum(bare.values())
    print(f"  broker + storage against broker + mosquitto_sub > file: {ratio:.1f}x")
    print(f"  {statistics.median(run['readings/s'] for run in floods):,.0f} readings/s from the first to durable")
    for commit_seconds in (0.1, 0.5, 1.0):
        waits = paced(commit_seconds)
        p50, p99 = (waits[int(len(waits) * part)] for part in (0.5, 0.99))
        print(
            f"{PER_SECOND:,} readings/s, commit every {commit_seconds:g} s: reading → committed "
            f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms (interval + {(p99 - commit_seconds) * 1000:.0f} ms)"
        )
    print(f"idle storage: {idle():.1f} MB RSS")


if __name__ == "__main__":
    main()
