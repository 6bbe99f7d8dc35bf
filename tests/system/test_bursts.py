"""Readings without a time of their own that arrive in one moment: each is stored."""

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.api.ingest.keys import hashed
from tests.conftest import LocalBroker, Processes
from tests.stored import points

KEY = "burst-key"
Eventually = Callable[..., Any]


@pytest.fixture
def ports(
    tmp_path: Path, broker: LocalBroker, processes: Processes, free_ports: Callable[[], int], eventually: Eventually
) -> tuple[int, int]:
    """The ports of api and serial_bridge beside a storage."""
    api, door = free_ports(), free_ports()
    config = tmp_path / "config.toml"
    config.write_text(
        f'[node]\nname = "pi"\ndata = "{tmp_path}/data"\nclock = "trust"\n[broker]\nport = {broker.port}\n'
        f"[storage]\ncommit_seconds = 0.2\n"
        f'[api]\nport = {api}\nwrites_per_second = 1000.0\n[api.keys]\ntest = "{hashed(KEY)}"\n'
        f'[[serial_bridge.sockets]]\nname = "door"\nport = {door}\nformat = "json_lines"\n'
    )
    for service in ("storage", "api", "serial_bridge"):
        processes.start(f"services.{service}", str(config))
    eventually(lambda: is_open(api) and is_open(door), 60)
    return api, door


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def stored(folder: Path, series: str) -> list[Any]:
    return [value for _, value in points(folder / "data").get(series, [])]


@pytest.mark.timeout(180)
def test_everything_that_comes_in_one_moment_is_stored(
    tmp_path: Path, ports: tuple[int, int], eventually: Eventually
) -> None:
    api, door = ports
    with socket.create_connection(("127.0.0.1", door), timeout=30) as client:
        client.sendall("".join(f'{{"device":"s","n":{number}}}\n' for number in range(1000)).encode())
        headers = {"authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{api}", headers=headers, timeout=60) as http:
            single = [{"device": "c", "values": {"n": number}} for number in range(100)]
            with ThreadPoolExecutor(100) as clients:
                answers = list(clients.map(lambda one: http.post("/api/v1/readings", json=one).status_code, single))
            assert answers == [202] * 100
            several = [{"device": "list", "values": {"n": number}} for number in range(10)]
            assert http.post("/api/v1/readings", content=json.dumps(several)).status_code == 202
    eventually(lambda: len(stored(tmp_path, "pi/s/n")) >= 1000, 60)
    eventually(lambda: len(stored(tmp_path, "pi/list/n")) >= 10, 60)
    assert stored(tmp_path, "pi/s/n") == list(range(1000))
    assert sorted(stored(tmp_path, "pi/c/n")) == list(range(100))
    assert stored(tmp_path, "pi/list/n") == list(range(10))
