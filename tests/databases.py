"""Real databases to upload to: Debian's InfluxDB 1.6 and VictoriaMetrics, on loopback ports. A plugin: see conftest.py."""

import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import free_port, optional_program

START_SECONDS = 60.0
INFLUX_SETTINGS = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
auth-enabled = {auth}
max-body-size = {most}
[logging]
level = "error"
"""


class Database:
    """A database that runs as a process of its own, and what it has."""

    def __init__(self, port: int, arguments: list[str], log: Path, ready: str) -> None:
        self.port = port
        self._arguments = arguments
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError):
                if self.ask("GET", self._ready)[0] < 300:
                    return
            assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < end, f"{self._arguments[0]} did not start"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Influx(Database):
    """InfluxDB 1.6."""

    def query(self, text: str, database: str = "site", **more: str) -> list[dict[str, Any]]:
        """Return the series of an answer."""
        body = urlencode({"q": text, "db": database, "epoch": "ms", **more}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        status, answer = self.ask("POST", "/query", body, **headers)
        assert status == 200, answer
        (result,) = json.loads(answer)["results"]
        assert "error" not in result, result
        series: list[dict[str, Any]] = result.get("series", [])
        return series

    def points(self, field: str, measurement: str, database: str = "site") -> dict[int, Any]:
        """Return the values of a field by time in ms."""
        series = self.query(f'SELECT "{field}" FROM "{measurement}"', database)
        return dict(series[0]["values"]) if series else {}


class Victoria(Database):
    """VictoriaMetrics."""

    def points(self, metric: str) -> dict[int, float]:
        """Return the values of a metric by time in ms, as far as they can be seen already."""
        self.ask("GET", "/internal/force_flush")
        status, answer = self.ask("GET", f"/api/v1/export?{urlencode({'match[]': metric})}")
        assert status == 200, answer
        values: dict[int, float] = {}
        for line in answer.splitlines():
            series = json.loads(line)
            values |= dict(zip(series["timestamps"], series["values"], strict=True))
        return values


def start_influx(folder: Path, *, auth: bool = False, most: int = 25_000_000) -> Influx:
    """Start an InfluxDB with an empty database `site`."""
    folder.mkdir()
    port = free_port()
    settings = folder / "influxdb.conf"
    settings.write_text(
        INFLUX_SETTINGS.format(folder=folder, port=port, rpc=free_port(), auth=str(auth).lower(), most=most)
    )
    influx = Influx(port, [optional_program("influxd"), "-config", str(settings)], folder / "log", "/ping")
    influx.start()
    return influx


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Influx]:
    """An InfluxDB with an empty database `site`."""
    running = start_influx(tmp_path / "influx")
    running.query("CREATE DATABASE site")
    yield running
    running.stop()


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Victoria]:
    """A VictoriaMetrics that has nothing yet."""
    port = free_port()
    arguments = [
        optional_program("victoria-metrics"),
        f"-storageDataPath={tmp_path / 'victoria'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=100y",
        "-loggerLevel=ERROR",
    ]
    running = Victoria(port, arguments, tmp_path / "victoria.log", "/health")
    running.start()
    yield running
    running.stop()
