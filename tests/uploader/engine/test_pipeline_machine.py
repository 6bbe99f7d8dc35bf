import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from services.uploader.target import Answer, Limits, Refused, Row, TryLater
from tests.uploader.engine.fakes import NOON, Engine, FakeTarget, MemoryStore, is_idle


class Crash(Exception):
    pass


class MoodyTarget(FakeTarget):
    """Refuses poisoned rows for good, and does before that what its moods say."""

    def __init__(self, limits: Limits, *, names_rows: bool) -> None:
        super().__init__(limits)
        self.names_rows = names_rows
        self.moods: list[str] = []
        self.stored: dict[float, int] = {}

    def upload(self, rows: Sequence[Row]) -> Answer:
        mood = self.moods.pop(0) if self.moods else ""
        bad = {index: "poison" for index, row in enumerate(rows) if row.values[0] == -1.0}
        good = [row for index, row in enumerate(rows) if index not in bad]
        if mood == "later":
            raise TryLater("not now")
        if mood == "smaller" and len(rows) > 1:
            raise TryLater("too large", smaller=True)
        if mood == "crash before":
            raise Crash
        if mood == "some" and not bad:
            self._take(rows[: len(rows) // 2])
            raise TryLater("some", done=len(rows) // 2)
        if mood == "lost answer" and not bad:
            self._take(rows)
            raise TryLater("connection reset")
        if bad and not self.names_rows:
            if mood == "stumbles":
                self._take(rows[: min(bad)])
            raise Refused("bad")
        self._take(good)
        if mood == "crash after":
            raise Crash
        if bad:
            raise Refused("partial", bad)
        return Answer()

    def newest(self) -> float | None:
        return max(self.stored, default=None) if not self.limits.overwrites else None

    def _take(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.stored[row.time] = self.stored.get(row.time, 0) + 1


MOODS = st.lists(
    st.sampled_from(["", "", "later", "smaller", "some", "lost answer", "stumbles", "crash before", "crash after"]),
    max_size=6,
)


class EveryRowOnce(RuleBasedStateMachine):
    @initialize(
        rows=st.integers(1, 8), order=st.sampled_from(["oldest", "live"]), overwrites=st.booleans(), names=st.booleans()
    )
    def begin(self, rows: int, order: str, overwrites: bool, names: bool) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store = MemoryStore()
        order = order if overwrites else "oldest"
        self.overwrites = overwrites
        self.target = MoodyTarget(Limits(rows=rows, overwrites=overwrites), names_rows=names)
        self.engine = Engine(self.folder, self.store, self.target, order=order)
        self.moments = 0

    @rule(poisoned=st.lists(st.booleans(), min_size=1, max_size=12))
    def arrive(self, poisoned: list[bool]) -> None:
        for is_bad in poisoned:
            self.moments += 1
            self.store.arrive(NOON - 1000 + self.moments, {"power": -1.0 if is_bad else float(self.moments)})

    @rule(back=st.integers(1, 900))
    def arrive_late(self, back: int) -> None:
        moment = NOON - 3000 - back
        if moment not in {arrival.time for arrival in self.store.arrived}:
            self.store.arrive(moment, {"power": 7.0})

    @rule(moods=MOODS, steps=st.integers(1, 8))
    def work(self, moods: list[str], steps: int) -> None:
        self.target.moods += moods
        for _ in range(steps):
            self._step()

    @rule()
    def crash(self) -> None:
        self.engine.restart()

    def _step(self) -> float:
        try:
            wait = self.engine.pipeline.step()
        except Crash:
            self.engine.restart()
            return 0.0
        self.engine.pipeline.pause(paused=False)
        return wait

    def _late(self) -> set[float]:
        """The times that were older than another when they came: of these a target cannot say whether it has them."""
        late, newest = set(), 0.0
        for arrival in self.store.arrived:
            if arrival.time < newest:
                late.add(arrival.time)
            newest = max(newest, arrival.time)
        return late

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        try:
            self.target.moods.clear()
            for _ in range(2000):
                if self._step() > 0 and is_idle(self.engine.pipeline):
                    break
            good = {one.time for one in self.store.arrived if one.values["power"] != -1.0}
            bad = {one.time for one in self.store.arrived if one.values["power"] == -1.0}
            assert set(self.target.stored) == good
            lost = set(self.engine.lost_times())
            if self.overwrites:
                assert lost == bad
            else:  # of a request without an answer such a target says only which row is its newest
                assert lost <= bad
                assert {moment for moment, times in self.target.stored.items() if times > 1} <= self._late()
        finally:
            self.engine.close()
            shutil.rmtree(self.folder)


def test_rows_before_the_one_a_target_stumbles_over_are_not_sent_again() -> None:
    """Case O20: it refused the request as a whole, without naming a row, and does not overwrite."""
    machine = EveryRowOnce()
    machine.begin(rows=2, order="oldest", overwrites=False, names=False)
    machine.work(["stumbles"], 1)
    machine.arrive([False, True])
    machine.work([], 1)
    machine.teardown()


EveryRowOnce.TestCase.settings = settings(max_examples=60, stateful_step_count=20)
test_every_row_is_taken_once_or_set_aside_whatever_happens = EveryRowOnce.TestCase
