import socket

from simulator.network import SerialServer
from simulator.pseudo_terminal import PseudoTerminal


def test_the_newest_client_gets_every_line() -> None:
    """A client whose machine went away without a word stays connected, and read lines that were lost with it."""
    with (
        PseudoTerminal() as terminal,
        SerialServer(terminal.path) as server,
        socket.create_connection(("127.0.0.1", server.port), 30) as gone,
    ):
        _say(terminal, gone, b"hello\n")
        with socket.create_connection(("127.0.0.1", server.port), 30) as client:
            assert gone.recv(100) == b""
            for number in range(100):
                _say(terminal, client, b"line %d\n" % number)


def _say(terminal: PseudoTerminal, client: socket.socket, line: bytes) -> None:
    terminal.write(line)
    read = b""
    while len(read) < len(line):
        read += client.recv(100)
    assert read == line
