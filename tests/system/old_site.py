"""A site whose data folder was kept from an earlier commit: how its services are started and what they are fed.

tests/old_data/README.md says what a folder has, make_old_data.py makes one, test_old_data.py opens them all.
"""

import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from heliograph.bus import Bus
from heliograph.config import Broker
from tests.conftest import ROOT
from tests.sensor_reader.test_service import GPIOD, LINE
from tests.sensor_reader.tree import Tree

FOLDERS = sorted(path.parent for path in (ROOT / "tests/old_data").glob("*/inputs.toml"))
KEY = "0123456789abcdef0123456789abcdef"  # of the owner in config.toml
RECEIVER = ("127.86.44.9", 8086)  # is in the options of the targets; all of 127.0.0.0/8 is this machine
PRODUCERS = ("serial_bridge", "mqtt_importer", "sensor_reader", "modbus_poller", "calculator", "api")
SOCKETS = ("kitchen", "boiler", "garden", "shed", "radio")
BAD = 166  # a value that the receiver refuses


class Receiver(ThreadingHTTPServer):
    """The server of all targets: takes everything, refuses values that are BAD, or is away."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(RECEIVER, Handler)
        self.is_away = False
        self.strict = True
        self.taken: list[tuple[str, str]] = []  # paths and bodies

    def bodies(self, path: str) -> list[str]:
        return [body for at, body in self.taken if at == path]

    def points(self) -> set[tuple[str, int]]:
        """What the target `influx` was sent: measurement and field, and milliseconds."""
        points = set()
        for body in self.bodies("/write"):
            for line in body.splitlines():
                measurement, fields, at = re.split(r"(?<!\\) (?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", line)
                names = re.findall(r"(?:^|,)([a-z0-9_]+)=", re.sub(r'"(\\.|[^"\\])*"', "", fields))
                points |= {(f"{measurement.partition(',')[0]}/{name}", int(at)) for name in names}
        return points


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Be silent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        path = self.path.partition("?")[0]
        if self.server.is_away:
            return self._answer(503, "away")
        if path == "/strict" and self.server.strict and re.search(rf"\b{BAD}\b", body):
            return self._answer(400, "bad value")
        answers = {"/strict": "stored", "/write": "", "/averages": "", "/emoncms/input/bulk": "ok", "/query": "{}"}
        if path not in answers:
            return self._answer(503, "not here")
        self.server.taken.append((path, body))
        return self._answer(200, answers[path])

    def do_PUT(self) -> None:
        self.do_POST()

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@contextmanager
def receiving() -> Iterator[Receiver]:
    end = time.monotonic() + 60
    while True:  # another run of these tests may have the address
        try:
            receiver = Receiver()
            break
        except OSError:
            assert time.monotonic() < end, "{}:{} is in use".format(*RECEIVER)
            time.sleep(0.2)
    with receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


class OldSite:
    """The services of one folder of tests/old_data, on a data folder of their own."""

    def __init__(
        self,
        kept: Path,
        folder: Path,
        broker: Any,
        processes: Any,
        free_port: Callable[[], int],
        environment: dict[str, str],
    ) -> None:
        self.data = folder / "data"
        self.inputs = tomllib.loads((kept / "inputs.toml").read_text())
        self.fed = 0
        self._template = (kept / "config.toml").read_text()
        self._folder = folder
        self._broker = broker
        self._processes = processes
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = {name: free_port() for name in ("api", *SOCKETS)}
        self._tree = Tree(folder / "root")
        self._wire = folder / "wire"
        self.environment = environment | {"WIRE": str(self._wire)}
        self.pulse(0)
        stand_in = folder / "stand_in"
        (stand_in / "gpiod").mkdir(parents=True)
        (stand_in / "gpiod/__init__.py").write_text(GPIOD)
        (stand_in / "gpiod/line.py").write_text(LINE)
        paths = [environment.get("PYTHONPATH", ""), str(stand_in)]
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._tree.dht()
        self._tree.bme280()
        self._tree.hwmon(
            0, "platform/soc/i2c-1/1-0044", "SHT3x", temp1_input="21870", temp2_input="22000", temp1_label="CPU"
        )

    def configure(self, *, clock: str = "trust", storage: str = "") -> Path:
        """Write the configuration, with more options for storage if there are any."""
        folders = {"data": self.data, "site": self._folder / "site", "root": self._tree.root}
        values = {**folders, **self._ports, "broker": self._broker.port, "clock": clock, "clock_file": self.clock_file}
        text = re.sub("@([a-z_]+)@", lambda match: str(values[match[1]]), self._template)
        path = self._folder / "config.toml"
        path.write_text(text.replace("[storage]\n", f"[storage]\n{storage}"))
        return path

    @property
    def clock_file(self) -> Path:
        """What says that the clock is set, for clock = "file"."""
        return self._folder / "synchronised"

    def start(self, *services: str) -> None:
        """Start services with the configuration as it is written; `simulator` is the Modbus line."""
        for service in services:
            arguments = [f"services.{service}", str(self._folder / "config.toml")]
            if service == "simulator":
                arguments = ["simulator", "--link-folder", str(self._folder / "site")]
            self._running[service] = self._processes.start(*arguments, **self.environment)

    def ended(self) -> list[str]:
        """Return the services that have ended by themselves: their option has another name now, say."""
        return [service for service, process in self._running.items() if process.poll() is not None]

    def stop(self, *services: str) -> None:
        """Stop services; each has to end well."""
        for service in services:
            self._running[service].terminate()
        for service in services:
            assert self._running.pop(service).wait(timeout=60) == 0, service

    def pulse(self, total: int) -> None:
        """Have the gas meter give pulses until it is so many since the start."""
        partial = self._wire.with_suffix(".partial")
        partial.write_text(str(total))
        partial.replace(self._wire)

    def bus(self) -> Bus:
        """Return a client of the broker, for `with`."""
        return Bus(Broker(port=self._broker.port), "pi1", "old_site")

    def ask(self, method: str, path: str, body: object = None, content: str = "application/json") -> Any:
        """Return what api answers; None while it is not there, or says that it is too early."""
        connection = http.client.HTTPConnection("127.0.0.1", self._ports["api"], timeout=30)
        data = body if isinstance(body, str | None) else json.dumps(body)
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": content}
        try:
            connection.request(method, quote(path, safe="/?=&"), data and data.encode(), headers)
            reply = connection.getresponse()
            text = reply.read().decode()
        except OSError:
            return None
        finally:
            connection.close()
        if reply.status == 503:
            return None
        assert reply.status < 300, f"{method} {path}: {reply.status} {text}"
        is_json = reply.headers.get_content_type() == "application/json"
        return json.loads(text) if is_json else text or "nothing"

    def feed(self, bus: Bus, at: float, value: int = 0) -> None:
        """Give every service that runs what it gets from outside, once; readings that carry a time have this one."""
        self.fed += 1
        local = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo("Europe/Berlin"))
        values = {
            "v": value or 100 + self.fed,
            "t": round(at, 3),
            "pimonitor": local.strftime("%m/%d/%Y %H:%M:%S"),
            "digest": hashlib.sha256(KEY.encode()).hexdigest(),
        }

        def filled(text: str) -> str:
            return re.sub("@([a-z]+)@", lambda match: str(values[match[1]]), text)

        if "serial_bridge" in self._running:
            for line in self.inputs["lines"]:
                with socket.create_connection(("127.0.0.1", self._ports[line["port"]]), 10) as client:
                    client.sendall(filled(line["text"]).encode() + b"\n")
        for message in self.inputs["messages"] if "mqtt_importer" in self._running else ():
            assert bus.publish(message["topic"], filled(message["payload"]).encode(), qos=1)
        for request in self.inputs["requests"] if "api" in self._running else ():
            body = request.get("body") or request["form"]
            content = "application/json" if "body" in request else "application/x-www-form-urlencoded"
            assert self.ask("POST", filled(request["path"]), filled(body), content) is not None, request["path"]

    def put_targets(self) -> None:
        """Add the targets as their owner did."""
        for name, options in self.inputs["targets"].items():
            assert self.ask("PUT", f"/api/v1/uploads/{name}", options), name

    def store(self, *arguments: str) -> None:
        """Run heliograph store; storage has to be stopped."""
        command, *rest = arguments
        options = ("--data", str(self.data))
        process = self._processes.start("cli", "store", command, *rest, *options, **self.environment)
        assert process.wait(timeout=60) == 0, arguments

    def import_files(self, times: Callable[[list[list[float]]], list[list[float]]]) -> None:
        """Import every file, with what `times` makes of its times and values; `every` are times at even distances."""
        for number, one in enumerate(self.inputs["imports"]):
            name = one.get("name", f"{number}.csv")
            every = one.get("every", {"from": 0, "seconds": 0, "count": 0})
            even = [[every["from"] + n * every["seconds"], n * n * 7919 % 9973 / 10] for n in range(every["count"])]
            pairs = times(one["times"] + even)
            rows = [one["row"].replace("@t@", f"{at}").replace("@v@", f"{value}") for at, value in pairs]
            file = self._folder / name
            file.write_text("\n".join([one["header"], *rows] if "header" in one else rows) + "\n")
            kind, *options = one["arguments"]
            self.store("import", kind, str(file), *options)
