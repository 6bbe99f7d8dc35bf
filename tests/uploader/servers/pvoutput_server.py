"""PVOutput's service/r2 with its documented limits, and one system of its own time zone.

What is refused by PVOutput is refused here; what spoils its totals without an error (a batch
across midnight, an energy that falls within a day, the same minute twice in a batch) is noted in `violations`.

Compared with: no real server, which is a service; its API specification (pvoutput.org/help/api_specification.html, 2026).
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tests.uploader.servers.web_server import Request, Response, WebServer

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
SYSTEM = "4711"
LARGEST_ENERGY = 200_000


class PVOutputServer(WebServer):
    def __init__(self, zone: str = "Australia/Brisbane", minutes: int = 5, donor: bool = False) -> None:
        super().__init__()
        self.zone = ZoneInfo(zone)
        self.minutes = minutes
        self.donor = donor
        self.clock: Callable[[], float] = time.time
        self.stored: dict[str, list[str]] = {}  # "date,time": v1, v2, …
        self.flags: dict[str, str] = {}
        self.location = "-27.5,153.0"
        self.not_added: set[str] = set()
        self.dark: Callable[[datetime], bool] = lambda moment: False
        self.violations: list[str] = []
        self.used = 0
        self.hour = 0

    @property
    def batches(self) -> list[list[str]]:
        return [
            request.form()["data"].split(";") for request in self.requests if request.path.endswith("batchstatus.jsp")
        ]

    def answer(self, request: Request) -> Response:
        headers = request.headers
        if request.method != "POST" or headers.get("x-pvoutput-apikey") != KEY:
            return Response(401, "Unauthorized 401: Invalid API Key")
        if headers.get("x-pvoutput-systemid") != SYSTEM:
            return Response(401, "Unauthorized 401: Invalid System ID")
        now = self.clock()
        if now // 3600 != self.hour:
            self.hour, self.used = int(now // 3600), 0
        limit = 300 if self.donor else 60
        self.used += 1
        response = self._counted(request) if self.used <= limit else None
        if response is None:
            response = Response(403, f"Forbidden 403: Exceeded {limit} requests per hour")
        if headers.get("x-rate-limit") != "1":
            return response
        answers = {
            "X-Rate-Limit-Remaining": str(max(limit - self.used, 0)),
            "X-Rate-Limit-Limit": str(limit),
            "X-Rate-Limit-Reset": str((self.hour + 1) * 3600),
        }
        return response._replace(headers=answers)

    def _counted(self, request: Request) -> Response:
        form = request.form()
        match request.path.rpartition("/")[2]:
            case "getsystem.jsp":
                system = (
                    f"Roof,5000,4000,20,250,Panels,1,5000,Inverter,N,25.0,No,20200101,{self.location},{self.minutes}"
                )
                donations = f"{int(self.donor)}" if form.get("donations") == "1" else ""
                return Response(200, f"{system};;{donations}")
            case "getstatus.jsp":
                if not self.stored:
                    return Response(400, "Bad request 400: No status found")
                last = max(self.stored)
                return Response(200, f"{last},1000,200,0,0,NaN,NaN,NaN")
            case "addbatchstatus.jsp":
                return self._batch(form)
        return Response(404, "Not found")

    def _batch(self, form: dict[str, str]) -> Response:
        rows = [row.split(",") for row in form["data"].split(";")]
        if len(rows) > (100 if self.donor else 30):
            return bad("Too many statuses")
        if len({(row[0], row[1]) for row in rows}) < len(rows):
            self.violations.append("the same minute twice in a batch")
        if "c1" not in form and any(row[2] or row[4] for row in rows) and len({row[0] for row in rows}) > 1:
            self.violations.append("daily values across midnight")
        for row in rows:
            if why := self._mistake(row, form):
                return bad(why)
        answers: list[str] = []
        for row in rows:
            key = f"{row[0]},{row[1]}"
            flag = "0" if key in self.not_added else "2" if key in self.stored else "1"
            if flag != "0":
                self._store(key, row[2:], form)
            answers.append(f"{key},{flag}")
        return Response(200, ";".join(answers))

    def _mistake(self, row: list[str], form: dict[str, str]) -> str:
        now = datetime.fromtimestamp(self.clock(), self.zone)
        if not 8 <= len(row) <= (14 if self.donor else 8):
            return "Could not read [data]"
        moment = datetime.strptime(f"{row[0]} {row[1]}", "%Y%m%d %H:%M").replace(tzinfo=self.zone)
        if moment.minute % self.minutes:
            return "Could not read [time]"
        days = 90 if self.donor else 14
        if moment.date() < now.date() - timedelta(days=days):
            return f"Date is older than {days} days"
        if moment > now:
            return "Date is in the future"
        values = [float(text) if text else None for text in row[2:]]
        if all(value is None for value in values[:4]):
            return "Missing energy or power value"
        if values[1] and self.dark(moment):
            return "Moon powered"
        if (values[1] or 0) > 8_000:
            return f"Power value [{row[3]}] too high for system size [4000]"
        if "c1" not in form and max(values[0] or 0, values[2] or 0) > LARGEST_ENERGY:
            return f"Energy value [{row[2]}] too high for system size [4000]"
        return ""

    def _store(self, key: str, values: list[str], form: dict[str, str]) -> None:
        self.flags[key] = form.get("c1", "") + ("n" if form.get("n") == "1" else "")
        day, _, _ = key.partition(",")
        before = [old for old in self.stored if old.startswith(day) and old < key and self.stored[old][0]]
        if values[0] and before and float(self.stored[max(before)][0]) > float(values[0]):
            self.violations.append(f"{key}: energy of the day fell")
        self.stored[key] = values


def bad(why: str) -> Response:
    return Response(400, f"Bad request 400: {why}")
