"""Decides which services of a node do not live. Not thread-safe: everything happens on the event loop."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from heliograph import config, heartbeat, remedies, restarts
from heliograph.messages import Status
from heliograph.outbox_losses import shown
from services.api.live import LATEST
from services.api.schemas import HealthProblem

STARTING_SECONDS = 20.0  # after a connect: the broker has kept the goodbyes of services that start beside this one
MISSING_SECONDS = 60.0  # after a connect, until a service that is configured should have reported
SILENT_SECONDS = 9.0  # without a heartbeat, of which three are due then
DEATHS = 3  # last wills of a service
DEATHS_SECONDS = 180.0  # the time in which they are too many
RESTARTS = 2  # in a row, each soon after the start
ALWAYS = frozenset({"storage", "api", "uploader"})  # run without a section, too

_ABSENT = "it does not run, or the broker refuses it"
_NOT_STORED = "no reading is stored until it runs again"
_GONE = "if it is gone for good: heliograph forget {}"
_OTHER = "see that {0} runs and reaches this broker; " + _GONE.replace("{}", "{0}")
_RESTART = f"{remedies.SEE_LOG}, and restart it"


class ServiceWatch:
    """Follows the heartbeats and last wills of the services of a node.

    `configured` are the sections of config.toml, `notes` is where services and supervisor leave files, if they run on this
    machine. `monotonic` returns seconds that nothing can set, `now` UTC seconds.
    """

    def __init__(
        self,
        configured: Collection[str],
        notes: Path | None,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._configured = frozenset(configured).difference(config.COMMON_SECTIONS)
        self._notes = notes
        self._now = now
        self._monotonic = monotonic
        self._beats: dict[str, float] = {}
        self._newest = -math.inf
        self._deaths: dict[str, deque[float]] = {}
        self._connected_since = math.inf

    def received(self) -> None:
        """Note that a message came: the silence of a service counts only while the broker talks."""
        self._newest = self._monotonic()

    def lives(self, service: str) -> None:
        """Note that a service lives."""
        self._beats[service] = self._monotonic()

    def died(self, service: str) -> None:
        """Note that the broker sent the last will of a service."""
        self._deaths.setdefault(service, deque(maxlen=DEATHS)).append(self._monotonic())

    def broker_returned(self) -> None:
        """Note that the broker has hung: what the services sent meanwhile, and they themselves, may come late."""
        if self._connected_since != math.inf:
            self._connected_since = self._monotonic()
            self._beats.clear()

    def connected(self, *, is_connected: bool) -> None:
        """Note whether the broker is there."""
        if not is_connected:
            self._connected_since = math.inf
            self._beats.clear()
        elif self._connected_since == math.inf:
            self._connected_since = self._monotonic()

    def problems(self, services: Mapping[str, Status]) -> Iterator[HealthProblem]:
        """Yield what is wrong with the services, of which this is the last status: storage first."""
        connected_for = self._monotonic() - self._connected_since
        # the broker also keeps the goodbye of a service that is configured no longer
        for name in sorted(self._configured | ALWAYS, key=lambda name: (name != "storage", name)):
            status = services.get(name)
            if problem := self._dying(name) or self._refused(name) or self._absent(name, status, connected_for):
                yield problem
            elif status and status.state == "online":
                yield from self._silent(name)

    def problems_of_other(self, node: str, services: Mapping[str, Status]) -> Iterator[HealthProblem]:
        """Yield which services of another node are offline, or that all are; what is configured there is unknown here."""
        offline = {name: status.time for name, status in services.items() if status.state != "online"}
        if self._monotonic() - self._connected_since < STARTING_SECONDS or not offline:
            return
        if len(offline) == len(services):
            left = max(offline.values())
            since = left if 0 < left < LATEST and min(offline.values()) > 0 else None
            yield HealthProblem("node_offline", f"{node}: offline, with all its services", _OTHER.format(node), since)
            return
        for name, left in offline.items():
            since = left if 0 < left < LATEST else None
            action = f"{remedies.SEE_LOG.format(service=name)}; {_GONE.format(node)}"
            yield _problem("service_offline", name, f"{name} is offline: {_ABSENT}", action=action, since=since)

    def _dying(self, name: str) -> HealthProblem | None:
        noted = restarts.read(self._notes, name) if self._notes else None
        if noted and noted.count >= RESTARTS:
            summary = f"{name} keeps dying: it {noted.how}, {noted.count} times in a row soon after its start"
            return _problem("service_dies", name, summary, since=noted.since)
        deaths = self._deaths.get(name)
        if deaths and len(deaths) == DEATHS and self._monotonic() - deaths[0] < DEATHS_SECONDS:
            summary = f"{name} keeps dying: {DEATHS} times in {DEATHS_SECONDS / 60:.0f} minutes"
            return _problem("service_dies", name, summary)
        return None

    def _refused(self, name: str) -> HealthProblem | None:
        # over the bus it cannot say so; this service is connected, so the broker is there
        why = heartbeat.problem(heartbeat.path(name)) if self._notes else ""
        if why.startswith("the broker refuses"):
            return _problem("service_refused", name, f"{name}: {why}", action=remedies.LET_IN)
        return None

    def _absent(self, name: str, status: Status | None, connected_for: float) -> HealthProblem | None:
        if status is None:
            if connected_for < MISSING_SECONDS or name not in self._configured:
                return None
            return _problem("service_missing", name, f"{name} is configured, and has never reported: {_ABSENT}")
        if status.state == "online" or connected_for < STARTING_SECONDS:
            return None
        without = _NOT_STORED if name == "storage" else _ABSENT
        since = status.time if 0 < status.time < LATEST else None
        return _problem("service_offline", name, f"{name} is offline: {without}", since=since)

    def _silent(self, name: str) -> Iterator[HealthProblem]:
        # until its first heartbeat since the connect it is one that starts
        last, enough = self._connected_since, STARTING_SECONDS
        if name in self._beats:
            last, enough = self._beats[name], SILENT_SECONDS
        silence = self._newest - last
        if silence >= enough:
            since = self._now() - silence
            without = f", {_NOT_STORED}" if name == "storage" else ""
            summary = f"{name} hangs: it has given no heartbeat since {shown(since)}{without}"
            yield _problem("service_hung", name, summary, action=_RESTART, since=since)


def _problem(
    code: str, name: str, summary: str, *, action: str = remedies.SEE_LOG, since: float | None = None
) -> HealthProblem:
    return HealthProblem(code, summary, action.format(service=name), since=since, service=name)
