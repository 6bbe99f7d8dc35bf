"""The bodies of requests: limited in length, compressed or not, and in time."""

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from services.api.errors import Busy, RequestRefused

BODY_SECONDS = 60.0
HELD_BYTES = 16 << 20  # of all bodies that are arriving; at least two of full length
DISCARDED = 8  # times the limit is read on, so that the sender sees the answer
_ANY_HEADER = zlib.MAX_WBITS | 32  # gzip's or zlib's


class Bodies:
    """Reads bodies of at most `limit` bytes each, and at once only as many as fit into memory."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._most = max(HELD_BYTES, 2 * limit)
        self._held = 0

    async def read(self, request: Request) -> bytes:
        """Return the body, decompressed; raise RequestRefused if it is too long, too slow, cut off, or encoded in another way."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "deflate"):
            raise RequestRefused(f"content-encoding {encoding[:40]!r}: expected gzip or deflate", 415)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._whole(request)
        except TimeoutError:
            raise RequestRefused(f"the body did not arrive within {BODY_SECONDS:.0f} s", 408) from None
        except ClientDisconnect:
            raise RequestRefused("the connection ended before the body did", 400) from None
        return body if encoding == "identity" or not body else inflate(body, self.limit)

    async def _whole(self, request: Request) -> bytes:
        parts: list[bytes] = []
        length = held = 0
        try:
            async for part in request.stream():
                length += len(part)
                if length > self.limit:
                    parts.clear()
                    if length > DISCARDED * self.limit:
                        break
                    continue
                held += len(part)
                self._held += len(part)
                if self._held > self._most:
                    raise Busy("too much arrives at once; try again", 503, 1)
                parts.append(part)
        finally:
            self._held -= held
        if length > self.limit:
            raise too_long(self.limit)
        return b"".join(parts)


def inflate(compressed: bytes, limit: int) -> bytes:
    """Return what zlib or gzip compressed; raise RequestRefused if it is more than `limit` bytes, cut off, or neither."""
    decompressor = zlib.decompressobj(_ANY_HEADER)
    try:
        plain = decompressor.decompress(compressed, limit + 1)
    except zlib.error as error:
        raise RequestRefused(f"the body is neither zlib nor gzip: {error}", 400) from None
    if len(plain) > limit:
        raise too_long(limit)
    if not decompressor.eof or decompressor.unused_data:
        raise RequestRefused("the compressed body is cut off, or followed by something else", 400)
    return plain


def too_long(limit: int) -> RequestRefused:
    """Return the refusal of a body of more than `limit` bytes."""
    return RequestRefused(
        f"the body is longer than {limit} bytes; send less at once, or raise body_limit in [api]", 413
    )
