"""The pipeline of one target, from the store to its dead letters, a step at a time."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from heliograph.backoff import Backoff
from heliograph.errors import StoreAway, StoreDamaged
from heliograph.redaction import redactor
from heliograph.store.interface import Reader
from services.uploader.engine.outage import Outage
from services.uploader.engine.rate_limit import bounded
from services.uploader.engine.result import BatchResult
from services.uploader.engine.session import TargetSession, open_session
from services.uploader.engine.source import ChannelMap
from services.uploader.engine.state import StateAway, StateFile
from services.uploader.engine.status import TargetStatus, TestResult
from services.uploader.options import TargetOptions, kind_of, secrets
from services.uploader.target import Checking, Quoting, Refused, Target, TryLater

IDLE_SECONDS = 10.0  # without news from storage
AWAY_SECONDS = 5.0  # until store, or the disk, is tried again
RAISED_SECONDS = 60.0  # until a target that raised what no target may raise is tried again
LOOK_SECONDS = 5.0  # between two looks at how much is left


class Pipeline:
    """Sends one target what it does not have yet; `pause`, `resend` and `facts` are for any thread."""

    def __init__(
        self,
        options: TargetOptions,
        reader: Reader,
        channels: ChannelMap,
        file: StateFile,
        open_target: Callable[[Callable[[], None]], Target],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`open_target` makes the target, which may call back while it waits; `now` is in s UTC, 0 while it is unknown."""
        self.options = options
        self._redact = redactor(secrets(options))
        opened = partial(open_target, self._prefetch)
        self._open_session = partial(open_session, options, reader, channels, file, opened, self._redact, now)
        self._now = now
        self._session: TargetSession | None = None
        self._status = TargetStatus(options.name, kind_of(options))
        self._backoff = Backoff()
        self._outage = Outage(options.name, self._redact)
        self._paused = False
        self._resumed = threading.Event()
        self._resend = threading.Event()
        self._looked = float("-inf")

    def pause(self, *, paused: bool) -> None:
        """Send nothing, or continue at once without any wait."""
        self._paused = paused
        if not paused:
            self._resumed.set()

    def resend(self) -> None:
        """Send those dead letters again that are marked."""
        self._resend.set()

    def facts(self) -> dict[str, Any]:
        """Return the status of the target."""
        return self._status.facts(self._now())

    def problem(self) -> str:
        """Return why the target has been sent nothing for a while, a sentence; empty if it is, or has to wait."""
        return "" if self._paused or not self.options.enabled else self._outage.problem()

    def close(self) -> None:
        """Save what is done, and close the target's connections."""
        if self._session is not None:
            with suppress(StateAway):
                self._session.checkpoint.save()
            self._session.target.close()

    def abandon(self) -> None:
        """Forget all that is not on the disk: the next step begins as after a crash."""
        session, self._session = self._session, None
        if session is not None:
            session.target.close()

    def raised(self, error: Exception) -> float:
        """Report an error that no target may raise; return for how many seconds to wait."""
        target = self._session.target if self._session is not None else None
        answer = target.last_answer if isinstance(target, Quoting) else ""
        self._outage.raised(error, answer)
        self._backoff.next()
        now, words = (
            self._now(),
            f"{type(error).__name__}: {error}" + (f"; its last answer: {answer}" if answer else ""),
        )
        self._status.failed(now, self._redact(f"an unexpected error, see the log: {words}"), now + RAISED_SECONDS)
        return RAISED_SECONDS

    def step(self) -> float:
        """Take the next step; return for how many seconds there is nothing to do unless something happens."""
        self._outage.trying()
        try:
            return self._step()
        except TryLater as error:
            return self._wait(error)
        except (StoreAway, StateAway, StoreDamaged) as error:
            now = self._now()
            self._outage.failed(str(error), is_problem=isinstance(error, StateAway))  # storage reports the others
            self._status.failed(now, str(error), now + AWAY_SECONDS)
            return AWAY_SECONDS

    def test(self) -> TestResult:
        """Send one reading now: the newest, or the next one to a target that would lose what is older than it."""
        try:
            session = self._opened()
            target = session.target
            checked = self._redact(target.check()) if isinstance(target, Checking) else ""
            needs_next = target.limits.ordered or not target.limits.overwrites
            result = self._test_with_next_row(session) if needs_next else self._test_with_newest_row(session)
            return result._replace(response="; ".join(filter(None, [checked, result.response])))
        except (TryLater, Refused, StoreAway, StateAway, StoreDamaged) as error:
            reason = next(iter(error.rows.values()), str(error)) if isinstance(error, Refused) else str(error)
            return TestResult(ok=False, response=self._redact(reason))

    def _step(self) -> float:
        session = self._opened()
        session.checkpoint.save_if_due(at_once=not session.target.limits.overwrites)
        if self._resumed.is_set():
            self._resumed.clear()
            session.rate_limit.resume()
        if self._resend.is_set():
            self._resend.clear()
            session.retry_dead_letters()
        if self._paused or not self.options.enabled:
            self._status.note(state="paused" if self._paused else "disabled")
            session.checkpoint.save()
            self._look(session)
            return IDLE_SECONDS
        wait = session.wait()
        if not wait:
            if session.next_batch(self._now()):
                result = self._send(session)
                self._look(session)
                return self._wait(result.retry) if result and result.retry else 0.0
            wait = session.wait(backlog=True)
            self._status.note(state="running")
            self._outage.over()
        session.checkpoint.save()
        self._look(session)
        return min(wait or IDLE_SECONDS, IDLE_SECONDS)

    def _opened(self) -> TargetSession:
        """Return the session; from the first time on, nothing that arrives is missed."""
        if self._session is None:
            self._session = self._open_session()
        return self._session

    def _prefetch(self) -> None:
        if self._session is not None:
            self._session.prefetch()

    def _send(self, session: TargetSession, *, rows: int = 0) -> BatchResult | None:
        """Send a request, and return its result."""
        self._looked = min(self._looked, time.monotonic() - LOOK_SECONDS / 2)
        result = session.send(self._now, rows=rows)
        if result is None:
            return None
        if result.accepted:
            self._status.sent(self._now(), len(result.accepted), result.response)
            self._outage.over()
        if result.rejected:
            self._status.note(last_error=self._redact(result.rejected[-1].reason), error_time=round(self._now(), 3))
        if result.pause:
            session.rate_limit.pause(time.monotonic(), result.pause)
        if not result.retry:
            self._backoff.reset()
        return result

    def _wait(self, error: TryLater) -> float:
        """Let no request begin for as long as the target asks, or longer each time; never for good."""
        now = self._now()
        wait = max(self._backoff.next(), bounded(error.after or 0.0))
        is_pause = error.after is not None and not self._outage.lasts  # a server that asks for one works
        self._outage.failed(str(error), is_problem=not is_pause)
        self._status.failed(now, self._redact(str(error)), now + wait)
        if self._session is not None:
            self._session.rate_limit.pause(time.monotonic(), wait)
        return min(wait, IDLE_SECONDS)

    def _test_with_newest_row(self, session: TargetSession) -> TestResult:
        row = session.newest_row()
        if row is None:
            return TestResult(ok=False, response="nothing was sent: no selected channel has a value yet")
        session.rate_limit.began(time.monotonic())
        return TestResult(ok=True, response=self._redact(session.target.upload([row]).response))

    def _test_with_next_row(self, session: TargetSession) -> TestResult:
        while session.next_batch(self._now(), rows=1):
            result = self._send(session, rows=1)
            if result and result.retry:
                raise result.retry
            if result and (result.accepted or result.rejected):
                return TestResult(ok=bool(result.accepted), response=result.response)
        reason = "nothing was sent now: the backlog is empty, and this target must not get a row twice"
        last, error = session.state.last_success, self._status.facts(self._now()).get("error_time")
        if last and last >= (error or 0.0):
            return TestResult(ok=True, response=f"{reason}; it accepted the last one at {_utc(last)}")
        return TestResult(ok=False, response=reason)

    def _look(self, session: TargetSession) -> None:
        """Update the backlog in the status, now and then."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        state = session.state
        if state.started:
            backlog, oldest = session.backlog(self._now())
            self._status.note(backlog=backlog, oldest=oldest)
        self._status.note(
            sent=state.sent,
            skipped=state.skipped,
            passed_over=state.passed_over,
            dead_letters=session.dead_letters(),
            dropped=state.dropped,
            last_success=state.last_success or None,
        )


def _utc(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"
