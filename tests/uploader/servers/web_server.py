"""What the small strict HTTP servers have in common."""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    target: str  # path and query as they came

    def form(self) -> dict[str, str]:
        """The fields of a form, as PHP and servlets read them: percent-encoding and + decoded."""
        assert self.headers.get("content-type") == "application/x-www-form-urlencoded", self.headers
        return fields(self.body.decode("ascii"))


class Response(NamedTuple):
    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = {}
    lost: bool = False  # the connection breaks before it arrives
    cut: Literal["", "chunk", "length"] = ""  # it breaks in the middle of the body


def fields(text: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}


class WebServer:
    """An HTTP server on a loopback port; a subclass answers.

    `instead` holds answers that are given in place of the real ones, the next one first;
    `lose` makes the answer to the next request that is carried out get lost on its way.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.instead: list[Response | Callable[[Request], Response | None]] = []
        self.lose = 0
        self.connections: set[object] = set()  # that requests came over
        connections = self.connections
        self._lock = threading.Lock()
        serve = self._serve

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60
            disable_nagle_algorithm = True

            def _handle(self) -> None:
                connections.add(self.client_address)
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, parts.path, fields(parts.query), headers, body, self.path)
                response = serve(request)
                if response.lost:
                    self.close_connection = True
                    return
                content = response.body.encode("utf-8", "surrogateescape")
                self.send_response(response.status)
                for name, value in response.headers.items():
                    self.send_header(name, value)
                if response.cut:
                    self.close_connection = True
                if response.cut == "chunk":
                    self.send_header("Transfer-Encoding", "chunked")
                    content = b"%x\r\n" % (len(content) + 10) + content
                else:
                    self.send_header("Content-Length", str(len(content) + (10 if response.cut else 0)))
                self.end_headers()
                self.wfile.write(content)

            def __getattr__(self, name: str) -> Callable[[], None]:
                if name.startswith("do_"):
                    return self._handle
                raise AttributeError(name)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Request) -> Response:
        raise NotImplementedError

    def _serve(self, request: Request) -> Response:
        with self._lock:
            self.requests.append(request)
            if self.instead:
                other = self.instead.pop(0)
                response = other(request) if callable(other) else other
                if response is not None:
                    return response
            response = self.answer(request)
            if self.lose:
                self.lose -= 1
                return response._replace(lost=True)
            return response
