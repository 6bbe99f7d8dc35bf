"""Which day it is, for decisions that cannot be taken back: a clock that is far ahead must not delete the history.

A GPS receiver whose weeks began again, a real-time clock with an empty cell, `clock = "trust"`: all of them can be
decades ahead, and nothing in the readings that they stamp tells. What cannot be wrong is how many days were lived through.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

JUMP_DAYS = 40  # that the clock may go ahead at once: a holiday with the power off
PROOF = 10  # a longer jump is believed after a tenth of it was lived through
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CalendarState(msgspec.Struct, frozen=True):
    """The day that is believed, and a jump that is not: the day last seen, days lived since. Days since 1970-01-01 UTC."""

    day: int
    seen: int = 0
    lived: int = 0


class RetentionCalendar:
    """Follows the clock, but a jump ahead only when enough days were lived through."""

    def __init__(self, text: str | None, keep: Callable[[str], None], first: float) -> None:
        """Continue from what `keep` was last given to make durable; without that, `first` is believed (s UTC)."""
        self._keep = keep
        self.unbelieved = ""  # why the clock is not believed, a sentence
        if text is None:
            self._remember(CalendarState(int(first // 86_400)))
        else:
            self._state = msgspec.json.decode(text, type=CalendarState)

    def today(self, now: float, *, clock_is_right: bool) -> int:
        """Return the UTC day that is believed at a time of the clock in seconds UTC, never later than the clock's.

        Raises what `keep` raises.
        """
        clock, state = int(now // 86_400), self._state
        if not clock_is_right:
            return min(clock, state.day)
        if clock <= state.day + JUMP_DAYS:
            new = CalendarState(max(clock, state.day))
        elif not state.lived or not state.seen <= clock <= state.seen + JUMP_DAYS:
            new = CalendarState(state.day, clock, 1)
        elif clock > state.seen:
            new = CalendarState(state.day + 1, clock, state.lived + 1)
            if new.lived * PROOF >= clock - new.day:
                new = CalendarState(clock)
        else:
            new = state
        if new != state:
            self._remember(new)
        self.unbelieved = (
            ""
            if not new.lived
            else (
                f"the clock went from {_date(new.day)} to {_date(clock)} at once: nothing is dropped because of it before "
                f"{-(-(clock - new.day) // PROOF) - new.lived} more days have passed with it"
            )
        )
        return min(clock, new.day)

    def _remember(self, state: CalendarState) -> None:
        self._keep(msgspec.json.encode(state).decode())
        self._state = state


def _date(day: int) -> str:
    return (EPOCH + timedelta(days=day)).date().isoformat()
