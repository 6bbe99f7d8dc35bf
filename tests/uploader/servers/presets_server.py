"""The servers of older projects that the presets of `http` talk to, as their source has them.

Compared with: the source of Solar Protocol's api.php and of pimonitor's server, in 2026.
"""

import json
from datetime import datetime
from html import escape

from tests.uploader.servers.web_server import Request, Response, WebServer

KEY = "yourApiKeyHere"
KEY_HASH = "4ac97645e8e58c6637d0511d16023a7e3087e17414c14a2abaa2217cbded204c"


class SolarProtocolServer(WebServer):
    """api.php: a list of devices by MAC address."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[dict[str, str]] = []

    def answer(self, request: Request) -> Response:
        assert (request.method, request.path) == ("POST", "/api/v1/api.php")
        report = {name: escape(text.strip().replace("\\", "")) for name, text in request.form().items()}
        if report.get("api_key") != KEY:
            return Response(200, "Wrong API Key provided.")
        was_empty = not self.devices
        entry = {
            "mac": report.get("mac", ""),
            "ip": report.get("ip", ""),
            "time stamp": report.get("stamp", ""),
            "name": report.get("name", ""),
            "tz": report.get("tz", ""),
            "log": report.get("log", ""),
        }
        self.devices = [one for one in self.devices if one["mac"] != entry["mac"]] + [entry]
        return Response(200, "" if was_empty else json.dumps(self.devices))


class PimonitorServer(WebServer):
    """pimonitor: the first sensor of a report becomes a row, and everything is a success."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[tuple[str, str, float, float]] = []
        self.ignored: list[object] = []

    def answer(self, request: Request) -> Response:
        assert (request.method, request.path) == ("POST", "/")
        if request.headers.get("content-type") != "application/json":
            return Response(200, "An unexpected error occured.  Try again.")
        try:
            report = json.loads(request.body)
        except ValueError:
            return Response(400, "Bad request")
        assert report["api_hash"] == KEY_HASH
        if "timestamp" not in report:
            return Response(500, "Internal Server Error")
        try:
            assert len(report["location"]) <= 30
            assert len(report["sensors"]) == 1
            moment = str(datetime.strptime(f"{report['timestamp']} +0000", "%m/%d/%Y %H:%M:%S %z"))[:19]
            sensor = report["sensors"][0]
            self.stored.append((report["location"], moment, sensor["temperature"], sensor["humidity"]))
        except (AssertionError, KeyError, ValueError):
            self.ignored.append(report)
        return Response(200, "[02/25/2021 19:04:56] Successfully received and inserted into database.")


class Collector(WebServer):
    """Takes everything; `requests` is what the tests look at."""

    def answer(self, request: Request) -> Response:
        return Response(200, "thanks")
