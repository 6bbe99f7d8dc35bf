"""A node with every stage between a reading and its copies, and what each of them is to have, reading by reading.

Three devices have numbered readings: `counter` as fast as the outbox bears, `meter` by the clock, `posted` by the clock over HTTP.
`calc` is calculated from the latter two; all of it is uploaded to an InfluxDB.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

import httpx

from heliograph.errors import StoreAway
from heliograph.store import open_reader
from services.api.ingest.keys import hashed
from tests.databases import Influx
from tests.stored import points
from tests.system.clocked import STEP, last_number, time_of
from tests.system.conftest import START, Site

KEY = "torture-key"
INTERVAL = 0.5  # of the results, in seconds
POSTED_STEP = 0.1
AT_ONCE = 50  # readings in a request
SECTIONS = """
[api]
port = {port}
[api.keys]
test = "{key}"
[calculator.devices.calc]
interval = {interval}
[calculator.devices.calc.channels.both]
formula = "posted.number * 1000000 + meter.number"
[calculator.devices.calc.channels.twice]
formula = "meter.number * 2"
[[uploader.targets]]
kind = "influxdb"
name = "influx"
url = "{url}"
version = 1
database = "site"
from = "beginning"
"""

Points = dict[float, float]  # by time


class Poster(threading.Thread):
    """Posts numbered readings when they are due, again and again until they are accepted."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.begin = 0.0
        self.last: int | None = None  # the number to end with, once that is known
        self.repeated = 0  # readings that may have been accepted without our knowing
        self.refused = ""
        self._url = f"http://127.0.0.1:{port}/api/v1/readings"

    def run(self) -> None:
        number = 0
        headers = {"authorization": f"Bearer {KEY}"}
        with httpx.Client(headers=headers, timeout=60) as http:
            while not self.refused and (self.last is None or number <= self.last):
                due = int((time.time() - self.begin) / POSTED_STEP)
                numbers = range(number, min(due, due if self.last is None else self.last, number + AT_ONCE - 1) + 1)
                if numbers and self._is_accepted(http, numbers):
                    number = numbers.stop
                else:
                    time.sleep(0.05)

    def _is_accepted(self, http: httpx.Client, numbers: range) -> bool:
        readings = [
            {"device": "posted", "time": time_of(self.begin, number, POSTED_STEP), "values": {"number": number}}
            for number in numbers
        ]
        try:
            answer = http.post(self._url, json=readings)
        except httpx.HTTPError:
            self.repeated += len(numbers)
            return False
        if answer.status_code not in (202, 429, 503):
            self.refused = f"{answer.status_code}: {answer.text}"
        return answer.status_code == 202


class WholeSite:
    """The node, the sender, and the target; `site` makes the node, see conftest.py."""

    SERVICES = ("storage", "calculator", "uploader", "api")
    PRODUCERS = ("numbered", "clocked")
    VICTIMS = ("broker", "influxd", *SERVICES, *PRODUCERS)

    def __init__(self, site: Callable[..., Site], influx: Influx, port: int, count: int, per_second: float) -> None:
        sections = SECTIONS.format(port=port, key=hashed(KEY), interval=INTERVAL, url=influx.url)
        self.node = site(count, per_second, sections)
        self.poster = Poster(port)
        self._api = f"http://127.0.0.1:{port}/api/v1"
        self._influx = influx
        self._cursor = 0
        self._arrived: dict[str, Counter[float]] = {}  # by device, then by number

    def start(self, eventually: Callable[..., Any]) -> None:
        """Start everything, and wait for results: the calculator begins with the first reading that it hears, and is to hear the first."""
        for service in self.SERVICES:
            self.node.start(service)
        eventually(lambda: set(self.SERVICES) <= self._online(), 120)
        self.begin = math.ceil(time.time())
        self.node.add_section(f"[clocked]\nbegin = {self.begin}\n")
        for producer in self.PRODUCERS:
            self.node.start(producer)
        self.poster.begin = self.begin
        self.poster.start()
        eventually(lambda: not self.wrong_until(1), 120, what="results before the first kill")

    def kill(self, victim: str) -> None:
        """Kill a service, a producer, the broker, or the database."""
        if victim == "influxd":
            self._influx.stop()
        else:
            self.node.kill(victim)

    def revive(self, victim: str) -> None:
        """Start again what was killed."""
        if victim == "influxd":
            self._influx.start()
        else:
            self.node.start(victim)

    def _online(self) -> set[str]:
        try:
            services = httpx.get(f"{self._api}/health", timeout=60).json()["services"]
        except httpx.TransportError:
            return set()
        return {name for name, service in services.items() if service["state"] == "online"}

    def steps(self) -> int:
        """Return how many results are due now."""
        return int((time.time() - self.begin) / INTERVAL)

    def end(self) -> int:
        """Have the clocked readings end soon; return the step of the last result."""
        last = self.steps() + 6  # so far ahead that no producer is there yet
        self.poster.last = round(last * INTERVAL / POSTED_STEP)
        file = last_number(self.node.data)
        partial = file.with_suffix(".partial")
        partial.write_text(str(round(last * INTERVAL / STEP)))
        partial.replace(file)
        return last

    def follow(self) -> None:
        """Note what has arrived in the store since the last call: only here do readings that replace others differ from these."""
        with closing(open_reader(self.node.data)) as reader, suppress(StoreAway):
            for arrival in reader.since(self._cursor, 10**7):
                self._cursor = arrival.cursor
                if "number" in arrival.values:
                    self._arrived.setdefault(arrival.device, Counter())[float(arrival.values["number"])] += 1

    def wrong_in_order_of_arrival(self) -> str:
        """Return which readings arrived in the store twice, of those that were sent once, or are missing from its order of arrival."""
        self.follow()
        counted = len(self._arrived["counter"])
        if counted != self.node.count:
            return f"{counted} of {self.node.count} readings of counter"
        twice = {
            device: [number for number, count in arrived.items() if count > 1]
            for device, arrived in self._arrived.items()
        }
        accepted_twice = len(twice.pop("posted")) > self.poster.repeated
        return f"{twice}" if any(twice.values()) or accepted_twice else ""

    def wrong_until(self, last: int) -> str:
        """Return how readers find the clocked readings and results up to a step to differ from what they are to be."""
        until = self.begin + last * INTERVAL
        expected, stored = self.expected(last), self._stored()
        actual = {name: {at: value for at, value in stored.get(name, {}).items() if at <= until} for name in expected}
        return _differences(actual, expected)

    def wrong(self, last: int) -> str:
        """Return how readers find anything to differ from what it is to be, when the last step is over."""
        assert not self.poster.refused
        counter = {"pi1/counter/number": {START + number: float(number) for number in range(self.node.count)}}
        return _differences(self._stored(), {**self.expected(last), **counter})

    def wrong_in_target(self) -> str:
        """Return how the target differs from the store."""
        stored = self._stored()
        uploaded = {}
        for name in stored:
            _, device, channel = name.split("/")
            uploaded[name] = {at / 1000: float(value) for at, value in self._influx.points(channel, device).items()}
        return _differences(uploaded, stored)

    def _stored(self) -> dict[str, Points]:
        return {name: {at: float(value) for at, value in rows} for name, rows in points(self.node.data).items()}

    def expected(self, last: int) -> dict[str, Points]:
        """Return the clocked readings and the results up to a step, by series."""
        meter, posted = round(INTERVAL / STEP), round(INTERVAL / POSTED_STEP)  # readings between two results
        steps = [(self.begin + step * INTERVAL, step) for step in range(last + 1)]
        return {
            "pi1/meter/number": _numbered(self.begin, last * meter, STEP),
            "pi1/posted/number": _numbered(self.begin, last * posted, POSTED_STEP),
            "pi1/calc/both": {at: float(step * posted * 1_000_000 + step * meter) for at, step in steps},
            "pi1/calc/twice": {at: float(step * meter * 2) for at, step in steps},
        }


def _numbered(begin: float, last: int, step: float) -> Points:
    return {time_of(begin, number, step): float(number) for number in range(last + 1)}


def _differences(actual: Mapping[str, Points], expected: Mapping[str, Points]) -> str:
    """Return what is missing, wrong or too much in each series; nothing if all is equal."""
    texts = []
    for name in sorted({*actual, *expected}):
        have, want = actual.get(name, {}), expected.get(name, {})
        for what, times in (
            ("missing", sorted(want.keys() - have.keys())),
            ("too much", sorted(have.keys() - want.keys())),
            ("wrong", sorted(at for at in have.keys() & want.keys() if have[at] != want[at])),
        ):
            if times:
                texts.append(f"{name}: {len(times)} of {len(want)} {what}: {_some(times, have, want)}")
    return "; ".join(texts)


def _some(times: Sequence[float], have: Points, want: Points) -> str:
    return ", ".join(f"{at}: {have.get(at)} for {want.get(at)}" for at in times[:5])


def settled(check: Callable[[], str], seconds: float) -> str:
    """Return what a check says, once that is nothing, or after so many seconds."""
    end = time.monotonic() + seconds
    while (problem := check()) and time.monotonic() < end:
        time.sleep(0.2)
    return problem
