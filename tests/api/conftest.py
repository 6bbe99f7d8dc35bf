"""A store with a day of readings, and the application behind a real uvicorn.

Tests create HTTP clients with verify=False: loading the certificates of the machine costs 30 ms for each.
"""

import asyncio
import importlib.util
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from heliograph.messages import Block, Channel, Info
from heliograph.store import open_reader, open_writer
from heliograph.store.interface import Reader
from services.api.app import create_app
from services.api.connections import ServerConfig
from services.api.health import HealthWatch
from services.api.ingest.routes import Ingest
from services.api.live import LiveState
from services.api.reader_pool import ReaderPool
from services.api.uploads.client import UploaderClient
from tests.conftest import ROOT

# requirements.lock has schemathesis for 64-bit machines only.
collect_ignore = [] if importlib.util.find_spec("schemathesis") else ["test_openapi.py"]

START = 1763596800.0  # 2025-11-20 00:00 UTC
TRACER = Info(
    "epever_tracer",
    {
        "pv_power": Channel("W"),
        "energy": Channel("kWh", "counter"),
        "load": Channel("", "state"),
        "charging": Channel("", "text"),
    },
    interval=60.0,
)


def tracer_row(minute: int) -> list[object]:
    return [START + 60.0 * minute, float(minute), minute / 10, minute % 2 == 0, "boost" if minute % 3 else "float"]


@pytest.fixture(scope="session")
def written_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose store has 600 readings of roof/tracer, one per minute; tests change copies of it."""
    folder = tmp_path_factory.mktemp("written")
    writer = open_writer(folder)
    writer.declare("roof", "tracer", TRACER)
    writer.write("roof", [Block("tracer", tuple(TRACER.channels), [tracer_row(minute) for minute in range(600)])])
    writer.commit({})
    writer.close()
    return folder


@pytest.fixture
def data(written_data: Path, tmp_path: Path) -> Path:
    """A copy of `written_data` for this test alone."""
    return shutil.copytree(written_data, tmp_path / "data")


class PromptServer(uvicorn.Server):
    """uvicorn, which ends at once when asked to; on its own it looks every 0.1 s, and waits 0.1 s more."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(0.001)
        for task in self.server_state.tasks:
            task.cancel()


class Running:
    """The application on a loopback port, with an event loop in a thread of its own."""

    def __init__(
        self,
        open_store: Callable[[], Reader],
        origins: tuple[str, ...] = (),
        ingest: Callable[[LiveState, ReaderPool], Ingest] | None = None,
        uploader: Callable[[LiveState], UploaderClient] | None = None,
        port: int = 0,
    ) -> None:
        self.live = LiveState()
        self.connected = True
        self._store = ReaderPool(open_store)
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as services.api.server does
        self.port: int = self._listener.getsockname()[1]
        app = create_app(
            self.live,
            self._store,
            watch=HealthWatch(self.live, "roof", lambda: self.connected),
            origins=origins,
            ingest=ingest(self.live, self._store) if ingest else None,
            uploader=uploader(self.live) if uploader else None,
        )
        self.config = ServerConfig(app)
        self._server = PromptServer(self.config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._store:
            self._loop.run_until_complete(self._server.serve(sockets=[self._listener]))
        self._loop.close()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop it, if it has not been stopped."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._server.ended.set)
        self._thread.join()
        self._listener.close()
        del self._server  # FastAPI's caches keep `connected` permanently, and with it what this object has

    def do(self, action: Callable[[], object]) -> object:
        """Do something on the event loop and return what it returns."""

        async def act() -> object:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(10)

    def tell(self, topic: str, message: object) -> None:
        """Let the application hear a message of the bus."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.do(lambda: self.live.update(topic, payload))

    @property
    def connections(self) -> set[Any]:
        return self._server.server_state.connections

    def state(self, device: str, **values: object) -> None:
        self.tell(f"heliograph/roof/devices/{device}/state", {"time": START + 36000, "values": values})


@pytest.fixture(scope="session")
def packages() -> None:
    """Fetch the JavaScript packages that the pages import, if they are not here."""
    subprocess.run([ROOT / "scripts/frontend"], check=True)


@pytest.fixture
def running(data: Path) -> Iterator[Running]:
    site = Running(lambda: open_reader(data))
    site.start()
    yield site
    site.stop()


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}/api/v1", timeout=30, verify=False) as http:
        yield http
