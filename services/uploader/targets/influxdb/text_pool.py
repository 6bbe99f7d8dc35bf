"""The connections of InfluxDBClient, made safe: of an answer it sees text of a bounded length, whatever a server sends."""

from io import BytesIO
from typing import Any

from urllib3 import BaseHTTPResponse, HTTPHeaderDict, HTTPResponse, PoolManager
from urllib3.exceptions import DecodeError

from services.uploader.targets.shared.http_client import MOST_BYTES

_OF_THE_TRANSFER = ("Content-Encoding", "Content-Length", "Transfer-Encoding")


class TextPool:
    """Sends requests through a pool of connections, as InfluxDBClient does; raises what urllib3 raises."""

    def __init__(self, pool: PoolManager) -> None:
        self._pool = pool

    def request(self, method: str, url: str, *, preload_content: bool = True, **options: Any) -> HTTPResponse:
        """Return the response with at most MOST_BYTES of its body, decompressed, and valid UTF-8.

        The body is empty if it cannot be decompressed: the status holds nevertheless.
        """
        response = self._pool.request(method, url, preload_content=False, **options)
        headers = HTTPHeaderDict(response.headers)
        for name in _OF_THE_TRANSFER:
            headers.discard(name)
        text = _body(response).decode("utf-8", "replace")
        return HTTPResponse(
            BytesIO(text.encode()), headers, response.status, reason=response.reason, preload_content=preload_content
        )

    def clear(self) -> None:
        """Close the connections."""
        self._pool.clear()


def _body(response: BaseHTTPResponse) -> bytes:
    try:
        body = response.read(MOST_BYTES, decode_content=True)
    except DecodeError:
        body = b""
    finally:
        response.close()  # a connection that is read to its end is in the pool already, and stays open
    return body
