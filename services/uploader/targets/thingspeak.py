"""ThingSpeak, with bulk updates of one channel that has the fields 1 to 8.

```toml
[[uploader.targets]]
name = "channel"
kind = "thingspeak"
channel = 990
key = "WRITEKEY12345678"
read_key = "READKEY123456789"             # of a private channel: to see which entries it has
# url = "https://api.thingspeak.com"
# interval = 60.0                         # seconds of an entry
# paid = false
# bulk = true                             # false: update.json, an entry at a time
names = { "*/meter/power" = "field1", "*/meter/voltage" = "field2" }
```

Sent: averages, to `bulk_update.json` with up to 960 entries (14,400 paid) every 15 s, or to `update.json` every 15 s (1 s
paid). An entry can be neither changed nor written twice, so before the first request, and after one whose answer was lost,
`feeds.json` is asked which entries are there; without a key to a private channel they are sent again and become dead letters. So
do points that arrive late for an entry that is written.

| answer | rows |
| --- | --- |
| 202 `{"success":true}`; `update.json`: the entry | taken |
| 429; `0` with status 200 | kept, again after 15 s |
| 400 (a time that exists already) | halved until the row is found, which is set aside |
| 401, 402 (allowance used up), 404, 409, 5xx | kept |
| 413 | sent again in smaller batches |

Facts: MathWorks' pages "Bulk-Write JSON Data", "Write Data", "Error Codes".
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from services.uploader.options import Secret, TargetOptions, check_url
from services.uploader.target import Answer, Limits, MappedChannel, Refused, Row, TargetContext, TryLater
from services.uploader.targets.shared import fields, http_status
from services.uploader.targets.shared.http_client import HttpClient, HttpResponse
from services.uploader.targets.shared.numbers import number

FIELDS = tuple(f"field{count}" for count in range(1, 9))
FREE_ROWS, PAID_ROWS = 960, 14_400  # of a bulk update
FREE_PACE, PAID_PACE, BULK_PACE = 15.0, 1.0, 15.0  # seconds between updates
UNKNOWN_PAUSE = 15.0
MOST_READ = 8_000  # entries of an answer

T = TypeVar("T")


class Options(TargetOptions, frozen=True, tag="thingspeak", kw_only=True):
    """A target of kind "thingspeak"; `paid` is the kind of account, `bulk = false` is for servers that only have update.json."""

    key: Secret
    channel: int
    read_key: Secret = ""
    url: str = "https://api.thingspeak.com"
    paid: bool = False
    bulk: bool = True
    interval: float = 60.0
    name_template: str = ""
    ca: str = ""

    def __post_init__(self) -> None:
        """Refuse options that no channel has."""
        super().__post_init__()
        check_url("url", self.url)
        if not self.key:
            raise ValueError("key: is empty; see API Keys, Write API Key of the channel")
        if self.channel < 1:
            raise ValueError(f"channel: {self.channel} is not the number of a channel")
        if not self.interval:
            raise ValueError("interval: an entry is made of averages; 60 is one a minute")
        fields.select(self, FIELDS)

    def open(self, context: TargetContext) -> "ThingSpeak":
        """Return the target."""
        return ThingSpeak(self)


class ThingSpeak:
    """Sends entries, each with a second of its own."""

    def __init__(self, options: Options) -> None:
        """Take the limits of the account."""
        rows = (PAID_ROWS if options.paid else FREE_ROWS) if options.bulk else 1
        pace = BULK_PACE if options.bulk else PAID_PACE if options.paid else FREE_PACE
        self.limits = Limits(rows=rows, seconds=pace, interval=options.interval, overwrites=False)
        self._options = options
        self._url = options.url.rstrip("/")
        self._web = HttpClient(options.timeout, options.ca)
        self._uncertain = True

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Send all rows in one request; raise Refused with those that are twice or hold what is not a number.

        At the start, and after a request whose answer got lost, the channel is asked which entries it has.
        """
        wrong: dict[int, str] = {}
        entries: dict[int, dict[str, object]] = {}
        for index, row in enumerate(rows):
            second = int(row.time)
            try:
                stamp = _stamp(second)
                entry = _entry(row)
            except (ValueError, OverflowError, OSError) as error:
                wrong[index] = str(error)
                continue
            if second in entries:
                wrong[index] = f"{stamp}: there is an entry of this second"
            elif entry:
                entries[second] = entry
        if self._uncertain:
            there = self._there(list(entries))
            entries = {second: entry for second, entry in entries.items() if second not in there}
            self._uncertain = False
        summary = self._send(entries) if entries else "nothing to send"
        if wrong:
            raise Refused(next(iter(wrong.values())), wrong)
        return Answer(summary)

    def newest(self) -> float | None:
        """Return the time of the last entry of the channel; None if the channel is private."""
        response = self._read("feeds/last.json", {})
        if response is None or response.body.strip() in (b'"-1"', b"-1", b"", b"{}"):
            return None  # there is no entry yet
        return _parsed(response, _time)

    @property
    def last_answer(self) -> str:
        """Return the last answer of the server."""
        return self._web.last_answer

    def close(self) -> None:
        """Close the connection."""
        self._web.close()

    def _there(self, seconds: Sequence[int]) -> set[int]:
        """Return which of these seconds, in rising order, have an entry; an empty set if the channel is private."""
        seconds_there: set[int] = set()
        for at in range(0, len(seconds), MOST_READ):
            part = seconds[at : at + MOST_READ]
            response = self._read(
                "feeds.json", {"start": _stamp(part[0]), "end": _stamp(part[-1]), "results": str(MOST_READ)}
            )
            if response is None:
                break
            seconds_there |= _parsed(response, lambda content: {int(_time(entry)) for entry in content["feeds"]})
        return seconds_there

    def _read(self, path: str, query: Mapping[str, str]) -> HttpResponse | None:
        key = {"api_key": self._options.read_key} if self._options.read_key else {}
        where = f"{self._url}/channels/{self._options.channel}/{path}"
        response = self._web.request("GET", f"{where}?{urlencode({**query, **key})}")
        if response.status in (400, 401, 403, 404) and not key:
            return None
        http_status.check_answered(response)
        return response

    def _send(self, entries: dict[int, dict[str, object]]) -> str:
        updates = [{"created_at": _stamp(second), **entry} for second, entry in entries.items()]
        if self._options.bulk:
            path = f"channels/{self._options.channel}/bulk_update.json"
            body: dict[str, object] = {"write_api_key": self._options.key, "updates": updates}
        else:
            path = "update.json"
            body = {"api_key": self._options.key, **updates[0]}
        try:
            response = self._web.request(
                "POST", f"{self._url}/{path}", msgspec.json.encode(body), {"Content-Type": "application/json"}
            )
        except TryLater:
            self._uncertain = True
            raise
        self._judge(response)
        return response.summary()

    def _judge(self, response: HttpResponse) -> None:
        """Return if the entries were taken; ThingSpeak answers 0 with status 200 to requests that come too fast."""
        if response.status == 429:
            raise TryLater(response.summary(), after=response.after if response.after is not None else UNKNOWN_PAUSE)
        if response.status == 409:
            raise TryLater(response.summary(), after=response.after)
        if response.status >= 500:
            self._uncertain = True
        http_status.check(response)
        if response.body.strip() in (b"0", b'"0"'):
            raise TryLater("0: not taken; it came too fast, or is the same entry again", after=UNKNOWN_PAUSE)
        if self._options.bulk and not re.search(rb'"success"\s*:\s*true', response.body):
            raise TryLater(f"not a success: {response.summary()}")
        if not self._options.bulk and not re.search(rb"\d", response.body):
            raise TryLater(f"not the number of an entry: {response.summary()}")


def _entry(row: Row) -> dict[str, object]:
    """Return the fields of a row; raise ValueError for a value that is not a number, or for two channels in one field."""
    by_field: dict[str, MappedChannel] = {}
    entry: dict[str, object] = {}
    for mapped, value in zip(row.channels, row.values, strict=True):
        if mapped.name not in FIELDS:
            continue
        if mapped.name in by_field:
            other = by_field[mapped.name]
            raise ValueError(f"{other.series} and {mapped.series} are both {mapped.name}; rename one of them")
        by_field[mapped.name] = mapped
        entry[mapped.name] = value if isinstance(value, str) else number(value)
    return entry


def _time(entry: Any) -> float:
    return datetime.fromisoformat(entry["created_at"]).timestamp()


def _parsed(response: HttpResponse, find: Callable[[Any], T]) -> T:
    """Return what `find` makes of an answer's JSON; raise TryLater if that fails."""
    try:
        return find(msgspec.json.decode(response.body))
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, RecursionError):
        raise TryLater(f"not an entry: {response.summary()}") from None


def _stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
