"""One URL that takes batches of rows as JSON.

```toml
[[uploader.targets]]
name = "hook"
kind = "webhook"
url = "https://server.example/readings"
token = "file:/run/secrets/hook"          # sent as `Authorization: Bearer TOKEN`
# name_template = "${device}/${channel}"  # the names of values
```

Sent: `POST`, up to 500 rows: `[{"time": 1763632800.5, "values": {"meter/power": 1.5}}, …]`, times in seconds since 1970 UTC. The
response has to be 2xx, its body does not count. A lost response can cause duplicates.
"""

from collections.abc import Sequence

import msgspec

from services.uploader.options import Secret, TargetOptions, check_url
from services.uploader.target import Answer, Limits, Row, TargetContext
from services.uploader.targets.shared import http_status
from services.uploader.targets.shared.http_client import HttpClient


class Options(TargetOptions, frozen=True, kw_only=True, tag="webhook"):
    """A target of kind "webhook"."""

    url: str
    token: Secret = ""
    ca: str = ""
    name_template: str = "${device}/${channel}"

    def __post_init__(self) -> None:
        """Refuse what is not a URL."""
        super().__post_init__()
        check_url("url", self.url)

    def open(self, context: TargetContext) -> "Webhook":
        """Return the target."""
        return Webhook(self, context)


class Webhook:
    """Posts each batch in one request; a row that is sent twice is there twice."""

    def __init__(self, options: Options, context: TargetContext) -> None:
        self.limits = Limits(rows=500, overwrites=False)
        self._url = options.url
        self._headers = {"Content-Type": "application/json"}
        if options.token:
            self._headers["Authorization"] = f"Bearer {options.token}"
        self._http = HttpClient(options.timeout, options.ca, context.while_waiting)

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Post all rows; a batch that is refused is halved by the engine until the row is found."""
        body = [{"time": row.time, "values": _values(row)} for row in rows]
        response = self._http.request("POST", self._url, msgspec.json.encode(body), self._headers, body_counts=False)
        http_status.check(response)
        return Answer(response.summary())

    @property
    def last_answer(self) -> str:
        """Return the last answer of the server."""
        return self._http.last_answer

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def _values(row: Row) -> dict[str, object]:
    return {mapped.name: value for mapped, value in zip(row.channels, row.values, strict=True)}
