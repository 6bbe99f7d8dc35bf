"""A backlog of the 14-channel meter to InfluxDB 1.x and VictoriaMetrics, beside one `curl` that sends the same bodies, prepared.

Values per second, their ratio, CPU seconds per million values, and the uploader's largest resident memory.
"""

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks import store_make
from benchmarks.processes import Measured, free_port, wait_for
from benchmarks.store_rivals_influx import SETTINGS
from cli import programs
from heliograph.store import open_reader
from services.uploader.engine.raw_source import RawSource
from services.uploader.engine.selection import Selection
from services.uploader.engine.source import ChannelMap
from services.uploader.targets import parse_options
from services.uploader.targets.influxdb.target import ROWS
from services.uploader.targets.shared.line_writer import LineNames, LineWriter

START_SECONDS = 60.0
LOOK_SECONDS = 0.1  # between two looks at how far it has come


class DatabaseServer:
    """An empty database in a process of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.port = free_port()
        folder.mkdir()
        if name == "influxdb":
            settings = folder / "influxdb.conf"
            settings.write_text(SETTINGS.format(folder=folder, port=self.port, rpc=free_port()))
            command = [programs.find("influxd"), "-config", str(settings)]
        else:
            command = [
                programs.find("victoria-metrics"),
                f"-storageDataPath={folder / 'data'}",
                f"-httpListenAddr=127.0.0.1:{self.port}",
                "-retentionPeriod=100y",
                "-loggerLevel=ERROR",
            ]
        self.process = Measured(name, *command)
        wait_for(lambda: self._curl("ping" if name == "influxdb" else "health"), f"{name} did not start", START_SECONDS)
        if name == "influxdb":
            self._curl("query?q=CREATE+DATABASE+bench", "-XPOST")

    @property
    def url(self) -> str:
        """The address of the database."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        """The options of a target that uploads to it."""
        database = 'version = 1\ndatabase = "bench"' if self.name == "influxdb" else 'bucket = "bench"'
        return f'name = "bench"\nkind = "influxdb"\nurl = "{self.url}"\nfrom = "beginning"\n{database}\n'

    @property
    def write(self) -> str:
        """The address that takes a body."""
        return f"{self.url}/" + (
            "write?db=bench&precision=ms" if self.name == "influxdb" else "api/v2/write?bucket=bench&precision=ms"
        )

    def _curl(self, path: str, *options: str) -> bool:
        command = ["curl", "-sf", "-o", "/dev/null", *options, f"{self.url}/{path}"]
        return subprocess.run(command, check=False).returncode == 0


def bodies(data: Path, folder: Path) -> tuple[int, int]:
    """Write the bodies of all requests to files; return how many rows and values they have."""
    folder.mkdir()
    reader = open_reader(data)
    channels = ChannelMap(reader, Selection(parse_options({"kind": "file", "name": "bench"})))
    readings = RawSource(reader, channels, 0.0, {})
    writer = LineWriter(LineNames("${device}", "${name}", {"node": "${node}"}, ()), 1000)
    cursor, rows, values = 0.0, 0, 0
    while (page := readings.read(cursor, readings.head(0.0), ROWS)).upto > cursor:
        some = page.rows
        (folder / f"{rows:010}").write_bytes(writer.body(some))
        cursor, rows, values = page.upto, rows + len(some), values + sum(len(row.values) for row in some)
    reader.close()
    return rows, values


def upload(server: DatabaseServer, data: Path, folder: Path, rows: int) -> tuple[float, float, float]:
    """Run the uploader until all rows are there; return seconds from its first request on, CPU seconds, and MB."""
    folder.mkdir()
    shutil.copytree(data / "store", folder / "store")
    config = folder / "config.toml"
    config.write_text(
        f'[node]\nname = "bench"\ndata = "{folder}"\nclock = "trust"\n[broker]\nport = {free_port()}\n'
        f"[[uploader.targets]]\n{server.target}"
    )
    state = folder / "uploader/uploader.db"
    process = Measured.module("services.uploader", config)
    wait_for(state.exists, "the uploader did not start", START_SECONDS)
    wait_for(lambda: _sent(state) is not None, "the uploader sees no store", START_SECONDS)
    begun, peak = time.monotonic(), 0.0
    try:
        while (_sent(state) or 0) < rows:
            peak = max(peak, process.rss)
            time.sleep(LOOK_SECONDS)
        return time.monotonic() - begun, process.cpu, peak
    finally:
        process.stop()


def _sent(state: Path) -> int | None:
    with closing(sqlite3.connect(f"{state.as_uri()}?mode=ro", uri=True)) as database:
        try:
            row = database.execute("SELECT state FROM target WHERE name = 'bench'").fetchone()
        except sqlite3.OperationalError:
            return None
    return int(json.loads(row[0])["sent"]) if row and row[0] else None


def curl(server: DatabaseServer, folder: Path) -> float:
    """Send all bodies with one curl, over one connection; return seconds."""
    script = folder.parent / "curl.conf"
    entries = [
        f'url = "{server.write}"\ndata-binary = "@{body}"\noutput = "/dev/null"\nfail\nsilent\n'
        for body in sorted(folder.iterdir())
    ]
    script.write_text("next\n".join(entries))
    begun = time.monotonic()
    subprocess.run(["curl", "-K", str(script)], check=True)
    return time.monotonic() - begun


def measure(name: str, data: Path, rounds: int, rows: int, values: int, folder: Path) -> None:
    """Print the results for one database."""
    ours: list[float] = []
    theirs: list[float] = []
    cpus: list[float] = []
    peaks: list[float] = []
    for number in range(rounds):
        for client in ("uploader", "curl"):
            server = DatabaseServer(name, folder / f"{name}-{number}-{client}")
            try:
                if client == "curl":
                    theirs.append(values / curl(server, folder / "bodies"))
                else:
                    seconds, cpu, peak = upload(server, data, folder / f"node-{name}-{number}", rows)
                    ours.append(values / seconds)
                    cpus.append(cpu)
                    peaks.append(peak)
            finally:
                server.process.stop()
    # The median of each round's ratio: machines drift.
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    print(
        f"{name:18} uploader {statistics.median(ours) / 1000:7.0f} k values/s   "
        f"curl {statistics.median(theirs) / 1000:7.0f} k   {ratio:6.1%}   "
        f"{statistics.median(cpus) / values * 1e6:.2f} CPU s per million values   at most {max(peaks):.0f} MB",
        flush=True,
    )


def main() -> None:
    """Make the data, unless it is given, and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uploader", description=__doc__)
    parser.add_argument("--days", type=int, default=30, help="of data (default: 30, which are 7.3 M values)")
    parser.add_argument("--store", type=Path, help="a folder with a store of store_make, in place of making one")
    parser.add_argument("--rounds", type=int, default=3, help="the median of which is printed (default: 3)")
    parser.add_argument("--only", choices=("influxdb", "victoria-metrics"), help="one of the databases")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = options.store
        if data is None:
            data = folder / "data"
            data.mkdir()
            store_make.make(data, options.days, quiet=True)
        rows, values = bodies(data, folder / "bodies")
        print(f"{rows} readings, {values / 1e6:.1f} M values", flush=True)
        for database in ("influxdb", "victoria-metrics"):
            if options.only in (None, database):
                measure(database, data, options.rounds, rows, values, folder)


if __name__ == "__main__":
    main()
