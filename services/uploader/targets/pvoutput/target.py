"""The target: batches that stay within a local day, and what the answers mean for rows."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from time import monotonic, sleep, time
from typing import Literal
from urllib.parse import urlencode

from services.uploader.options import Secret, TargetOptions, check_url
from services.uploader.target import (
    RESERVED_REQUESTS,
    Answer,
    Limits,
    Refused,
    Row,
    TargetContext,
    TryLater,
    interrupted,
)
from services.uploader.targets.pvoutput import responses
from services.uploader.targets.pvoutput.fields import BASIC, ENERGIES, FIELDS, NAMES, Entry, Fields
from services.uploader.targets.pvoutput.sun import elevation
from services.uploader.targets.shared import fields, http_status
from services.uploader.targets.shared.http_client import FORM, HttpClient, HttpResponse

DAY = 86_400.0
FREE = Limits(rows=30, seconds=0.3, per_hour=60, age=14 * DAY, interval=300.0)
DONOR = FREE._replace(rows=100, per_hour=300, age=90 * DAY)
BODY = 3_000  # bytes of a batch, as IoTaWatt's
BUSY = 30.0  # seconds to wait while it loads
RESET_UNKNOWN = 600.0


class Options(TargetOptions, frozen=True, tag="pvoutput", kw_only=True):
    """A target of kind "pvoutput"; `timezone` is that of the system there, PVOutput reports its interval."""

    key: Secret
    system: str
    url: str = "https://pvoutput.org/service/r2"
    net: bool = False
    name_template: str = ""
    counters: Literal["last", "delta", "today"] = "today"
    ca: str = ""

    def __post_init__(self) -> None:
        """Refuse what PVOutput does not take."""
        super().__post_init__()
        check_url("url", self.url)
        if not re.fullmatch(r"[!-~]+", self.key):
            raise ValueError("key: expected letters and digits; see Settings, API Key at pvoutput.org")
        if not re.fullmatch(r"[0-9]+", self.system):
            raise ValueError(f"system: expected the number of a system, found {self.system!r}")
        fields.select(self, NAMES)
        if self.interval:
            raise ValueError("interval: PVOutput's own for the system is used; leave it out")
        if self.timestamp != "start":
            raise ValueError('timestamp: PVOutput stamps intervals at their "start"')
        if self.counters == "delta":
            raise ValueError('counters: PVOutput takes "today" (since local midnight) or "last" (lifetime)')

    def open(self, context: TargetContext) -> "PVOutput":
        """Return the target."""
        return PVOutput(self)


class PVOutput:
    """Sends batches that stay within a local day, and looks at the flag of every row."""

    def __init__(self, options: Options) -> None:
        """Begin with the limits of a free account and an interval of 5 minutes, until PVOutput has reported the system's own."""
        self.limits = FREE
        self._options = options
        self._zone = options.zone()
        self._web = HttpClient(options.timeout, options.ca)
        self._fields = Fields(self._zone, options.net)
        self._system: responses.System | None = None
        self._rate: responses.Rate | None = None
        self._asked = float("-inf")

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Send rows in as many batches as days and sizes demand; rows without energy and power are left out."""
        before = self.limits.interval
        self._ask_system()
        if self.limits.interval != before:
            raise TryLater(f"the system's interval is {self.limits.interval / 60:g} minutes", after=0.0)
        wrong: dict[int, str] = {}
        entries: list[Entry] = []
        for index, row in enumerate(rows):
            try:
                entries.append(self._fields.entry(index, row))
            except (ValueError, OverflowError, OSError) as error:
                wrong[index] = str(error)
        summary = "no row with energy or power"
        for part in self._parts([entry for entry in entries if entry.is_complete()]):
            try:
                summary = self._send(part, wrong)
            except TryLater as error:
                raise interrupted(error, part[0].row, wrong) from None
        if wrong:
            raise Refused(next(iter(wrong.values())), wrong)
        return Answer(summary, self._pause())

    def newest(self) -> float | None:
        """Return the time of the last status of the system."""
        self._ask_system()
        response = self._request("getstatus.jsp", {})
        text = response.body.decode("utf-8", "replace")
        if "No status" in text:
            return None
        self._check(response)
        try:
            return responses.status_time(text, self._zone)
        except ValueError:
            raise TryLater(f"not a status: {response.summary()}") from None

    @property
    def last_answer(self) -> str:
        """Return the last answer of the server."""
        return self._web.last_answer

    def close(self) -> None:
        """Close the connection."""
        self._web.close()

    def _ask_system(self) -> None:
        """Learn interval and limits once; raise TryLater if PVOutput does not report them."""
        if self._system is not None:
            return
        response = self._request("getsystem.jsp", {"donations": "1"})
        self._check(response)
        try:
            self._system = responses.system(response.body.decode("utf-8", "replace"))
        except ValueError as error:
            raise TryLater(str(error)) from None
        self.limits = (DONOR if self._system.donor else FREE)._replace(interval=self._system.interval)

    def _parts(self, entries: Sequence[Entry]) -> list[list[Entry]]:
        """Cut where a local day ends, where local time does not rise, and where the body gets too long."""
        parts: list[list[Entry]] = []
        size = 0
        for entry in entries:
            length = len(entry.line(self._width)) + 1
            last = parts[-1][-1] if parts else None
            if (
                last is None
                or entry.local.date() != last.local.date()
                or entry.key <= last.key
                or size + length > BODY
                or len(parts[-1]) >= self.limits.rows
            ):
                parts.append([])
                size = len("data=&c1=1&n=1")
            parts[-1].append(entry)
            size += length
        return parts

    @property
    def _width(self) -> int:
        return FIELDS if self._system and self._system.donor else BASIC

    def _send(self, part: list[Entry], wrong: dict[int, str]) -> str:
        """Send one batch and note rows that were not added; raise Refused if it is not known which are bad."""
        form = {"data": ";".join(entry.line(self._width) for entry in part)}
        if self._options.counters == "last" and (cumulative := _cumulative(part)):
            form["c1"] = cumulative
        if self._options.net:
            form["n"] = "1"
        response = self._request("addbatchstatus.jsp", form)
        text = response.body.decode("utf-8", "replace")
        if response.status == 400:
            return self._mended(part, text, response, wrong)
        self._check(response)
        added = responses.flags(text)
        if not added:
            raise TryLater(f"not an answer to a batch: {response.summary()}")
        for entry in part:
            if not added.get(entry.key):
                wrong[entry.row] = f"{entry.key}: not added" if entry.key in added else f"{entry.key}: not confirmed"
        return response.summary()

    def _mended(self, part: list[Entry], text: str, response: HttpResponse, wrong: dict[int, str]) -> str:
        """Take the rows that PVOutput refuses out of a batch, and send the rest; raise Refused if it is unknown which."""
        if "Load in progress" in text:
            raise TryLater(response.summary(), after=BUSY)
        now = datetime.fromtimestamp(time(), self._zone)
        bad: list[Entry] = []
        if older := responses.OLDER.search(text):
            oldest = now.date() - timedelta(days=int(older[1]))
            bad = [entry for entry in part if entry.local.date() < oldest]
        elif "in the future" in text:
            bad = [entry for entry in part if entry.local > now]
            if not bad:
                raise TryLater(f"{response.summary()} Check timezone: it has to be that of the system.")
        elif "Moon powered" in text and len(part) == 1:
            dark = part[0].without(1, 2)
            if dark.is_complete():
                return f"{response.summary()} Sent without generation: {self._send([dark], wrong)}"
        elif "Moon powered" in text and (night := self._night(part)):
            return self._darkened(part, night, response, wrong)
        if len(part) == 1:
            bad = part
        elif not bad:
            raise Refused(response.summary())
        wrong.update({entry.row: f"{entry.key}: {response.summary()}" for entry in bad})
        rest = [entry for entry in part if entry.row not in wrong]
        return self._send(rest, wrong) if rest else response.summary()

    def _night(self, part: list[Entry]) -> set[int]:
        """Return which rows have generation while the sun is down, as far as PVOutput knows where the system is."""
        if self._system is None or self._system.location is None:
            return set()
        location = self._system.location
        return {
            entry.row for entry in part if entry.values.get(2) and elevation(entry.local.timestamp(), *location) < 0
        }

    def _darkened(self, part: list[Entry], night: set[int], response: HttpResponse, wrong: dict[int, str]) -> str:
        """Send a batch again, without generation at night; set aside the rows of which nothing is left."""
        dark = [entry.without(1, 2) if entry.row in night else entry for entry in part]
        wrong.update({entry.row: f"{entry.key}: {response.summary()}" for entry in dark if not entry.is_complete()})
        rest = [entry for entry in dark if entry.is_complete()]
        return self._send(rest, wrong) if rest else response.summary()

    def _request(self, page: str, form: Mapping[str, str]) -> HttpResponse:
        if pause := self._pause():
            raise TryLater(
                f"{RESERVED_REQUESTS} requests of this hour are kept for others with the same key", after=pause
            )
        sleep(max(0.0, self._asked + FREE.seconds - monotonic()))
        self._asked = monotonic()
        headers = {
            "X-Pvoutput-Apikey": self._options.key,
            "X-Pvoutput-SystemId": self._options.system,
            "X-Rate-Limit": "1",
            "Content-Type": FORM,
        }
        body = urlencode(form, safe=",:;").encode()
        response = self._web.request("POST", f"{self._options.url.rstrip('/')}/{page}", body, headers)
        self._rate = responses.rate(response.headers) or self._rate
        return response

    def _pause(self) -> float:
        """Return for how long to send no request, so that a few of the hour are left."""
        if self._rate is None or self._rate.remaining > RESERVED_REQUESTS:
            return 0.0
        return max(0.0, self._rate.reset - time())

    def _check(self, response: HttpResponse) -> None:
        """Return if a request was carried out; raise TryLater, for the response is not about rows."""
        if response.status == 403 and "Exceeded" in response.summary():
            raise TryLater(response.summary(), after=self._pause() or RESET_UNKNOWN)
        if "Load in progress" in response.summary():
            raise TryLater(response.summary(), after=BUSY)
        http_status.check_answered(response)


def _cumulative(part: Sequence[Entry]) -> str:
    """Return c1: which energies are lifetime energies: 1 both, 2 that of generation, 3 that of consumption."""
    generated, consumed = (any(field in entry.values for entry in part) for field in ENERGIES)
    return "1" if generated and consumed else "2" if generated else "3" if consumed else ""
