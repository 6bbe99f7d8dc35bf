"""The result of sending a batch."""

from collections.abc import Sequence
from typing import NamedTuple

from services.uploader.engine.batch import Batch
from services.uploader.engine.dead_letters import RejectedRow
from services.uploader.target import Row, TryLater


class BatchResult(NamedTuple):
    """The result of sending a batch: rows that were accepted or rejected for good, and the batch that is left.

    With `retry` nothing more can be sent now. `response` is the target's text, without secrets, and `pause` the seconds
    for which it wants no request. `skipped` rows were too old for the target. `unconfirmed`: the target refused a request
    without naming rows, and may have accepted some of them.
    """

    rest: Batch
    accepted: Sequence[Row] = ()
    rejected: tuple[RejectedRow, ...] = ()
    skipped: int = 0
    retry: TryLater | None = None
    response: str = ""
    pause: float = 0.0
    unconfirmed: bool = False

    def settles(self) -> bool:
        """Whether rows are settled, or the whole batch is: then there is something to save."""
        return bool(self.accepted or self.rejected or self.skipped) or not self.rest.size()

    def then(self, later: "BatchResult") -> "BatchResult":
        """Return this result followed by another one of the same batch."""
        return later._replace(
            accepted=[*self.accepted, *later.accepted],
            rejected=self.rejected + later.rejected,
            skipped=self.skipped + later.skipped,
        )
