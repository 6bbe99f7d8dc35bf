"""What an importer asks of an Emoncms server: the list of feeds, and their files.

Source: emoncms 11.16.8 (ef64645), Modules/feed/feed_controller.php, engine/PHPFina.php and engine/PHPTimeSeries.php:
`feed/list.json`, `feed/getmeta.json?id=` and `feed/export.json?id=&start=`, which sends a feed's file from a byte on. The
key is sent as the form field `apikey`: so it is in no URL, and servers that drop the header Authorization take it too.
"""

import http.client
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec

PHPTIMESERIES, PHPFINA = 2, 5  # numbers of engines (Lib/enum.php)
ENGINES = {0: "MySQL", 7: "virtual feed", 8: "MySQL in memory", 10: "Cassandra"}
TIMEOUT = 60.0  # seconds
TRIES = 5
CHUNK = 262_144  # bytes
LONGEST = 64_000_000  # bytes of a list


class EmoncmsError(Exception):
    """The server did not answer as Emoncms does; the message quotes it."""


class RemoteFeed(NamedTuple):
    """A feed as the server lists it."""

    id: int
    name: str
    tag: str
    unit: str
    engine: int
    size: int  # bytes


class FeedMeta(NamedTuple):
    """Where a feed of PHPFina begins, and how many seconds are between its points."""

    start: int
    interval: int
    points: int


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> NoReturn:
        raise EmoncmsError(f"the server redirects to {newurl[:200]}: give that URL, if it is the right one")


class EmoncmsClient:
    """Asks one server, one request at a time, with a pause after each; `wait` sleeps that many seconds."""

    def __init__(self, url: str, key: str, *, pause: float, wait: Callable[[float], None] = time.sleep) -> None:
        self._url = url.rstrip("/")
        self._body = urlencode({"apikey": key}).encode()
        self._pause = pause
        self._wait = wait
        self._opener = build_opener(_NoRedirects)

    def feeds(self) -> list[RemoteFeed]:
        """Return the feeds of the key's user; raise EmoncmsError."""
        listed = self._json("feed/list.json", {})
        if not isinstance(listed, list):
            raise EmoncmsError(f"the server lists no feeds: {str(listed)[:200]!r}; is the key right?")
        feeds = []
        for entry in listed:
            try:
                feeds.append(
                    RemoteFeed(
                        int(entry["id"]),
                        str(entry["name"]),
                        str(entry.get("tag") or ""),
                        str(entry.get("unit") or ""),
                        int(entry["engine"]),
                        int(entry.get("size") or 0),
                    )
                )
            except (KeyError, TypeError, ValueError, AttributeError):
                raise EmoncmsError(f"the server lists something that is not a feed: {str(entry)[:200]!r}") from None
        return sorted(feeds)

    def meta(self, feed: RemoteFeed) -> FeedMeta:
        """Return how the file of a feed of PHPFina is to be read; raise EmoncmsError."""
        meta = self._json("feed/getmeta.json", {"id": feed.id})
        try:
            return FeedMeta(int(meta["start_time"]), int(meta["interval"]), int(meta["npoints"]))
        except (KeyError, TypeError, ValueError):
            raise EmoncmsError(f"the server does not say how to read the feed: {str(meta)[:200]!r}") from None

    def content(self, feed: RemoteFeed, start: int) -> Iterator[bytes]:
        """Yield the file of a feed from a byte on, a chunk at a time; raise EmoncmsError if it ends early."""
        with self._opened("feed/export.json", {"id": feed.id, "start": start}) as response:
            if not response.headers.get("Content-Type", "").startswith("application/octet-stream"):
                raise EmoncmsError(f"the server sends no file: {response.read(200)!r}")
            try:
                while chunk := response.read(CHUNK):
                    yield chunk
            except (OSError, http.client.HTTPException) as error:
                raise EmoncmsError(f"the connection broke: {error!r:.200}") from None
        self._wait(self._pause)

    def _json(self, path: str, query: dict[str, int]) -> Any:
        with self._opened(path, query) as response:
            content = response.read(LONGEST)
        self._wait(self._pause)
        try:
            return msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EmoncmsError(f"the server answers {content[:200]!r}") from None

    def _opened(self, path: str, query: dict[str, int]) -> Any:
        """Return the response to a request, which is tried again with growing pauses if the server is away or fails."""
        url = f"{self._url}/{path}" + (f"?{urlencode(query)}" if query else "")
        for attempt in range(1, TRIES + 1):
            try:
                return self._opener.open(Request(url, self._body), timeout=TIMEOUT)
            except HTTPError as error:
                with error:
                    why = f"HTTP {error.code}: {error.read(200).decode('utf-8', 'replace')!r}"
                if error.code < 500 and error.code != http.client.TOO_MANY_REQUESTS:
                    raise EmoncmsError(why) from None
            except (OSError, http.client.HTTPException) as error:
                why = f"{error}"[:200]
            if attempt < TRIES:
                self._wait(self._pause * 2**attempt)
        raise EmoncmsError(f"the server does not answer: {why}")
