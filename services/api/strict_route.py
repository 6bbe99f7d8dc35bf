"""Routes that refuse query parameters which they do not have: a misspelled one would be a wrong answer that looks right."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from heliograph import nearest
from services.api.errors import RequestRefused

STRICT = "/api/v1/"  # below it; clients of the compatible routes send others as well
_MEANT = {
    "start": "from",
    "since": "from",
    "begin": "from",
    "end": "to",
    "until": "to",
    "stop": "to",
    "timezone": "tz",
    "zone": "tz",
    "aggregate": "functions",
    "interval": "bucket",
    "step": "bucket",
    "cursor": "next",
    "name": "series",
}


class StrictRoute(APIRoute):
    """A route that refuses unknown query parameters, and says which one may be meant."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of FastAPI, with a check before it."""
        handle = super().get_route_handler()
        if not self.path.startswith(STRICT):
            return handle
        known = [field.alias for field in self.dependant.query_params]

        async def checked(request: Request) -> Response:
            for name in request.query_params:
                if name not in known:
                    raise RequestRefused(_unknown(name, known))
            return await handle(request)

        return checked


def _unknown(name: str, known: list[str]) -> str:
    meant = _MEANT.get(name.lower())
    near = nearest.choices(meant if meant in known else name, known)
    return f"{name[:40]!r} is no parameter of this request{near}"
