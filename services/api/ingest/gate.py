"""Which clients may send readings, and how often."""

from collections.abc import Callable, Collection, Iterable
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request

from services.api.addresses import Addresses
from services.api.errors import Busy, RequestRefused
from services.api.ingest.bodies import Bodies
from services.api.ingest.keys import Keys, digest
from services.api.ingest.rate_limits import RateLimits

TRIES = 10  # wrong keys that an address may try at once,
TRY_SECONDS = 6.0  # and then one in so many seconds
SHOWN_PARTS = 10  # as many as the status shows
BURST_SECONDS = 4.0  # of requests at the allowed rate
_REFUSALS = {
    401: "key",
    403: "key",
    404: "disabled",
    408: "body",
    413: "body",
    415: "body",
    429: "rate",
    503: "unavailable",
}

SetAside = Callable[[str, str, str], None]  # why, what, where
Count = Callable[[str], None]


class Gate:
    """Admits requests by key, rate and size of the body; counts requests and refusals."""

    def __init__(
        self,
        keys: Keys,
        bodies: Bodies,
        per_second: float,
        origins: Collection[str],
        count: Count,
        set_aside: SetAside,
        addresses: Addresses | None = None,
    ) -> None:
        self._keys = keys
        self._bodies = bodies
        self._origins = origins
        self._count = count
        self._set_aside = set_aside
        self._addresses = addresses or Addresses()
        self._failures = RateLimits(1 / TRY_SECONDS, TRIES)
        self._requests = RateLimits(per_second, max(1.0, per_second * BURST_SECONDS))

    def enter(self, kind: str, connection: HTTPConnection) -> None:
        """Count a request; raise RequestRefused if a page of another site sends it, as the browser's `Origin` header says."""
        self._count(f"requests_{kind}")
        if self.is_foreign(connection):
            raise RequestRefused("a page of another site may not write here; see origins in [api]", 403)

    def is_foreign(self, connection: HTTPConnection) -> bool:
        """Whether a page of another site sends the request, and not one of the allowed origins."""
        return is_foreign(connection, self._origins)

    def client(self, connection: HTTPConnection) -> str:
        """Return what stands for the client of a request in limits."""
        return self._addresses.client(connection)

    async def body(self, request: Request, *, limit: int = 0) -> bytes:
        """Return the body of a request whose key is in the body, or that needs none; raise RequestRefused."""
        return await self._bodies.read(request, self._addresses.client(request), has_key=False, limit=limit)

    async def admitted_body(self, request: Request, key: str = "") -> tuple[str, bytes]:
        """Return the owner of the key, in a header or `key`, and the body, which is read after that; raise RequestRefused."""
        try:
            owner = await self.admit(request, key)
        except RequestRefused:
            await self.discard(request)
            raise
        return owner, await self._bodies.read(request, self._addresses.client(request), has_key=True)

    async def discard(self, request: Request) -> None:
        """Read the rest of the body of a request that is refused, so that the sender reads the answer."""
        await self._bodies.discard(request)

    @property
    def limit(self) -> int:
        """How many bytes a body has at most, also when it is unpacked."""
        return self._bodies.limit

    async def admit(self, request: Request, key: str = "") -> str:
        """Return the owner of the key that came with the request, in a header or as `key`; raise RequestRefused."""
        return await self.admit_digest(request, digest(shown_key(request) or key or self._missing()))

    async def admit_digest(self, request: Request, key_digest: str) -> str:
        """Return the owner of the key with this digest; raise RequestRefused if it has none, or sends too often."""
        owner = self._keys.known(key_digest)
        if owner is None:
            is_first = not self._keys.is_searched(key_digest)
            if is_first:
                self._try_once(request)
            owner = await self._keys.search(key_digest)
            if owner and is_first:
                self._failures.give_back(self._addresses.network(request))
        if not owner:
            raise RequestRefused("not a key of this node: see [api.keys]", 401, {"www-authenticate": "Bearer"})
        self.limit_rate(f"key {owner}")
        return owner

    def _try_once(self, connection: HTTPConnection) -> None:
        if wait := self._failures.take(self._addresses.network(connection)):
            raise Busy("too many wrong keys from this address; try again later", 429, wait)

    def limit_rate(self, client: str) -> None:
        """Raise RequestRefused if a client sends more often than is allowed."""
        if wait := self._requests.take(client):
            raise Busy(
                "too many requests; send several readings in one, or raise writes_per_second in [api]", 429, wait
            )

    def refused(self, kind: str, error: RequestRefused, shown: str | None) -> None:
        """Count a refusal; show wrong content in the status, unless `shown` is None: then no valid key came with it."""
        word = _REFUSALS.get(error.status, "content")
        self._count(f"refused_{word}")
        if word == "content" and shown is not None:
            self._set_aside(error.detail, shown, kind)

    def set_aside(self, kind: str, parts: Iterable[tuple[str, str]]) -> None:
        """Count the parts of a request that were not accepted, given as reason and content, and show the first ones."""
        for number, (why, what) in enumerate(parts):
            self._count("refused_parts")
            if number < SHOWN_PARTS:
                self._set_aside(why, what, kind)

    def _missing(self) -> str:
        hint = "" if self._keys.any else "; this node has none yet: `heliograph key` makes one"
        raise RequestRefused(
            f"a key is missing: send Authorization: Bearer KEY, or X-Api-Key{hint}", 401, {"www-authenticate": "Bearer"}
        )


def shown_key(request: Request) -> str:
    """Return the key in `Authorization: Bearer` or `X-Api-Key`, empty if there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "").strip()


def is_foreign(connection: HTTPConnection, origins: Collection[str]) -> bool:
    """Whether a page of another site sends the request, and not one of these origins."""
    origin = connection.headers.get("origin")
    if origin is None or origin in origins:
        return False
    try:
        return urlsplit(origin).netloc != connection.headers.get("host")
    except ValueError:
        return True
