"""One request after another: what a target's answer means for the rows that were sent."""

from collections.abc import Callable
from math import isfinite
from typing import Any

from services.uploader.engine.batch import PendingRejection, Work
from services.uploader.engine.dead_letters import Rejected
from services.uploader.engine.state import DeliveryState, InFlight
from services.uploader.target import Answer, Limits, MappedChannel, Refused, Row, Target, TryLater

PATIENCE = 6  # failures in a row without a reason before a row is suspected of being it
MANY = 16  # so many refused rows in a row look like a target that refuses everything
MOST_ROWS = 5_000
REFUSAL_SECONDS = 300.0
GROWS_AFTER = 20  # successes with smaller batches
VALUE_BYTES = 40  # a guess: a value, its name and its place in a row


class Delivery:
    """Sends what there is to send to one target, and keeps account of what became of it.

    `rejected` and `solved` are for the next `State.save`: rows that were refused, and numbers of
    dead letters that were taken.
    """

    def __init__(
        self, target: Target, known: DeliveryState, hide: Callable[[str], str], probe: Callable[[], Row | None]
    ) -> None:
        self._target = target
        self._known = known
        self._hide = hide
        self._probe = probe
        self._most = 0  # rows; 0: as many as the options and the target allow
        self._successes = 0
        self._streak = 0  # refused rows since one was taken
        self._failures = 0  # of requests since one was taken, for no reason that the target could tell
        self._suspicious = False  # whether a row may be why
        # what was sent of which nobody knows, and the newest row there was then
        self._had: tuple[InFlight, float] | None = None
        self.rejected: list[Rejected] = []
        self.solved: list[int] = []
        self.said = ""

    def rows(self, wanted: int) -> int:
        """Return how many rows a parcel has at most, if the options want so many; 0 is all that the target takes."""
        return min((size for size in (wanted, self._target.limits.rows) if size), default=MOST_ROWS)

    def size(self, wanted: int, most_bytes: int, work: Work) -> int:
        """Return how many rows the next batch has at most."""
        limits = self._target.limits
        sizes = [self.rows(wanted)] + [self._most] * bool(self._most)
        if (room := min((size for size in (most_bytes, limits.bytes) if size), default=0)) and work.pieces:
            row = work.pieces[0][0]
            sizes.append(max(1, room // (VALUE_BYTES * (len(row.values) + 1))))
        return min(sizes)

    def has_to_tell(self) -> bool:
        """Whether there are rows that were refused, or dead letters that were taken, to be saved."""
        return bool(self.rejected or self.solved)

    def may_repeat(self) -> bool:
        """Whether a row that is sent twice is the same as once."""
        return self._target.limits.overwrites

    def check(self, work: Work, now: float) -> None:
        """Settle what cannot be sent: values that are no numbers, what is too old, and what a target that needs order has missed."""
        if not work.pieces:
            return
        limits = self._target.limits
        if not limits.age and not limits.ordered and work.is_finite:
            return
        settled = [self._settle(work, place, row, limits, now) for place, row in enumerate(work.pieces[0])]
        if any(settled):
            work.filter(settled)

    def send(self, work: Work, most: int) -> Answer:
        """Send a batch and return what the target said; raises TryLater when nothing more can be done now."""
        batch = work.batch(most)
        try:
            answer = self._target.upload(batch)
        except TryLater as error:
            self._taken(work, error.done)
            left = len(batch) - error.done
            if error.smaller:
                self._shrink(work, left, error)
            elif error.after is not None or not self._takes_another(work, left):
                raise
            else:
                self._try_again(work)
        except Refused as error:
            self._refused(work, batch, error)
        else:
            self._known.in_flight = None
            self._taken(work, len(batch))
            return answer
        return Answer(self.said)

    def finish(self, work: Work) -> None:
        """Set aside what was held, when there is nothing else left to find out more with."""
        if not work.pieces:
            self._reject_held(work)

    def settle_doubt(self) -> None:
        """Ask the target for its newest row: what it must have of a request of unknown end is not sent again; raises TryLater."""
        newest = self._target.newest()
        doubt, self._known.in_flight = self._known.in_flight, None
        self._had = (doubt, newest) if doubt and newest is not None and newest > self._known.newest else None

    def pass_over_had(self, work: Work) -> bool:
        """Count those rows as taken that the target must have; return whether there were any."""
        if self._had is None or work.kind != self._had[0].kind:
            return False
        doubt, newest = self._had
        count = work.bring_forward(lambda row: doubt.first <= row.position <= doubt.last and row.time <= newest)
        self._taken(work, count)
        return bool(count)

    def _taken(self, work: Work, count: int) -> None:
        if not count:
            return
        taken = work.take(count)
        known = self._known
        known.sent += count
        known.newest = max(known.newest, taken[-1].time)
        if self._target.limits.ordered:
            for row in taken:
                for outlet in row.outlets:
                    device = _device(outlet)
                    known.newest_by_device[device] = max(row.time, known.newest_by_device.get(device, 0.0))
        if work.kind == "dead_letters":
            self.solved += [int(row.position) for row in taken]
        work.proved = True
        self._streak = 0
        self._reject_held(work)
        self._successes += 1
        self._failures = 0
        if self._most and (self._suspicious or self._successes >= GROWS_AFTER):
            self._most, self._successes = self._most * 2, 0
            if self._most >= (self._target.limits.rows or MOST_ROWS):
                self._most, self._suspicious = 0, False

    def _try_again(self, work: Work) -> None:
        """Send a suspected row once more, to a target that has just taken another: it may have come back only now."""
        suspected = work.batch(1)
        try:
            self._target.upload(suspected)
        except (TryLater, Refused) as error:
            self._refused(work, suspected, Refused(str(error)))
        else:
            self._taken(work, 1)

    def _takes_another(self, work: Work, count: int) -> bool:
        """Find out whether the target only stumbles over the next row: after some failures less and less is sent, then another row."""
        self._failures += 1
        if self._failures < PATIENCE and not self._suspicious:
            return False
        self._suspicious = True
        if count > 1:
            self._most = max(1, count // 2)
            return False
        row = self._harmless()
        if row is None or row.time == work.batch(1)[0].time:
            return False
        try:
            self._target.upload([row])
        except (TryLater, Refused):
            return False
        return True

    def _harmless(self) -> Row | None:
        """Return the newest row, if a target takes it twice and loses nothing by it."""
        limits = self._target.limits
        return self._probe() if limits.overwrites and not limits.ordered else None

    def _shrink(self, work: Work, count: int, error: TryLater) -> None:
        if count <= 1:
            self._refused(work, work.batch(1), Refused(str(error)))
        else:
            self._most, self._successes = max(1, count // 2), 0

    def _refused(self, work: Work, batch: list[Row], error: Refused) -> None:
        self._known.in_flight = None
        said = self._hide(str(error))
        self.said = said
        rows = dict.fromkeys([0], said) if len(batch) == 1 else error.rows
        if not rows:
            work.halve(len(batch))
            return
        if len(rows) < len(batch):
            work.proved, self._streak = True, 0
        taken = work.take(len(batch))
        good = [row for place, row in enumerate(taken) if place not in rows]
        self._streak += len(rows)
        for place, why in sorted(rows.items()):
            row = taken[place]
            if (bad := error.values.get(place)) and work.kind != "dead_letters":
                row = _only(row, [at in bad for at in range(len(row.values))])
            work.held.append(PendingRejection(row, self._hide(why)))
        if error.values:  # the other values of these rows were taken
            work.proved = True
        if good:
            work.pieces.appendleft(good)
            self._taken(work, len(good))
        elif work.proved or work.kind == "dead_letters":
            self._reject_held(work)
        elif self._streak >= MANY:
            self._doubt_everything(work, said)

    def _doubt_everything(self, work: Work, said: str) -> None:
        """Find out whether these rows are bad, or the target takes none at all: then they wait, and nothing is set aside."""
        row = self._harmless()
        if row is not None:
            try:
                self._target.upload([row])
            except Refused:
                work.put_back()
                self._streak = MANY - 1
                raise TryLater(f"it refuses everything, even the newest row: {said}", after=REFUSAL_SECONDS) from None
        work.proved = True
        self._reject_held(work)

    def _reject_held(self, work: Work) -> None:
        for row, why in work.held:
            self.rejected.append(Rejected(row, why, int(row.position) if work.kind == "dead_letters" else 0))
        work.held = []

    def _settle(self, work: Work, place: int, row: Row, limits: Limits, now: float) -> bool:
        """Return whether a row is settled without being sent; a row some of whose values are no numbers loses them."""
        if limits.age and row.time < now - limits.age:
            self._known.skipped += 1
            if work.kind == "dead_letters":
                self.rejected.append(Rejected(row, "too old for the target by now", int(row.position)))
            return True
        if limits.ordered and work.kind == "range" and row.time < self._newest(row):
            self.rejected.append(Rejected(row, "it came after newer ones, and the target does not take it any more"))
            return True
        if not _is_finite(row):
            if work.kind == "dead_letters":
                self.rejected.append(Rejected(row, "not a finite number", int(row.position)))
                return True
            bad = [not _is_number(value) for value in row.values]
            self.rejected.append(Rejected(_only(row, bad), "not a finite number"))
            rest = _only(row, [not is_bad for is_bad in bad])
            work.pieces[0][place] = rest
            return not rest.values
        return False

    def _newest(self, row: Row) -> float:
        return max(self._known.newest_by_device.get(_device(outlet), 0.0) for outlet in row.outlets)


def _device(outlet: MappedChannel) -> str:
    return f"{outlet.node}/{outlet.device}"


def _is_finite(row: Row) -> bool:
    values: Any = row.values
    try:
        return isfinite(sum(values)) or all(map(_is_number, values))
    except TypeError:
        return all(map(_is_number, row.values))


def _is_number(value: object) -> bool:
    return not isinstance(value, float) or isfinite(value)


def _only(row: Row, chosen: list[bool]) -> Row:
    kept = [place for place, is_chosen in enumerate(chosen) if is_chosen]
    outlets = tuple(row.outlets[place] for place in kept)
    return Row(row.time, outlets, tuple(row.values[place] for place in kept), row.position)
