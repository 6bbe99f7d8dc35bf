"""The shapes of requests and responses about uploads, as docs/uploads.md describes them."""

from typing import Annotated, Any

import msgspec
from msgspec import Struct, field

from heliograph.messages import Count, Value
from services.api.live import LATEST


class UploadTarget(Struct):
    """One target and its state; times are UTC seconds, null before there is one. Secrets are `…`."""

    name: str
    kind: str
    configured: bool
    state: str
    options: dict[str, Any]
    backlog: int | None = None
    oldest: float | None = None
    rate: float | None = None
    eta: float | None = None
    sent: int | None = None
    last_response: str | None = None
    last_success: float | None = None
    last_error: str | None = None
    error_time: float | None = None
    next_try: float | None = None
    dead_letters: int | None = None
    dropped: int | None = None
    skipped: int | None = None
    passed_over: int | None = None


class Uploads(Struct):
    """All targets of a node by name, and the kinds of targets."""

    targets: list[UploadTarget]
    kinds: list[str]


class UploadTestResult(Struct):
    """Whether the target accepted the reading, and its response."""

    ok: bool
    response: str


class UploadDeadLetter(Struct):
    """A row that a target rejected: when (`added`) and why (`reason`); `retry`: it will be sent again. Values by series."""

    id: int
    added: float
    reason: str
    retry: bool
    time: float
    values: dict[str, Value]


class UploadDeadLetters(Struct):
    """A page of dead letters; `count` is how many there are, `next` the `after` of the next page, null on the last."""

    count: int
    dead_letters: list[UploadDeadLetter]
    next: int | None


class Affected(Struct):
    """How many dead letters were affected."""

    count: int


class DeadLetterSelection(Struct, forbid_unknown_fields=True):
    """The ids of dead letters; null, or left out: all of them."""

    ids: list[Count] | None = None


class DeadLetterChange(Struct, forbid_unknown_fields=True):
    """New values by series, null removes one; and a new time, UTC seconds."""

    values: dict[str, Value | None] = field(default_factory=dict)
    time: Annotated[float, msgspec.Meta(ge=0, le=LATEST)] | None = None


SCHEMAS = (
    UploadTarget,
    Uploads,
    UploadTestResult,
    UploadDeadLetter,
    UploadDeadLetters,
    Affected,
    DeadLetterSelection,
    DeadLetterChange,
)
