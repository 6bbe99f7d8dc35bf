"""The requests of an RTU line that have not been answered: their responses may still come. Pure.

A response of Modbus RTU does not say which request it answers. So a request is sent only when no response that is still
outstanding can be taken for its own. That does not depend on the order in which responses come.
"""

import enum

from services.modbus_poller.frames import Request, Response

LATEST_SECONDS = 10.0  # no device answers later
MOST_ALIKE = 3  # unanswered requests for the same registers, before the next is held back


class Reuse(enum.Enum):
    """Which outstanding responses may be taken for the one to a request."""

    NONE = "none"  # a write's read-back: an older response holds what was there before
    SAME = "same"  # one to a request for the same registers: its values belong to the same channels
    ANY = "any"  # any: a probe asks only whether the unit is there


class _Outstanding:
    def __init__(self, request: Request, until: float) -> None:
        self.request = request
        self.until = until


class Outstanding:
    """The unanswered requests of a line, each for `latest` seconds from when its unit can have begun to answer it."""

    def __init__(self, latest: float = LATEST_SECONDS) -> None:
        self._latest = latest
        self._waiting: list[_Outstanding] = []

    def sent(self, request: Request, now: float) -> None:
        """Note a request that was sent. A unit serves one request at a time, so this one may wait for those before."""
        before = [one.until for one in self._of(request.unit_id, now)]
        self._waiting.append(_Outstanding(request, max([now, *before]) + self._latest))

    def arrived(self, response: Response, now: float) -> bool:
        """Note a response; return whether it can be one to an outstanding request, the oldest of which it answers.

        An exception does not say which request of its function it refuses: it ends the only one, else none.
        """
        of_unit = self._of(response.unit_id, now)
        answered = [one for one in of_unit if one.request.answered_by(response)]
        refused = [one for one in of_unit if one.request.refused_by(response)]
        done = answered[0] if answered else refused[0] if len(refused) == 1 else None
        if done is not None:
            self._waiting.remove(done)
            for position, one in enumerate(self._of(response.unit_id, now), 1):
                one.until = min(one.until, now + position * self._latest)
        return bool(answered or refused)

    def settled(self, request: Request) -> None:
        """Note that no response to the newest of these requests will come any more."""
        for one in reversed(self._waiting):
            if one.request == request:
                self._waiting.remove(one)
                return

    def held_back(self, request: Request, now: float, reuse: Reuse) -> float:
        """Return for how many seconds a request must not be sent, because a response could be taken for its own."""
        if reuse is Reuse.ANY:
            return 0.0
        alike = [one for one in self._of(request.unit_id, now) if one.request.confusable(request)]
        if reuse is Reuse.SAME and len(alike) < MOST_ALIKE and all(one.request == request for one in alike):
            return 0.0
        return max((one.until - now for one in alike), default=0.0)

    def doubtful(self, request: Request, now: float) -> bool:
        """Return whether an exception for a request that was sent can be one for another."""
        return sum(one.request.function == request.function for one in self._of(request.unit_id, now)) > 1

    def unit_ids(self, now: float) -> set[int]:
        """Return the units of which responses may come."""
        self._forget(now)
        return {one.request.unit_id for one in self._waiting}

    def _of(self, unit_id: int, now: float) -> list[_Outstanding]:
        self._forget(now)
        return [one for one in self._waiting if one.request.unit_id == unit_id]

    def _forget(self, now: float) -> None:
        self._waiting = [one for one in self._waiting if one.until > now]
