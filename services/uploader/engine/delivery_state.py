"""The progress of one target, as it is saved on disk."""

from copy import deepcopy

from msgspec import Struct, field

from services.uploader.engine.in_flight import InFlight
from services.uploader.engine.progress import TargetProgress
from services.uploader.engine.result import BatchResult
from services.uploader.engine.screening import devices_of

AHEAD_SECONDS = 86_400.0  # by which a clock that jumps is one that was, or is now, wrong


class DeliveryState(Struct):
    """What must survive a restart; times are seconds UTC."""

    started: bool = False  # whether it is decided where it starts
    first_seen: float = 0.0  # when the target was first seen
    interval: float = 0.0  # what a position means: 0 is the cursor of an arrival, else the end of an interval
    timezone: str = "UTC"  # of the intervals, if it makes a difference
    start_time: float = 0.0  # readings from before are not wanted
    newer_than: dict[str, float] = field(default_factory=dict)  # by device: what is older the target has, or newer ones
    passed_over: int = 0  # rows that were left out for that
    progress: TargetProgress = field(default_factory=TargetProgress)
    late_intervals: list[float] = field(default_factory=list)  # their ends: they are sent again
    seen_cursor: int = 0  # the cursor up to which arrivals were checked for being late
    newest: float = 0.0  # time of the newest row that was accepted
    newest_by_device: dict[str, float] = field(default_factory=dict)  # the same by device, for targets that need order
    clock: float = 0.0  # what the clock showed last, while positions are times
    before_jump: TargetProgress | None = None  # what was done when the clock last went ahead by more than a day
    in_flight: InFlight | None = None
    sent: int = 0  # rows
    skipped: int = 0  # rows that were too old
    dropped: int = 0  # dead letters that were too many
    renames: int = 0  # of the store, that this state has followed
    last_success: float = 0.0

    def note(self, result: BatchResult, *, ordered: bool) -> None:
        """Take account of a result; `ordered` is whether the target needs rows in order."""
        self.skipped += result.skipped
        if not result.accepted:
            return
        self.sent += len(result.accepted)
        self.newest = max(self.newest, result.accepted[-1].time)
        if ordered:
            for row in result.accepted:
                for device in devices_of(row):
                    self.newest_by_device[device] = max(row.time, self.newest_by_device.get(device, 0.0))

    def follow_clock(self, now: float, floor: float) -> bool:
        """Return to what was done before the clock went ahead, or to `floor`, if it is right again; return whether it did.

        Otherwise no interval would be sent until that time comes. Positions are times here, all in s UTC.
        """
        went_back = self.progress.tip() > max(now, self.start_time) + AHEAD_SECONDS
        if went_back:
            before, self.before_jump = self.before_jump, None
            self.progress = before if before is not None and before.tip() <= now else TargetProgress(floor)
            self.late_intervals = [end for end in self.late_intervals if end <= now]
            self.newest = min(self.newest, self.progress.tip())
        elif now > self.clock + AHEAD_SECONDS:
            self.before_jump = deepcopy(self.progress)
        self.clock = now
        return went_back
