"""Sends one request after another, and decides what a response means for the rows of the request."""

import re
from collections.abc import Callable, Sequence

from services.uploader.engine.batch import Batch
from services.uploader.engine.batch_size import BatchSize
from services.uploader.engine.dead_letters import RejectedRow
from services.uploader.engine.result import BatchResult
from services.uploader.engine.screening import only
from services.uploader.target import Refused, Row, Target, TryLater

PATIENCE = 6  # failures in a row without a reason before a row is suspected of being it
MANY = 16  # so many refused rows in a row look like a target that refuses everything
REFUSAL_SECONDS = 300.0
VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9.]+")  # what differs between two refusals for one reason


class Delivery:
    """Sends batches to one target; remembers only how the target has behaved."""

    def __init__(
        self, target: Target, redact: Callable[[str], str], size: BatchSize, newest_row: Callable[[], Row | None]
    ) -> None:
        """`newest_row` returns a row that a healthy target accepts."""
        self._target = target
        self._redact = redact
        self._size = size
        self._newest_row = newest_row
        self._refusals = 0  # refused rows since one was accepted
        self._reason = ""  # of the last refusals, without what varies
        self._alike = 0  # refusals for that reason since a row was accepted
        self._failures = 0  # of requests since one was accepted, without a reason
        self._suspicious = False  # whether a row may be the reason

    def send(self, batch: Batch, size: int) -> BatchResult:
        """Send the first rows of a batch, and return the result; rows left in the batch are sent next time."""
        rows = batch.first(size)
        result = self._sent(batch, rows) if rows else BatchResult(batch)
        if not result.retry and not result.rest.pieces:  # nothing is left that could tell more about those pending
            return _decided(result)
        return result

    def _sent(self, batch: Batch, rows: Sequence[Row]) -> BatchResult:
        try:
            answer = self._target.upload(rows)
        except TryLater as error:
            return self._failed(batch, rows, error)
        except Refused as error:
            return self._refused(batch, rows, error)
        result = self._accepted(batch.without_first(len(rows)), rows)
        return result._replace(response=self._redact(answer.response), pause=answer.pause)

    def _accepted(self, rest: Batch, rows: Sequence[Row]) -> BatchResult:
        self._refusals = self._alike = self._failures = 0
        if self._size.grow(at_once=self._suspicious):
            self._suspicious = False
        return _decided(BatchResult(rest._replace(is_proven=True), rows))

    def _failed(self, batch: Batch, rows: Sequence[Row], error: TryLater) -> BatchResult:
        result, left = BatchResult(batch), rows[error.done :]
        if error.done:
            result = self._accepted(batch.without_first(error.done), rows[: error.done])
        if error.smaller and len(left) > 1:
            self._size.reduce(len(left) // 2)
            return result
        if error.smaller:
            return result.then(self._refused(result.rest, left, Refused(str(error))))
        if error.after is None and self._accepts_another(left):
            return result.then(self._sent_again(result.rest))
        return result._replace(retry=error)

    def _sent_again(self, batch: Batch) -> BatchResult:
        """Send a suspected row once more, to a target that has just accepted another: it may have recovered only now."""
        suspected = batch.first(1)
        try:
            self._target.upload(suspected)
        except (TryLater, Refused) as error:
            return self._refused(batch, suspected, Refused(str(error)))
        return self._accepted(batch.without_first(1), suspected)

    def _accepts_another(self, rows: Sequence[Row]) -> bool:
        """Find out whether the target only stumbles over the next row: after some failures smaller batches, then another row."""
        self._failures += 1
        if self._failures < PATIENCE and not self._suspicious:
            return False
        self._suspicious = True
        if len(rows) > 1:
            self._size.reduce(len(rows) // 2)
            return False
        row = self._harmless()
        if row is None or row.time == rows[0].time:
            return False
        try:
            self._target.upload([row])
        except (TryLater, Refused):
            return False
        return True

    def _harmless(self) -> Row | None:
        """Return the newest row, if a target takes it twice and loses nothing by it."""
        limits = self._target.limits
        return self._newest_row() if limits.overwrites and not limits.ordered else None

    def _refused(self, batch: Batch, rows: Sequence[Row], error: Refused) -> BatchResult:
        if (
            error.later
        ):  # what is decided of the rows before it is not sent again, or those that were accepted come twice
            rows = rows[: error.later.done]
            result = self._refused(batch, rows, Refused(str(error), error.rows, error.values))
            return result if result.retry or error.later.smaller else result._replace(retry=error.later)
        response = self._redact(str(error))
        reasons = {0: response} if len(rows) == 1 else error.rows
        if not reasons:
            return BatchResult(batch.halved(len(rows)), response=response, unconfirmed=True)
        refused: list[RejectedRow] = []
        for index, reason in sorted(reasons.items()):
            row = rows[index]
            if (bad := error.values.get(index)) and batch.kind != "dead_letters":
                row = only(row, [at in bad for at in range(len(row.values))])
            refused.append(batch.rejected(row, self._redact(reason)))
        rest = batch.without_first(len(rows))._replace(pending=(*batch.pending, *refused))
        if good := [row for index, row in enumerate(rows) if index not in reasons]:
            return self._accepted(rest, good)._replace(response=response)
        self._refusals += len(reasons)
        result = BatchResult(rest, response=response)
        if self._target.limits.ordered and batch.kind != "dead_letters" and self._is_one_reason(refused):
            # a newer row, to find out whether it takes any, would cost those between
            return self._waiting(result, "it refused many rows in a row for one reason")
        # of a row some of whose values were refused, the others were accepted
        if batch.is_proven or error.values or batch.kind == "dead_letters":
            return _decided(result._replace(rest=rest._replace(is_proven=batch.is_proven or bool(error.values))))
        return self._doubted(result) if self._refusals >= MANY else result

    def _is_one_reason(self, refused: Sequence[RejectedRow]) -> bool:
        """Count refusals, and return whether so many in a row had one reason that a person has to look."""
        for one in refused:
            reason = VARYING.sub("", one.reason)
            self._alike = self._alike + 1 if reason == self._reason else 1
            self._reason = reason
        return self._alike >= MANY

    def _doubted(self, result: BatchResult) -> BatchResult:
        """Find out whether these rows are bad, or the target accepts none at all: then they wait, and none is rejected."""
        if row := self._harmless():
            try:
                self._target.upload([row])
            except Refused:
                return self._waiting(result, "it refuses everything, even the newest row")
            except TryLater as error:
                return result._replace(retry=error)
        return _decided(result._replace(rest=result.rest._replace(is_proven=True)))

    def _waiting(self, result: BatchResult, why: str) -> BatchResult:
        """Return a result whose refused rows wait to be sent again."""
        self._refusals = self._alike = MANY - 1
        retry = TryLater(f"{why}: {result.response}", after=REFUSAL_SECONDS)
        return result._replace(rest=result.rest.with_pending_first(), retry=retry)


def _decided(result: BatchResult) -> BatchResult:
    """Return a result with the refused rows that were pending among the rejected ones."""
    rest = result.rest
    return result._replace(rest=rest._replace(pending=()), rejected=result.rejected + rest.pending)
