"""Many Modbus TCP devices in one process, each on a port of its own, for benchmarks/modbus_tcp.py."""

import argparse
import asyncio
import json
import signal
import struct
import time
from functools import partial
from pathlib import Path


class ModbusDevice(asyncio.Protocol):
    """Answers every request for registers with 230.4 V and the like; notes when each came."""

    def __init__(self, times: list[float]) -> None:
        self._times = times
        self._transport: asyncio.Transport | None = None
        self._answers: dict[bytes, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where the answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer one request: MBAP header, function, address, count (MODBUS Messaging on TCP/IP V1.0b, 3.1.3)."""
        assert self._transport
        question = data[6:12]
        answer = self._answers.get(question)
        if answer is None:
            unit, function, _, count = struct.unpack(">BBHH", question)
            words = struct.pack(">f", 230.4) * (count // 2) + b"\0\0" * (count % 2)
            answer = struct.pack(">HHBBB", 0, len(words) + 3, unit, function, len(words)) + words
            self._answers[question] = answer
        self._times.append(time.monotonic())
        self._transport.write(data[:2] + answer)


async def serve(count: int, ports: Path, result: Path) -> None:
    """Serve until SIGTERM; write the ports first, and at the end when the requests of each device came."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    times: list[list[float]] = [[] for _ in range(count)]
    servers = [await loop.create_server(partial(ModbusDevice, mine), "127.0.0.1", 0) for mine in times]
    unfinished = ports.with_suffix(".partial")
    unfinished.write_text(json.dumps([server.sockets[0].getsockname()[1] for server in servers]))
    unfinished.replace(ports)
    await stop.wait()
    result.write_text(json.dumps(times))


def main() -> None:
    """Serve as many devices as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modbus_server", description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("ports", type=Path, help="the file that gets the ports")
    parser.add_argument("result", type=Path, help="the file that gets the times")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.count, arguments.ports, arguments.result))


if __name__ == "__main__":
    main()
