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

from benchmarks.processes import Measured, free_port, wait_for
from cli import programs

FLOOD_READINGS = 300_000
PACED_READINGS = 20_000
PER_SECOND = 1_000
LIVE_DEVICES = 100
LIVE_SECONDS = 60


class Bench:
    """A node in a temporary folder."""

    def __init__(
        self, folder: Path, count: int, per_second: float, commit_seconds: float, node: str = "", producing: str = ""
    ) -> None:
        self.folder = folder
        self.count = count
        self.port = free_port()
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[node]\nname = "bench"\ndata = "{folder}"\nclock = "trust"\n{node}\n[broker]\nport = {self.port}\n'
            f"[storage]\ncommit_seconds = {commit_seconds}\n"
            f"[producing]\ncount = {count}\nper_second = {per_second}\n{producing}\n"
        )
        settings = folder / "mosquitto.conf"
        settings.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n"
            "max_inflight_messages 5000\nmax_queued_messages 1000000\nmax_queued_bytes 67108864\n"
        )
        self.broker = Measured("broker", programs.find("mosquitto"), "-c", str(settings))
        time.sleep(0.3)

    def rows(self) -> int:
        """How many readings are durable."""
        path = self.folder / "store" / "hot.db"
        if not path.exists():
            return 0
        database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            newest = "SELECT coalesce(max(seq), (SELECT value FROM meta WHERE key='last'), 0) FROM frame"
            return int(database.execute(newest).fetchone()[0])
        except sqlite3.OperationalError:
            return 0
        finally:
            database.close()


def flood() -> dict[str, float]:
    """Return CPU seconds per 100,000 readings of each process, and readings per second from the first to the last commit.

    `mosquitto_sub > file` reads the same journals beside storage: no parsing, no commit.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(folder, FLOOD_READINGS, 0, 0.5)
        storage = Measured.module("services.storage", bench.config)
        with (folder / "journal.txt").open("wb") as out:
            topics = [part for kind in ("journal", "replay") for part in ("-t", f"heliograph/bench/services/+/{kind}")]
            command = [programs.find("mosquitto_sub"), "-p", str(bench.port), "-V", "5", "-q", "1", *topics]
            sub = Measured("mosquitto_sub", *command, stdout=out)
        time.sleep(1.5)
        before = {process: process.cpu for process in (bench.broker, storage, sub)}
        producer = Measured.module("benchmarks.producing", bench.config)
        wait_for((folder / "begun").exists, "the producer never began")
        begun = time.monotonic()
        wait_for(lambda: bench.rows() >= FLOOD_READINGS, "the flood never ended", 120)
        took = time.monotonic() - begun
        used = {
            "producer": producer.cpu - float((folder / "begun").read_text()),
            "broker": bench.broker.cpu - before[bench.broker],
            "storage": storage.cpu - before[storage],
        }
        used["total"] = sum(used.values())
        used["mosquitto_sub"] = sub.cpu - before[sub]
        for process in (producer, storage, sub, bench.broker):
            process.stop()
        scaled = {key: value * 100_000 / FLOOD_READINGS for key, value in used.items()}
        return {**scaled, "readings/s": FLOOD_READINGS / took}


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


def live(changing: int, node: str) -> dict[str, float]:
    """Return CPU seconds per 100,000 readings of producer and broker: 100 devices, each read every second.

    `changing` of the ten values of a reading are others than before; `node` is what the section [node] has besides.
    """
    count = LIVE_DEVICES * LIVE_SECONDS
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), count, LIVE_DEVICES, 10, node, f"devices = {LIVE_DEVICES}\nchanging = {changing}")
        before = bench.broker.cpu
        producer = Measured.module("benchmarks.producing", bench.config)
        wait_for((Path(name) / "produced").exists, "the producer never ended")
        used = {
            "producer": producer.cpu - float((Path(name) / "begun").read_text()),
            "broker": bench.broker.cpu - before,
        }
        producer.stop()
        bench.broker.stop()
        return {key: value * 100_000 / count for key, value in used.items()}


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


def ratio(median: dict[str, float]) -> str:
    """Return how much more storage needs than the floor, which may be too little to measure."""
    floor = median["mosquitto_sub"]
    return f"{median['storage'] / floor:.0f} times that" if floor else "the floor is below the clock's 10 ms"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how many runs the medians are of (default: 3)")
    runs = parser.parse_args().runs
    floods = [flood() for _ in range(runs)]
    median = {key: statistics.median(run[key] for run in floods) for key in floods[0]}
    print(f"CPU s per 100,000 readings of 10 values in frames of 10, starts excluded, median of {runs}")
    for key in ("producer", "broker", "storage", "total"):
        print(f"  {key:<24}{median[key]:8.2f}")
    print(f"  {'mosquitto_sub > file':<24}{median['mosquitto_sub']:8.2f}   (storage: {ratio(median)})")
    print(f"  {median['readings/s']:,.0f} readings/s from the first to durable")
    for commit_seconds in (0.1, 0.5, 1.0):
        waits = paced(commit_seconds)
        p50, p99 = (waits[int(len(waits) * part)] for part in (0.5, 0.99))
        print(
            f"{PER_SECOND:,} readings/s, commit every {commit_seconds:g} s: reading → committed "
            f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms (interval + {(p99 - commit_seconds) * 1000:.0f} ms)"
        )
    for changing in (2, 10):
        off, on = (live(changing, node) for node in ("", 'plain_values = ["*/*"]'))
        print(
            f"{LIVE_DEVICES} devices every second, {changing} of 10 values change, CPU s per 100,000 readings: "
            f"producer {off['producer']:.1f}, broker {off['broker']:.1f}; with plain values "
            f"{on['producer']:.1f} ({on['producer'] / off['producer']:.2f} times) and {on['broker']:.1f} "
            f"({on['broker'] / off['broker']:.2f} times)"
        )
    print(f"idle storage: {idle():.1f} MB RSS")


if __name__ == "__main__":
    main()
