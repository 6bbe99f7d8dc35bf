"""The bodies of requests: limited in length, compressed or not, and in time."""

import asyncio
import zlib
from collections import Counter

from starlette.requests import ClientDisconnect, Request

from services.api.errors import Busy, RequestRefused

BODY_SECONDS = 60.0
IDLE_SECONDS = 10.0  # without a byte
DISCARD_SECONDS = 5.0  # for which the rest of a refused body is read
HELD_BYTES = 16 << 20  # of all bodies that are arriving with a key, and again without; at least two of full length
ADDRESS_BODIES = 2  # of full length, without a key, from one address
DISCARDED = 8  # times the limit is read on, so that the sender sees the answer
_ANY_HEADER = zlib.MAX_WBITS | 32  # gzip's or zlib's


class _Arrival:
    """A body that is arriving: how much of it is held, and the deadline of the task that reads it."""

    def __init__(self, address: str, deadline: asyncio.Timeout) -> None:
        self.address = address
        self.deadline = deadline
        self.held = 0
        self.is_evicted = False


class _Pool:
    """The memory of bodies that are arriving; when it is full, the one that has waited longest for bytes gives up."""

    def __init__(self, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._held: Counter[str] = Counter()  # by address
        self._arrivals: dict[_Arrival, None] = {}  # the one that has waited longest first

    def hold(self, arrival: _Arrival, count: int) -> None:
        """Take memory for more of a body; raise Busy if it is this one that has to give up."""
        self._arrivals.pop(arrival, None)
        self._arrivals[arrival] = None
        arrival.held += count
        self._held[arrival.address] += count
        while (over_each := self._held[arrival.address] > self._each) or self._held.total() > self._most:
            address = arrival.address if over_each else max(self._held, key=self._held.__getitem__)
            victim = next(one for one in self._arrivals if one.address == address)
            self.release(victim)
            victim.is_evicted = True
            if victim is arrival:
                raise _too_much()
            if not victim.deadline.expired():
                victim.deadline.reschedule(asyncio.get_running_loop().time())

    def release(self, arrival: _Arrival) -> None:
        """Give back the memory of a body."""
        self._arrivals.pop(arrival, None)
        self._held[arrival.address] -= arrival.held
        arrival.held = 0
        if not self._held[arrival.address]:
            del self._held[arrival.address]


class Bodies:
    """Reads bodies of at most `limit` bytes each, and at once only as many as fit into memory.

    Those that come with a key have memory of their own, which no client without one can take from them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        most = max(HELD_BYTES, 2 * limit)
        self._with_key = _Pool(most, most)
        self._without_key = _Pool(most, min(most, ADDRESS_BODIES * limit))

    async def read(self, request: Request, address: str, *, has_key: bool, limit: int = 0) -> bytes:
        """Return the body, decompressed; raise RequestRefused if it is too long, too slow, cut off, or encoded in another way.

        `has_key` says whether the request came with a key of this node; `limit` is how long it may be if not `self.limit`.
        """
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "deflate"):
            raise RequestRefused(f"content-encoding {encoding[:40]!r}: expected gzip or deflate", 415)
        limit = limit or self.limit
        body = await self._whole(request, address, self._with_key if has_key else self._without_key, limit)
        return body if encoding == "identity" or not body else inflate(body, limit)

    async def discard(self, request: Request) -> None:
        """Read what is left of a body that is refused, for a while: most senders read no answer before they have sent it."""
        if request.headers.get("expect", "").lower() == "100-continue":
            return  # this one waits for it
        length = 0
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                async for part in request.stream():
                    length += len(part)
                    if length > DISCARDED * self.limit:
                        break
        except (TimeoutError, ClientDisconnect):
            pass  # it gets the answer, or does not want it

    async def _whole(self, request: Request, address: str, pool: _Pool, limit: int) -> bytes:
        start = asyncio.get_running_loop().time()
        deadline = asyncio.timeout_at(start + min(IDLE_SECONDS, BODY_SECONDS))
        arrival = _Arrival(address, deadline)
        try:
            async with deadline:
                return await _read(request, arrival, pool, limit, start + BODY_SECONDS)
        except TimeoutError:
            if arrival.is_evicted:
                raise _too_much() from None
            raise RequestRefused(
                f"the body did not arrive within {BODY_SECONDS:.0f} s, or there was no byte of it for {IDLE_SECONDS:.0f} s",
                408,
            ) from None
        except ClientDisconnect:
            raise RequestRefused("the connection ended before the body did", 400) from None
        finally:
            pool.release(arrival)


async def _read(request: Request, arrival: _Arrival, pool: _Pool, limit: int, end: float) -> bytes:
    parts: list[bytes] = []
    length = 0
    async for part in request.stream():
        length += len(part)
        if length > limit:
            parts.clear()
            if length > DISCARDED * limit:
                break
        else:
            pool.hold(arrival, len(part))
            parts.append(part)
        arrival.deadline.reschedule(min(end, asyncio.get_running_loop().time() + IDLE_SECONDS))
    if length > limit:
        raise too_long(limit)
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


def _too_much() -> Busy:
    return Busy("too much arrives at once; try again", 503, 1)
