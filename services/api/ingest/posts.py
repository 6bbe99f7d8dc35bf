"""The endpoints that accept reports in one body: our own, and pimonitor's."""

import re
from collections.abc import Callable
from datetime import tzinfo

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from heliograph.store import buckets
from services.api import queries
from services.api.errors import RequestRefused
from services.api.ingest import pimonitor, readings
from services.api.ingest.gate import Gate
from services.api.ingest.intake import HttpIntake
from services.api.ingest.options import PimonitorOptions
from services.api.schemas import Accepted, json_response

_JSON = re.compile(r"application/(json|[a-z0-9.+-]+\+json)")
SHOWN_BYTES = 200


async def accept_readings(request: Request, gate: Gate, intake: HttpIntake, durable: str | None) -> Response:
    """Accept one reading or a list, all of them or none; raise RequestRefused. With `durable`, wait for the disk."""
    shown = None
    try:
        gate.enter("readings", request)
        _, body = await gate.admitted_body(request)
        shown = body[:SHOWN_BYTES].decode("utf-8", "replace")
        waits_for_disk = queries.flag("durable", durable)
        reports = readings.parse(body)
        for number, report in enumerate(reports):
            intake.check(report, f"[{number}]" if body.lstrip()[:1] == b"[" else "")
        await intake.accept(reports, durable=waits_for_disk)
    except RequestRefused as error:
        gate.refused("readings", error, shown)
        raise
    accepted = sum(bool(report.values) for report in reports)
    return json_response(Accepted(accepted, sum(report.missing for report in reports)), 202)


class PimonitorPost:
    """Answers like pimonitor's server to its sensors, but also reports what was not inserted."""

    def __init__(self, options: PimonitorOptions, gate: Gate, intake: HttpIntake, now: Callable[[], float]) -> None:
        self._zone: tzinfo | None = buckets.zone(options.tz) if options.tz else None
        self._gate = gate
        self._intake = intake
        self._now = now

    async def accept(self, request: Request) -> Response:
        """Accept the report of one location."""
        shown = None
        try:
            self._gate.enter("pimonitor", request)
            if self._zone is None:
                raise RequestRefused("reports of pimonitor are not accepted: set tz in [api.pimonitor]", 404)
            if not _JSON.fullmatch(request.headers.get("content-type", "").partition(";")[0].strip().lower()):
                raise RequestRefused(pimonitor.NO_JSON, 415)
            content = pimonitor.decode(await self._gate.body(request))
            await self._gate.admit_digest(request, pimonitor.digest(content))
            del content["api_hash"]  # as good as the key, so it is shown nowhere
            shown = msgspec.json.encode(content)[:SHOWN_BYTES].decode("utf-8", "replace")
            posted = pimonitor.parse(content, self._zone, self._now(), self._intake.names)
            for report in posted.reports:
                self._intake.check(report)
            if posted.reports:
                await self._intake.accept(posted.reports)
            if posted.refused:
                rest = "; the other sensors were inserted" if posted.reports else ""
                raise RequestRefused("; ".join(posted.refused[:5]) + rest)
        except RequestRefused as error:
            self._gate.refused("pimonitor", error, shown)
            return PlainTextResponse(error.detail, error.status, error.headers)
        return HTMLResponse(pimonitor.SUCCESS.format(posted.timestamp))
