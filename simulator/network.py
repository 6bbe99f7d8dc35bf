"""The site for other machines and containers: python -m simulator.network --help."""

import logging
import os
import select
import signal
import socket
import threading
from contextlib import closing, suppress

import click

from simulator.running import LOG_LINE, LOG_TIME, SimulatorOptions, run
from simulator.tcp_server import Listener, TcpServer
from simulator.worker import StoppableThread

STOP = (signal.SIGTERM, signal.SIGINT)
port = click.IntRange(0, 65535)
log = logging.getLogger("simulator")


class SerialServer(Listener):
    """Passes a serial port on, byte by byte in both directions, to the newest client of a TCP port.

    A connection whose client is gone without a word would take its share of the bytes with it.
    """

    def __init__(self, path: str, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__("serial server", self._converse, host=host, port=port)
        self._path = path
        self._newest: socket.socket | None = None
        self._passing = threading.Lock()

    def _converse(self, worker: StoppableThread, connection: socket.socket) -> None:
        older, self._newest = self._newest, connection
        if older is not None:
            with suppress(OSError):  # closed already
                older.shutdown(socket.SHUT_RDWR)
        with (
            self._passing,
            open(self._path, "r+b", buffering=0, opener=_without_control) as terminal,
            closing(select.epoll()) as both,
        ):
            both.register(terminal, select.EPOLLIN)
            both.register(connection, select.EPOLLIN)
            while worker.readable(both.fileno()):
                for fd, _ in both.poll(0):
                    if fd == terminal.fileno():
                        connection.sendall(terminal.read(4096) or b"")
                        continue
                    typed = connection.recv(4096)
                    if not typed:
                        return
                    terminal.write(typed)


def _without_control(path: str, flags: int) -> int:
    """Open a terminal that is only a wire: it must not become the process's own."""
    return os.open(path, flags | os.O_NOCTTY | os.O_NONBLOCK)


@click.command()
@click.option("--host", default="0.0.0.0", show_default=True, help="The address to listen on.")
@click.option("--tcp-port", type=port, default=5020, show_default=True, help="Modbus TCP.")
@click.option(
    "--rtu-tcp-port",
    type=port,
    default=4001,
    show_default=True,
    help="Modbus RTU over TCP.",
)
@click.option(
    "--emontx-port",
    type=port,
    default=4002,
    show_default=True,
    help="The lines of the radio receiver.",
)
@click.option("--radio-seconds", type=click.FloatRange(0.01), default=10.0, show_default=True)
@click.option(
    "--speed",
    type=click.FloatRange(0, 100_000, min_open=True),
    default=1.0,
    show_default=True,
)
def main(
    host: str,
    tcp_port: int,
    rtu_tcp_port: int,
    emontx_port: int,
    radio_seconds: float,
    speed: float,
) -> None:
    """Run the simulated site on TCP ports until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format=LOG_LINE, datefmt=LOG_TIME)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # before there are threads
    with (
        run(SimulatorOptions(radio_seconds=radio_seconds, speed=speed)) as site,
        TcpServer(site.line.units, host=host, port=tcp_port) as tcp,
        TcpServer(site.line.units, framing="rtu", host=host, port=rtu_tcp_port) as rtu_tcp,
        SerialServer(site.emontx.path, host=host, port=emontx_port) as emontx,
    ):
        log.info("modbus tcp at %s:%d", host, tcp.port)
        log.info("modbus rtu over tcp at %s:%d", host, rtu_tcp.port)
        log.info("emontx (radio nodes) at %s:%d", host, emontx.port)
        signal.sigwait(STOP)
        log.info("stopping")


if __name__ == "__main__":
    main()
