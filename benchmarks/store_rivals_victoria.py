"""VictoriaMetrics, written to with the same line protocol."""

import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks.processes import free_port, wait_for
from benchmarks.store_data import Day
from benchmarks.store_demands import tree_bytes
from benchmarks.store_rivals import RivalServer
from benchmarks.store_rivals_influx import LINES, lines
from cli import programs


class Victoria:
    """A metric `device_channel` of each channel."""

    def __init__(self, folder: Path) -> None:
        self.name = "VictoriaMetrics"
        self._folder = folder
        address = f"127.0.0.1:{free_port()}"
        self._server = RivalServer(
            "victoria-metrics",
            programs.find("victoria-metrics"),
            f"-storageDataPath={folder / 'data'}",
            f"-httpListenAddr={address}",
            "-retentionPeriod=100y",
            "-search.maxPointsPerTimeseries=1000000",
            "-loggerLevel=ERROR",
        )
        self._http = httpx.Client(base_url=f"http://{address}", timeout=600)
        wait_for(self._is_up, "VictoriaMetrics does not answer", 30)

    def _is_up(self) -> bool:
        try:
            return self._http.get("/health").is_success
        except httpx.TransportError:
            return False

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
        """Have it merge all parts of each month."""
        self._http.get("/internal/force_flush").raise_for_status()
        self._http.get("/internal/force_merge").raise_for_status()
        time.sleep(2)
        self._server.wait_idle()

    def bytes(self) -> int:
        """Return the bytes of its files."""
        return tree_bytes(self._folder)

    def bucketed(self, channel: str, start: float, end: float, seconds: int) -> int:
        """Ask avg_over_time for the bucket before each step."""
        question = {
            "query": f"avg_over_time(meter_{channel}[{seconds}s])",
            "start": str(start + seconds),
            "end": str(end),
            "step": f"{seconds}s",
            "nocache": "1",
        }
        answer = self._http.get("/api/v1/query_range", params=question)
        answer.raise_for_status()
        return len(answer.json()["data"]["result"][0]["values"])

    def stop(self) -> None:
        """End the server."""
        self._http.close()
        self._server.stop()

    def _write(self, body: str) -> None:
        self._http.post("/write", params={"precision": "ms"}, content=body.encode()).raise_for_status()


def start(folder: Path) -> Victoria:
    """Return the database, empty; raise FileNotFoundError if there is none."""
    return Victoria(folder)
