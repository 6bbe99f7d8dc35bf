"""Why a request is refused."""

from collections.abc import Mapping

from heliograph.errors import HeliographError


class RequestRefused(HeliographError):
    """A request is refused with this status; the message says what is wrong and what would be right."""

    def __init__(self, detail: str, status: int = 422, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.headers = dict(headers or {})


class Busy(RequestRefused):
    """A request is refused for now; the same may be answered after this many seconds."""

    def __init__(self, detail: str, status: int, seconds: float) -> None:
        super().__init__(detail, status, {"retry-after": str(max(1, round(seconds + 0.5)))})
