"""A real Modbus TCP server in a thread."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Self

from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.conftest import free_port

Tables = Mapping[int, Mapping[int, int]]  # by function, by address


class PymodbusServer:
    """Serves unit 1 with these tables; what lies between their addresses is 0."""

    def __init__(self, tables: Tables, framer: FramerType = FramerType.SOCKET) -> None:
        self.port = free_port()
        self._tables = tables
        self._framer = framer
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        device = SimDevice(1, (self._bits(1), self._bits(2), self._words(3), self._words(4)))
        server = ModbusTcpServer(device, framer=self._framer, address=("127.0.0.1", self.port))
        await server.serve_forever(background=True)
        self._ready.set()
        await self._stop.wait()
        server.close()
        await asyncio.sleep(0.05)

    def _words(self, function: int) -> list[SimData]:
        start, values = _filled(self._tables.get(function, {}))
        return [SimData(start, values=values, datatype=DataType.REGISTERS)]

    def _bits(self, function: int) -> list[SimData]:
        start, values = _filled(self._tables.get(function, {}))
        bits = [bool(value) for value in values]
        bits += [False] * (-len(bits) % 16)
        return [SimData(start, values=bits, datatype=DataType.BITS)]


def _filled(table: Mapping[int, int]) -> tuple[int, list[int]]:
    if not table:
        return 0, [0]
    first, last = min(table), max(table)
    return first, [table.get(address, 0) for address in range(first, last + 1)]
