"""What the target needs of an InfluxDB of any version."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from services.uploader.targets.shared.http_client import HttpResponse
from services.uploader.targets.shared.line_writer import LineField


class Database(NamedTuple):
    """Which database or bucket, where it is, who asks and how; names as in the target's options."""

    url: str
    version: int
    database: str
    retention_policy: str
    bucket: str
    org: str
    user: str
    password: str
    token: str
    precision: str  # of the times in lines: s, ms or us
    compressed: bool  # whether the bodies are gzip
    timeout: float  # s
    ca: str
    while_waiting: Callable[[], None] | None


class Connection(Protocol):
    """Writes to one database and queries it; used by one thread, and not connected before it is used."""

    def write(self, body: bytes) -> HttpResponse:
        """Write lines; return the response, whatever its status; raise TryLater if there is none."""
        ...

    def newest(self, fields: Sequence[LineField]) -> float | None:
        """Return the time (s UTC) of the newest point of these fields, None if it cannot say; raise TryLater."""
        ...

    def check(self) -> str:
        """Return what is known of the database without a write, "" if nothing; raise TryLater."""
        ...

    @property
    def last_answer(self) -> str:
        """Return the last answer of the server, "" if there was none."""
        ...

    def close(self) -> None:
        """Release the connections."""
        ...
