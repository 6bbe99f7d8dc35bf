"""HTTP for targets: one persistent connection per server, and errors named after what to do next."""

import http.client
import re
import select
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import NamedTuple
from urllib.parse import urlsplit

from heliograph import __version__, tls
from services.uploader.target import TryLater

FORM = "application/x-www-form-urlencoded"
MOST_BYTES = 4_000_000  # of an answer
MOST_WORDS = 300  # characters of an answer that are shown
MARKUP = re.compile(r"<(style|script)\b.*?</\1>|<[!/]?[a-z][^<>]{0,200}>", re.IGNORECASE | re.DOTALL)
TRACE = re.compile(
    r"\s*(Stack trace:|Traceback |#0 ).*", re.DOTALL
)  # what follows tells nothing to the owner of a node
LONGEST_PAUSE = 3_600.0
UNREADABLE_PAUSE = 10.0
IMPOSSIBLE = "the url, or a header made of the options, has characters that HTTP does not have"


def basic(user: str, password: str) -> str:
    """Return the value of Authorization for a user (RFC 7617, 2)."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


class HttpResponse(NamedTuple):
    """The response of a server; names of headers in lower-case letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the request was carried out."""
        return 200 <= self.status < 300

    @property
    def after(self) -> float | None:
        """Seconds for which the server wants no request (Retry-After: RFC 9110, 10.2.3), None if it did not say."""
        text = self.headers.get("retry-after", "").strip()
        if not text:
            return None
        try:
            seconds = float(text)
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - time()
            except (ValueError, TypeError, OverflowError, OSError):  # also of years that no clock has
                return UNREADABLE_PAUSE
        return min(max(seconds, 0.0), LONGEST_PAUSE) if seconds == seconds else UNREADABLE_PAUSE

    def summary(self) -> str:
        """Return status and beginning of the body, in one line, without markup and traces of a program."""
        text = TRACE.sub("", MARKUP.sub(" ", self.body[: 4 * MOST_WORDS].decode("utf-8", "replace")))
        text = " ".join(text.split())[:MOST_WORDS]
        return f"HTTP {self.status}: {text}" if text else f"HTTP {self.status}"


class HttpClient:
    """Sends requests, each over the connection of the last one if that is still good. Used by one thread."""

    def __init__(self, timeout: float, ca: str = "", while_waiting: Callable[[], None] | None = None) -> None:
        """`timeout` is in seconds for each wait; `ca` is a file of certificates to trust in place of the machine's.

        `while_waiting` is called between a request and its answer.
        """
        self._timeout = timeout
        self._ca = ca
        self._while_waiting = while_waiting
        self._server: tuple[str, str] | None = None
        self._connection: http.client.HTTPConnection | None = None
        self.last_answer = ""  # status and beginning of the body of the last response

    def request(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        body_counts: bool = True,
    ) -> HttpResponse:
        """Send one request and return the answer, whatever its status; raise TryLater if there is none.

        Where only the status counts, an answer whose body breaks off is one, without a body: the request has been judged. Otherwise TryLater is raised.
        Redirections are answers as well: a client that follows them sends its password elsewhere.
        """
        parts = urlsplit(url)
        path = parts.path or "/"
        if parts.query:
            path += f"?{parts.query}"
        try:
            connection = self._connected(parts.scheme, parts.netloc)
            sent = {"User-Agent": f"Heliograph/{__version__}", **(headers or {})}
            connection.request(method, path, body or None, sent)
            if self._while_waiting is not None:
                self._while_waiting()
            answer = connection.getresponse()
            read = self._body(answer, is_needed=body_counts)
            response = HttpResponse(answer.status, {name.lower(): value for name, value in answer.getheaders()}, read)
            if not answer.isclosed():  # there is more than is read
                self.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise TryLater(f"{parts.hostname}: {_reason(error)}") from None
        self.last_answer = response.summary()
        return response

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._server = None

    def _body(self, answer: http.client.HTTPResponse, *, is_needed: bool) -> bytes:
        """Return the body of an answer; raise OSError or HTTPException if it breaks off, and is needed."""
        length = answer.length
        try:
            body = answer.read(MOST_BYTES)
            if length is not None and len(body) < min(length, MOST_BYTES):  # http.client says so only for chunks
                raise http.client.IncompleteRead(body, length - len(body))
        except (OSError, http.client.HTTPException):
            self.close()
            if is_needed:
                raise
            return b""
        return body

    def _connected(self, scheme: str, server: str) -> http.client.HTTPConnection:
        if self._server != (scheme, server) or self._is_stale():
            self.close()
        if self._connection is None:
            if scheme == "https":
                self._connection = http.client.HTTPSConnection(server, timeout=self._timeout, context=self._context())
            else:
                self._connection = http.client.HTTPConnection(server, timeout=self._timeout)
            self._server = scheme, server
        return self._connection

    def _is_stale(self) -> bool:
        """Whether the server closed the connection: a request on it would fail, and might have arrived or not."""
        if self._connection is None or self._connection.sock is None:
            return False
        with suppress(OSError, ValueError):
            return bool(select.select([self._connection.sock], [], [], 0)[0])
        return True

    def _context(self) -> ssl.SSLContext:
        try:
            return tls.context(self._ca)
        except ValueError as error:
            raise TryLater(str(error)) from None


def _reason(error: Exception) -> str:
    """Return what went wrong, without anything of the request."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error) or error.__class__.__name__
    if isinstance(error, ValueError | http.client.InvalidURL):  # whose texts show headers, and so a token
        return IMPOSSIBLE
    return f"not an answer in HTTP: {error.__class__.__name__}"
