"""The course of one target: what it is sent next, what its answers mean, how it stands."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from heliograph.backoff import Backoff
from heliograph.errors import StoreAway, StoreDamaged
from heliograph.redaction import redactor
from heliograph.store.interface import Reader
from services.uploader.engine.batch import Work
from services.uploader.engine.checkpoint import Checkpoint
from services.uploader.engine.delivery import Delivery
from services.uploader.engine.rate_limit import HOUR, RateLimit
from services.uploader.engine.scheduler import Scheduler, interval_of
from services.uploader.engine.source import ChannelMap, NewestCursor
from services.uploader.engine.state import DeliveryState, InFlight, State, StateAway
from services.uploader.engine.status import TargetStatus, TestResult
from services.uploader.options import TargetOptions, kind_of, secrets
from services.uploader.target import Refused, Row, Target, TryLater

log = logging.getLogger(__name__)

IDLE_SECONDS = 10.0  # without news from storage
AWAY_SECONDS = 5.0  # until store, or the disk, is looked at again
LOOK_SECONDS = 5.0  # between two looks at how much is left


class Session(NamedTuple):
    """What there is from the first step on."""

    target: Target
    known: DeliveryState
    delivery: Delivery
    record: Checkpoint


class Pipeline:
    """Brings one target what it has not got yet, a step at a time; `pause`, `resend` and `facts` are for any thread."""

    def __init__(
        self,
        options: TargetOptions,
        reader: Reader,
        channels: ChannelMap,
        state: State,
        open_target: Callable[[Callable[[], None]], Target],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`open_target` makes the target, which may call back while it waits; `now` is in s UTC, 0 while nobody knows."""
        self.options = options
        self.hide = redactor(secrets(options))
        self._reader = reader
        self._channels = channels
        self._state = state
        self._open_target = open_target
        self._now = now
        self._met: Session | None = None
        self._plan: Scheduler | None = None
        self._work: Work | None = None
        self._pace = RateLimit()
        self._backoff = Backoff()
        self._paused = False
        self._resumed = threading.Event()
        self._resend = threading.Event()
        self._looked = float("-inf")
        self._report = TargetStatus(options.name, kind_of(options))

    def pause(self, *, paused: bool) -> None:
        """Hold what is not sent, or go on at once, whatever was to be waited for."""
        self._paused = paused
        if not paused:
            self._resumed.set()

    def resend(self) -> None:
        """Send those dead letters again that are marked."""
        self._resend.set()

    def facts(self) -> dict[str, Any]:
        """Return how the target stands."""
        return self._report.facts(self._now())

    def close(self) -> None:
        """Keep what is done, and let go of the target's connections."""
        if self._met is not None:
            with suppress(StateAway):
                self._met.record.save()
            self._met.target.close()

    def step(self) -> float:
        """Do the next thing; return for how many seconds there is nothing to do unless something happens."""
        try:
            return self._step()
        except TryLater as error:
            return self._held_up(error)
        except (StoreAway, StateAway, StoreDamaged) as error:
            now = self._now()
            self._report.failed(now, str(error), now + AWAY_SECONDS)
            return AWAY_SECONDS

    def try_out(self) -> TestResult:
        """Send one reading now: the newest, or the next one to a target that would lose what is older than it."""
        try:
            met = self._meet()
            limits = met.target.limits
            if limits.ordered or not limits.overwrites:
                return self._next_one(met)
            row = self._newest()
            if row is None:
                return TestResult(ok=False, response="nothing was sent: no selected channel has a value yet")
            self._pace.began(time.monotonic())
            return TestResult(ok=True, response=self.hide(met.target.upload([row]).said))
        except (TryLater, Refused, StoreAway, StateAway, StoreDamaged) as error:
            why = next(iter(error.rows.values()), str(error)) if isinstance(error, Refused) else str(error)
            return TestResult(ok=False, response=self.hide(why))

    def _step(self) -> float:
        met = self._meet()
        met.record.save_if_due()
        if self._resumed.is_set():
            self._resumed.clear()
            self._pace.resume()
        if self._paused or not self.options.enabled:
            self._report.note(state="paused" if self._paused else "disabled")
            met.record.save()
            self._look(met)
            return IDLE_SECONDS
        if not (wait := self._wait(met)):
            plan = self._planned(met)
            plan.begin(met.target, self._now())
            if self._work is not None or self._choose(met, plan, rows=0):
                if self._work is not None:
                    plan.look_ahead(self._work, met.delivery.rows(self.options.batch_size))
                self._send(met, plan, most=0)
                self._look(met)
                return 0.0
            wait = self._wait(met, backlog=True)
            self._report.note(state="running")
        met.record.save()
        self._look(met)
        return min(wait or IDLE_SECONDS, IDLE_SECONDS)

    def _meet(self) -> Session:
        """Return the target and how far it has come; from the first time on, nothing that arrives is missed."""
        if self._met is None:
            name = self.options.name
            known = self._state.delivery_state(name)
            if known is None:
                known = DeliveryState(first_seen=self._now(), seen_cursor=NewestCursor(self._reader).cursor())
                if not known.first_seen:
                    raise StoreAway("the clock is not set yet, and the store is empty")
                self._state.save(name, known)
            target = self._open_target(self._meanwhile)
            delivery = Delivery(target, known, self.hide, self._newest)
            self._met = Session(target, known, delivery, Checkpoint(self._state, name, known, delivery))
        return self._met

    def _planned(self, met: Session) -> Scheduler:
        interval = interval_of(self.options, met.target.limits)
        if self._plan is None or self._plan.interval != interval:
            self._work = None
            prepare = getattr(met.target, "prepare", None)
            self._plan = Scheduler(
                self.options, self._state, met.known, self._reader, self._channels, interval, prepare
            )
        if self._resend.is_set():
            self._resend.clear()
            self._plan.letters = True
        return self._plan

    def _meanwhile(self) -> None:
        if self._plan is not None:
            self._plan.read_ahead()

    def _wait(self, met: Session, *, backlog: bool = False) -> float:
        """Return for how many seconds no request may begin; what is live keeps its share of the hour from the backlog."""
        limits, options = met.target.limits, self.options
        distance = max(limits.seconds, options.min_interval)
        per_hour = min((number for number in (limits.per_hour, options.max_requests_per_hour) if number), default=0)
        kept = 0
        if backlog and options.order == "live":
            kept = min(int(HOUR / max(distance, interval_of(options, limits), IDLE_SECONDS)), per_hour // 2)
        return self._pace.wait(time.monotonic(), distance, per_hour, kept)

    def _choose(self, met: Session, plan: Scheduler, rows: int) -> bool:
        """Take on the next piece of work, of about so many rows; return whether there is one."""
        now = self._now()
        rows = rows or met.delivery.rows(self.options.batch_size)
        self._work = plan.next(met.target.limits, rows, now, backlog=not self._wait(met, backlog=True))
        if self._work is not None:
            met.delivery.check(self._work, now)
        return self._work is not None

    def _send(self, met: Session, plan: Scheduler, most: int) -> str:
        """Send a batch of the work, of at most so many rows if that is not 0; return the target's words."""
        work = self._work
        if work is None:
            return ""
        sent = met.known.sent
        if not met.target.limits.overwrites:
            if met.known.in_flight:
                met.delivery.settle_doubt()
            if met.delivery.pass_over_had(work):
                plan.settle(work)
                met.record.change()
                met.record.save()
        said = ""
        if work.pieces:
            most = most or met.delivery.size(self.options.batch_size, self.options.batch_bytes, work)
            if not met.target.limits.overwrites:
                positions = [row.position for row in work.batch(most)]
                met.known.in_flight = InFlight(work.kind, min(positions), max(positions))
                self._state.save(self.options.name, met.known)
            self._pace.began(time.monotonic())
            answer = met.delivery.send(work, most)
            self._backoff = Backoff()
            said = self.hide(answer.said)
            if answer.pause:
                self._pace.pause(time.monotonic(), answer.pause)
        now = self._now()
        if sent != met.known.sent:
            met.known.last_success = round(now, 3)
            self._report.sent(now, met.known.sent - sent, said)
        self._settle(met, plan, work)
        return said

    def _settle(self, met: Session, plan: Scheduler, work: Work) -> None:
        """Keep what of the work is done by now."""
        met.delivery.finish(work)
        plan.settle(work)
        if not work.left():
            self._work = None
        met.record.change()
        met.record.save_if_due()
        self._looked = min(self._looked, time.monotonic() - LOOK_SECONDS / 2)

    def _held_up(self, error: TryLater) -> float:
        """Wait as long as the target asks, or longer each time; never for good."""
        now, said = self._now(), self.hide(str(error))
        wait = self._backoff.after(0.0)
        if error.after is not None:
            wait = max(wait, error.after)
        self._pace.pause(time.monotonic(), wait)
        self._report.failed(now, said, now + wait)
        if self._met and self._plan and self._work:
            self._plan.settle(self._work)
            self._met.record.change()
            try:
                self._met.record.save()
            except StateAway as away:
                self._report.failed(now, str(away), now + wait)
        return min(wait, IDLE_SECONDS)

    def _next_one(self, met: Session) -> TestResult:
        plan = self._planned(met)
        plan.begin(met.target, self._now())
        while self._work is not None or self._choose(met, plan, rows=1):
            before = met.known.sent
            letters = self._state.count(self.options.name)
            said = self._send(met, plan, most=1)
            if met.known.sent > before:
                return TestResult(ok=True, response=said)
            if self._state.count(self.options.name) > letters:
                return TestResult(ok=False, response=met.delivery.said)
        return TestResult(
            ok=False, response="nothing was sent: the backlog is empty, and this target must not get a row twice"
        )

    def _newest(self) -> Row | None:
        if self._met is None:
            return None
        return self._planned(self._met).newest()

    def _look(self, met: Session) -> None:
        """See how much is left, now and then."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        known = met.known
        facts: dict[str, Any] = {}
        if known.started and self._plan is not None:
            backlog, oldest = self._plan.backlog(self._now())
            facts = {"backlog": backlog, "oldest": oldest}
        self._report.note(
            **facts,
            sent=known.sent,
            skipped=known.skipped,
            dead_letters=self._state.count(self.options.name),
            dropped=known.dropped,
            last_success=known.last_success or None,
        )
