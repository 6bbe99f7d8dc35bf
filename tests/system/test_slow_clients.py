"""Many slow clients and greedy bodies, without a key, at a real api: good senders and /health do not notice them.

With --full 2,000 connections for a minute, else 300 for as long as 100 readings take.
"""

import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliograph.store import open_writer
from tests.api.receiver import KEY, cheap_hash
from tests.conftest import ROOT, LocalBroker, free_port

Eventually = Callable[..., Any]
BODY = 1_048_576
SLOW = b"GET / HTTP/1.1\r\nHost: x\r\nX-a: "
GREEDY = f"POST /api/v1/readings HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n".encode() + bytes(BODY - 1)
GREEDY_FORM = GREEDY.replace(b"/api/v1/readings", b"/input/post")  # the key may be in such a body


@pytest.fixture
def address(tmp_path: Path, broker: LocalBroker, eventually: Eventually) -> Iterator[str]:
    """The address of an api that may open 512 files."""
    port, file = free_port(), tmp_path / "config.toml"
    file.write_text(
        f'[node]\nname = "roof"\ndata = "{tmp_path / "data"}"\nclock = "trust"\n{broker.section}'
        f'[api]\nport = {port}\nwrites_per_second = 10000.0\n[api.keys]\ngarden = "{cheap_hash(KEY)}"\n'
    )
    with closing(open_writer(tmp_path / "data")) as writer:
        writer.commit({})
    command = [sys.executable, "-m", "services.api", str(file)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", 'ulimit -n 512 && exec "$@"', "sh", *command], cwd=ROOT, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: answers(url))
            yield url
            assert process.poll() is None
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/health", verify=False).status_code == 200
    except httpx.TransportError:
        return False


class Attackers:
    """Clients at many addresses that send the beginning of a request, again whenever they are cut off."""

    def __init__(self, port: int, slow: int) -> None:
        self._port = port
        self._requests = [GREEDY] * 8 + [GREEDY_FORM] * 8 + [SLOW] * slow
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._attack, args=(number,)) for number in range(4)]
        self.begun = 0

    def __enter__(self) -> "Attackers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _attack(self, thread: int) -> None:
        mine = self._requests[thread :: len(self._threads)]
        with ExitStack() as opened:
            while not self._stop.is_set():
                for number, request in enumerate(mine):
                    if self._stop.is_set():
                        return
                    opened.enter_context(self._begin(f"127.0.{1 + thread}.{1 + number % 16}", request))
                    self.begun += 1
                self._stop.wait(1.0)
                opened.pop_all().close()  # and once more

    def _begin(self, source: str, request: bytes) -> socket.socket:
        client = socket.socket()
        client.settimeout(0.2)
        client.bind((source, 0))
        try:
            client.connect(("127.0.0.1", self._port))
            client.sendall(request)
        except OSError:
            pass  # it is cut off, or the server reads no more: what such clients are there for
        return client


def test_good_senders_and_health_do_not_notice_slow_clients_and_greedy_bodies(
    address: str, request: pytest.FixtureRequest
) -> None:
    full = request.config.getoption("--full")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    health: Counter[int] = Counter()
    answered: Counter[int] = Counter()
    try:
        with Attackers(int(address.rsplit(":", 1)[1]), 2000 if full else 300) as attackers:
            while attackers.begun < 300:
                time.sleep(0.05)
            end = time.monotonic() + (60 if full else 0)
            while answered.total() < 100 or time.monotonic() < end:
                answered[_post(address, answered.total())] += 1
                if answered.total() % 10 == 0:
                    health[_health(address)] += 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answered[202] >= 0.99 * answered.total(), answered
    assert set(health) == {200}, health


def _post(address: str, number: int) -> int:
    """Send a reading over a new connection, as sensors do; return the status, 0 for no answer."""
    reading = {"device": "attic", "values": {"n": number}}
    try:
        answer = httpx.post(
            f"{address}/api/v1/readings", json=reading, headers={"x-api-key": KEY}, timeout=30, verify=False
        )
    except httpx.TransportError:
        return 0
    return answer.status_code


def _health(address: str) -> int:
    try:
        return httpx.get(f"{address}/api/v1/health", timeout=30, verify=False).status_code
    except httpx.TransportError:
        return 0
