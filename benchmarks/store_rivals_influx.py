"""InfluxDB 1.x and VictoriaMetrics, both written to with line protocol over HTTP."""

import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks.processes import free_port
from benchmarks.store_data import Day
from benchmarks.store_demands import tree_bytes
from benchmarks.store_rivals import RivalServer
from cli import programs

LINES = 5000  # in a request

SETTINGS = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
cache-snapshot-write-cold-duration = "5s"
compact-full-write-cold-duration = "5s"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
[logging]
level = "error"
"""


def lines(day: Day) -> list[str]:
    """Return a day in line protocol, times in ms."""
    names = list(day.channels)
    columns = [column.astype(float).tolist() for column in day.columns]
    return [
        f"{day.device} {','.join(f'{name}={value!r}' for name, value in zip(names, values, strict=True))} {ts}"
        for ts, *values in zip(day.times.tolist(), *columns, strict=True)
    ]


class Influx:
    """A measurement of each device, a field of each channel."""

    def __init__(self, folder: Path) -> None:
        self.name = "InfluxDB"
        self._folder = folder
        port = free_port()
        settings = folder / "influxdb.conf"
        settings.write_text(SETTINGS.format(folder=folder, port=port, rpc=free_port()))
        self._server = RivalServer("influxd", programs.find("influxd"), "-config", str(settings))
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600)
        _wait_for(self._http, "/ping")
        self._http.post("/query", params={"q": "CREATE DATABASE bench"}).raise_for_status()

    @property
    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        return self._server.cpu

    def load(self, day: Day) -> None:
        """Send a day."""
        text = lines(day)
        for at in range(0, len(text), LINES):
            self._write("\n".join(text[at : at + LINES]))

    def live(self, days: Sequence[Day]) -> None:
        """Send readings in one request."""
        self._write("\n".join(line for day in days for line in lines(day)))

    def settle(self) -> None:
        """Wait for it to have compacted what it compacts by itself after five cold seconds."""
        time.sleep(8)
        self._server.wait_idle()

    def bytes(self) -> int:
        """Return the bytes of its files."""
        return tree_bytes(self._folder)

    def bucketed(self, channel: str, start: float, end: float, seconds: int) -> int:
        """GROUP BY time."""
        question = (
            f"SELECT count({channel}), mean({channel}), min({channel}), max({channel}) FROM meter "
            f"WHERE time >= {int(start * 1000)}ms AND time < {int(end * 1000)}ms GROUP BY time({seconds}s)"
        )
        answer = self._http.get("/query", params={"db": "bench", "q": question, "epoch": "ms"})
        answer.raise_for_status()
        return len(answer.json()["results"][0]["series"][0]["values"])

    def stop(self) -> None:
        """End the server."""
        self._http.close()
        self._server.stop()

    def _write(self, body: str) -> None:
        self._http.post("/write", params={"db": "bench", "precision": "ms"}, content=body.encode()).raise_for_status()


def _wait_for(http: httpx.Client, path: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            http.get(path).raise_for_status()
        except (httpx.TransportError, httpx.HTTPStatusError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def start(folder: Path) -> Influx:
    """Return the database, empty; raise FileNotFoundError if there is none."""
    return Influx(folder)
