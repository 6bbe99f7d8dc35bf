"""What a node reads from and sends to, and how it is spoilt."""

import fcntl
import grp
import os
import threading
import tty
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PATIENCE = 150.0  # on a busy machine; on one that is not it takes 15 s at most


class Port:
    """A serial port of this machine: a pseudo-terminal under a name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: list[int] = []

    def plug_in(self, *, group: str = "", locked: bool = False) -> None:
        self._ends = list(os.openpty())
        tty.setraw(self._ends[1])
        name = os.ttyname(self._ends[1])
        if group:
            os.chown(name, -1, grp.getgrnam(group).gr_gid)
            Path(name).chmod(0o060)
        if locked:  # as pyserial does it
            self._ends.append(os.open(name, os.O_RDWR | os.O_NOCTTY))
            fcntl.flock(self._ends[-1], fcntl.LOCK_EX)
        self.path.symlink_to(name)

    def pull_out(self) -> None:
        self.path.unlink(missing_ok=True)
        while self._ends:
            os.close(self._ends.pop())


class UploadTarget:
    """A server that takes every request; while it hangs it takes it and never answers."""

    def __init__(self) -> None:
        self._answers = threading.Event()
        self._answers.set()
        self.hanging = threading.Event()  # a request waits for its answer
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if not target._answers.is_set():
                    target.hanging.set()
                    target._answers.wait()
                with suppress(OSError):  # who asked has gone
                    self.send_response(200)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def hang(self) -> None:
        self._answers.clear()
        assert self.hanging.wait(PATIENCE), "nothing is uploaded"

    def answer(self) -> None:
        self._answers.set()

    def close(self) -> None:
        self.answer()
        self._server.shutdown()
        self._server.server_close()
