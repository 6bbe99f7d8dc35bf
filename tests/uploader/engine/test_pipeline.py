import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from services.uploader.target import Answer, Limits, Refused, Row, TryLater
from tests.uploader.engine.fakes import NOON, Engine, FakeTarget, MemoryStore

Begin = Callable[..., Engine]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def begin(tmp_path: Path, store: MemoryStore) -> Iterator[Begin]:
    engines: list[Engine] = []

    def make(target: FakeTarget | None = None, **options: object) -> Engine:
        engine = Engine(tmp_path, store, target or FakeTarget(), **options)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


def fill(store: MemoryStore, count: int, first: float = NOON) -> list[float]:
    times = [first + index for index in range(count)]
    for moment in times:
        store.arrive(moment, {"power": moment % 100})
    return times


def crash(engine: Engine) -> None:
    """End as a process does in the middle of a request whose rows the target has got."""
    target = engine.target

    def end(rows: Sequence[Row]) -> Exception:
        target.taken += rows
        target.known_newest = rows[-1].time
        return RuntimeError("the process ends here")

    target.script = [end]
    with pytest.raises(RuntimeError):
        engine.run()


def refuses(*bad: float) -> Callable[[Sequence[Row]], Exception | None]:
    return lambda rows: Refused("bad", None) if {row.time for row in rows} & set(bad) else None


def test_a_backlog_arrives_once_in_order_and_in_batches_of_the_size_the_target_takes(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 35)
    engine = begin()
    engine.run()
    assert engine.target.times() == times
    assert [len(request) for request in engine.target.requests] == [10, 10, 10, 5]


def test_options_that_this_machine_cannot_carry_out_are_an_error_in_the_status_until_it_can(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 3)
    target = FakeTarget()
    target.unusable = "encryption: the package secret-sauce is not installed"
    engine = begin(target, token="secret-sauce")
    for _ in range(2):
        assert engine.pipeline.step() > 0
        assert not engine.pipeline.test().ok
    assert engine.pipeline.facts()["last_error"] == "encryption: the package … is not installed"
    target.unusable = ""
    engine.run()
    assert target.times() == times


def test_a_target_that_begins_now_gets_only_what_arrives_from_then_on(begin: Begin, store: MemoryStore) -> None:
    fill(store, 5)
    engine = begin(start="now")
    engine.run()
    late = fill(store, 2, NOON - 1000)
    engine.run()
    assert engine.target.times() == late


def test_a_disabled_target_holds_what_arrives_from_the_first_time_it_is_seen(begin: Begin, store: MemoryStore) -> None:
    engine = begin(start="now", enabled=False)
    engine.run()
    times = fill(store, 3)
    engine.run()
    assert engine.target.requests == []
    engine.restart(start="now", enabled=True)
    engine.run()
    assert engine.target.times() == times


def test_what_was_measured_before_the_date_is_passed_over(begin: Begin, store: MemoryStore) -> None:
    fill(store, 3, NOON - 86_400 * 30)
    times = fill(store, 3)
    engine = begin(start="2025-11-20")
    engine.run()
    assert engine.target.times() == times


def test_a_target_that_has_data_and_is_not_known_yet_is_brought_what_is_newer(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 10)
    target = FakeTarget(Limits(rows=10, overwrites=False))
    target.known_newest = times[5]
    engine = begin(target)
    engine.run()
    assert target.times() == times[6:]


class DevicesTarget(FakeTarget):
    """Knows the newest row of each device."""

    def __init__(self, limits: Limits, newest: dict[str, float]) -> None:
        super().__init__(limits)
        self.by_device = newest

    def newest_by_device(self) -> dict[str, float]:
        return self.by_device


def passed_over(engine: Engine) -> int:
    engine.pipeline._looked = -math.inf
    engine.pipeline.step()
    return int(engine.pipeline.facts()["passed_over"])


@pytest.mark.parametrize("limits", [Limits(rows=10, ordered=True), Limits(rows=10, overwrites=False)])
def test_newer_rows_of_one_device_hide_no_history_of_another(
    begin: Begin, store: MemoryStore, caplog: pytest.LogCaptureFixture, limits: Limits
) -> None:
    caplog.set_level(logging.INFO)
    times = fill(store, 20)
    for moment in times:
        store.arrive(moment, {"power": 2.0}, device="grid")
        store.arrive(moment, {"power": 3.0}, device="ahead")
    # a clock of another sender was ten years ahead: no newest at all
    engine = begin(DevicesTarget(limits, {"pi/meter": times[14], "pi/ahead": NOON + 3e8}))
    engine.run()
    sent = {
        device: [row.time for row in engine.target.taken if row.channels[0].device == device]
        for device in ("meter", "grid", "ahead")
    }
    assert sent == {"meter": times[15:], "grid": times, "ahead": times}
    assert passed_over(engine) == 15
    lines = [record.getMessage() for record in caplog.records if "newer" in record.getMessage()]
    assert lines == [
        "target fake has rows already, and gets what is newer: of pi/meter up to 2025-11-20T12:00:14+00:00"
    ]
    engine.restart()
    engine.run()
    assert len(engine.target.taken) == 45
    assert passed_over(engine) == 15


def test_a_target_that_replaces_what_it_has_gets_what_from_asks_for(
    begin: Begin, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    times = fill(store, 20)
    target = FakeTarget()
    target.known_newest = times[-1]
    engine = begin(target)
    engine.run()
    assert target.times() == times
    assert "target fake gets all rows from beginning on" in caplog.text
    assert passed_over(engine) == 0


def test_a_newest_row_ahead_of_the_clock_does_not_count(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 5)
    target = FakeTarget(Limits(rows=10, overwrites=False))
    target.known_newest = NOON + 3e8
    engine = begin(target)
    engine.run()
    assert target.times() == times


def test_the_rows_are_sent_again_until_they_are_taken_and_what_was_taken_is_not(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 10)
    engine = begin()
    engine.target.script = [TryLater("busy"), TryLater("half", done=4), TryLater("busy")]
    engine.run()
    assert [len(request) for request in engine.target.requests] == [10, 10, 6, 6]
    assert engine.target.times() == times[4:]
    assert engine.pipeline.facts()["last_error"] == "busy"


def test_a_request_that_is_too_large_is_made_smaller_until_it_fits(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 20)
    engine = begin()
    engine.target.script = [TryLater("too large", smaller=True), TryLater("too large", smaller=True)]
    engine.run()
    assert engine.target.times() == times
    assert [len(request) for request in engine.target.requests][:4] == [10, 5, 2, 2]


def test_a_row_that_is_too_large_by_itself_is_set_aside(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 3)
    engine = begin()

    def large(rows: Sequence[Row]) -> Exception | None:
        return TryLater("413", smaller=True) if times[1] in [row.time for row in rows] else None

    engine.target.script = [large] * 100
    engine.run()
    assert engine.target.times() == [times[0], times[2]]
    assert engine.lost_times() == [times[1]]


def test_a_refused_batch_is_bisected_and_only_its_bad_rows_are_set_aside(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 20)
    engine = begin()
    engine.target.script = [refuses(times[3], times[4], times[17])] * 1000
    engine.run()
    assert sorted(set(engine.target.times())) == [time for time in times if time not in (times[3], times[4], times[17])]
    assert engine.lost_times() == [times[3], times[4], times[17]]


def test_rows_that_the_target_names_are_set_aside_without_trying_again(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 10)
    engine = begin()
    engine.target.script = [Refused("partial", {2: "type conflict", 7: "too old"})]
    engine.run()
    assert len(engine.target.requests) == 1
    assert engine.reasons() == ["type conflict", "too old"]
    assert engine.lost_times() == [times[2], times[7]]


def test_of_a_row_only_the_refused_values_are_set_aside(begin: Begin, store: MemoryStore) -> None:
    store.arrive(NOON, {"power": 1.0, "voltage": 2.0})
    engine = begin()
    engine.target.script = [Refused("partial", {0: "type conflict"}, {0: (1,)})]
    engine.run()
    (letter,) = engine.state.dead_letters("fake")
    assert [mapped.channel for mapped in letter.row.channels] == ["voltage"]
    assert letter.row.values == (2.0,)


def test_a_target_that_refuses_everything_loses_nothing(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 64)
    engine = begin(FakeTarget(Limits(rows=64)))
    engine.target.script = [Refused("unknown field")] * 300
    for _ in range(150):
        engine.pipeline.step()
    assert engine.lost_times() == []
    assert "refuses everything" in engine.pipeline.facts()["last_error"]
    assert engine.pipeline.step() > 0
    engine.target.script = []
    engine.pipeline.pause(paused=False)
    engine.run()
    assert engine.target.times() == times


ORDERED = Limits(rows=32, ordered=True)


def limit_of_nodes(rows: Sequence[Row]) -> Exception:
    return Refused(f"limit is 32. Node 'n{rows[0].time}' was ignored")


def test_a_target_that_needs_order_and_refuses_everything_for_one_reason_loses_nothing(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 64)
    engine = begin(FakeTarget(ORDERED))
    engine.target.script = [limit_of_nodes] * 1000
    for _ in range(150):
        engine.pipeline.step()
    assert engine.lost_times() == []
    assert "it refused many rows in a row for one reason: limit is 32" in engine.pipeline.facts()["last_error"]
    assert len(engine.target.requests) < 100  # not one a row at full speed
    engine.target.script = []
    engine.pipeline.pause(paused=False)
    engine.run()
    assert engine.target.times() == times


def test_after_rows_that_were_accepted_only_a_few_become_dead_letters_for_one_reason(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 64)
    engine = begin(FakeTarget(ORDERED))
    engine.target.script = [None, *[limit_of_nodes] * 1000]
    fill(store, 1000, NOON + 64)
    for _ in range(150):
        engine.pipeline.step()
        engine.pipeline.pause(paused=False)
    assert len(engine.lost_times()) < 16
    engine.target.script = []
    engine.pipeline.pause(paused=False)
    engine.run()
    assert sorted({*engine.target.times(), *engine.lost_times()})[:64] == times


def test_rows_that_are_refused_for_reasons_of_their_own_are_set_aside_in_order(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 64)
    engine = begin(FakeTarget(ORDERED))
    reasons = ["too high", "too low", "not a date"]
    engine.target.script = [
        lambda rows: Refused(reasons[int(rows[0].time) % 3]) if rows[0].time < NOON + 32 else None
    ] * 1000
    engine.run()
    assert engine.lost_times() == times[:32]
    assert engine.target.times() == times[32:]


def test_why_rows_become_dead_letters_is_shown_while_they_do(begin: Begin, store: MemoryStore) -> None:
    fill(store, 3)
    engine = begin(token="t0p-secret")
    engine.target.script = [Refused("partial", {0: "no t0p-secret here"})]
    engine.run()
    facts = engine.pipeline.facts()
    assert (facts["last_error"], facts["error_time"]) == ("no … here", engine.now)


def test_many_bad_rows_are_set_aside_when_the_newest_one_is_taken(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 64)
    engine = begin(FakeTarget(Limits(rows=32)))
    engine.target.script = [refuses(*times[:32])] * 1000
    engine.run()
    assert set(engine.target.times()) == set(times[32:])
    assert engine.lost_times() == times[:32]


def test_once_a_row_of_a_batch_was_accepted_those_that_are_refused_are_set_aside_without_another_request(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 40)
    engine = begin(FakeTarget(Limits(rows=40)))
    engine.target.script = [refuses(*times[1:])] * 1000
    engine.run()
    assert (engine.target.times(), engine.lost_times()) == (times[:1], times[1:])
    assert [rows[0].time for rows in engine.target.requests if len(rows) == 1] == times


@pytest.mark.parametrize("ordered", [False, True])
def test_refusals_in_a_row_are_counted_again_from_one_after_a_row_that_was_accepted(
    begin: Begin, store: MemoryStore, ordered: bool
) -> None:
    times = fill(store, 32)
    engine = begin(FakeTarget(Limits(rows=1, ordered=ordered)))
    engine.target.script = [*[Refused("bad")] * 15, None] * 2
    engine.run()
    assert engine.target.times() == [times[15], times[31]]
    assert [rows[0].time for rows in engine.target.requests] == times


def test_failures_in_a_row_are_counted_again_from_one_after_a_row_that_was_accepted(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 8)
    engine = begin(FakeTarget(Limits(rows=4)))
    engine.target.script = [*[TryLater("HTTP 500: panic")] * 5, None] * 2
    engine.run()
    assert engine.target.times() == times
    assert [len(rows) for rows in engine.target.requests] == [4] * 12


def test_a_row_over_which_the_target_stumbles_every_time_is_found_and_set_aside(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 64)
    engine = begin(FakeTarget(Limits(rows=32)))

    def stumbles(rows: Sequence[Row]) -> Exception | None:
        return TryLater("HTTP 500: panic") if times[20] in [row.time for row in rows] else None

    engine.target.script = [stumbles] * 1000
    engine.run()
    assert set(engine.target.times()) == {time for time in times if time != times[20]}
    assert (engine.lost_times(), engine.reasons()) == ([times[20]], ["HTTP 500: panic"])


def test_a_row_is_not_suspected_of_what_is_over_when_it_is_tried_again(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 4)
    engine = begin(FakeTarget(Limits(rows=1)))
    engine.target.script = [TryLater("connection refused")] * 6
    engine.run()
    assert (sorted(set(engine.target.times())), engine.lost_times()) == (times, [])


def test_a_target_that_is_away_for_long_loses_nothing(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 64)
    engine = begin(FakeTarget(Limits(rows=32)))
    engine.target.script = [TryLater("connection refused")] * 100
    engine.run()
    assert (engine.target.times(), engine.lost_times()) == (times, [])


def test_a_target_that_accepts_nothing_is_a_problem_unless_it_only_asks_for_a_pause_or_is_paused(
    begin: Begin, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.uploader.engine.outage.PROBLEM_SECONDS", 0.0)
    fill(store, 3)
    engine = begin()
    engine.target.script = [TryLater("too many requests", after=60.0), TryLater("away"), None]
    problems = []
    for _ in range(3):
        engine.pipeline.pause(paused=False)  # continues without any wait
        engine.pipeline.step()
        problems.append(engine.pipeline.problem())
        engine.pipeline.pause(paused=True)
        assert engine.pipeline.problem() == ""
    assert problems == ["", "target fake accepts nothing: away", ""]


def test_values_that_are_no_numbers_are_set_aside_and_their_neighbours_sent(begin: Begin, store: MemoryStore) -> None:
    store.arrive(NOON, {"power": math.nan, "voltage": 230.0})
    store.arrive(NOON + 1, {"power": math.inf, "voltage": 231.0})
    store.arrive(NOON + 2, {"power": -math.inf})
    engine = begin()
    engine.run()
    assert [row.values for row in engine.target.taken] == [(230.0,), (231.0,)]
    assert engine.reasons() == ["not a finite number"] * 3


def test_a_dead_letter_is_repaired_and_replayed(begin: Begin, store: MemoryStore) -> None:
    store.arrive(NOON, {"power": math.nan})
    engine = begin()
    engine.run()
    (letter,) = engine.state.dead_letters("fake")
    engine.state.edit("fake", letter._replace(row=letter.row._replace(values=(5.0,))))
    engine.state.retry("fake", None)
    engine.pipeline.resend()
    engine.run()
    assert [(row.time, row.values) for row in engine.target.taken] == [(NOON, (5.0,))]
    assert engine.state.dead_letters("fake") == []


def test_a_dead_letter_that_is_refused_again_stays_with_its_new_reason(begin: Begin, store: MemoryStore) -> None:
    fill(store, 1)
    engine = begin()
    engine.target.script = [Refused("bad"), Refused("still bad")]
    engine.run()
    engine.state.retry("fake", None)
    engine.pipeline.resend()
    engine.run()
    (letter,) = engine.state.dead_letters("fake")
    assert (letter.id, letter.reason, letter.retry) == (1, "still bad", False)


def test_dead_letters_that_are_marked_are_sent_after_a_restart_as_well(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 1)
    engine = begin()
    engine.target.script = [Refused("bad")]
    engine.run()
    engine.state.retry("fake", None)
    engine.restart()
    engine.run()
    assert engine.target.times() == times


def test_live_rows_go_before_the_backlog_and_every_row_continuesce(begin: Begin, store: MemoryStore) -> None:
    old = fill(store, 3000, NOON - 10_000)
    engine = begin(FakeTarget(Limits(rows=500)), order="live")
    engine.pipeline.step()
    first = engine.target.times()
    assert first[0] == old[2000]
    engine.run()
    new = fill(store, 5)
    engine.run()
    assert sorted(engine.target.times()) == sorted(old + new)


def test_new_rows_overtake_a_backlog_with_live_first(begin: Begin, store: MemoryStore) -> None:
    fill(store, 5000, NOON - 10_000)
    engine = begin(FakeTarget(Limits(rows=100)), order="live")
    for _ in range(15):
        engine.pipeline.step()
    new = fill(store, 1)
    engine.pipeline.step()
    assert engine.target.taken[-1].time == new[0]
    engine.run()
    assert len(engine.target.taken) == len(set(engine.target.times())) == 5001


def test_what_comes_late_for_a_target_that_needs_order_is_set_aside(begin: Begin, store: MemoryStore) -> None:
    engine = begin(FakeTarget(Limits(rows=10, ordered=True)))
    fill(store, 3)
    engine.run()
    fill(store, 2, NOON - 100)
    store.arrive(NOON - 50, {"power": 1.0}, device="other")
    engine.run()
    assert engine.lost_times() == [NOON - 100, NOON - 99]
    assert engine.target.times() == [NOON, NOON + 1, NOON + 2, NOON - 50]


def test_a_row_from_the_future_makes_no_later_row_of_its_device_late(begin: Begin, store: MemoryStore) -> None:
    engine = begin(FakeTarget(Limits(rows=10, ordered=True)))
    fill(store, 1, NOON + 86_400 * 365)
    engine.run()
    fill(store, 3)
    engine.run()
    assert engine.lost_times() == []
    assert engine.target.times() == [NOON + 86_400 * 365, NOON, NOON + 1, NOON + 2]


def test_rows_that_are_too_old_for_the_target_are_skipped_and_counted(begin: Begin, store: MemoryStore) -> None:
    fill(store, 4, NOON - 200)
    times = fill(store, 2, NOON - 50)
    engine = begin(FakeTarget(Limits(rows=10, age=200)))
    engine.run()
    assert engine.target.times() == times
    engine.pipeline._looked = -math.inf
    engine.pipeline.step()
    assert engine.pipeline.facts()["skipped"] == 4


def test_a_request_of_unknown_end_is_not_repeated_for_rows_the_target_says_it_has(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 10)
    target = FakeTarget(Limits(rows=10, overwrites=False))
    engine = begin(target)

    def lost_answer(rows: Sequence[Row]) -> Exception:
        target.taken += rows[:6]
        target.known_newest = rows[5].time
        return TryLater("the connection broke")

    target.script = [lost_answer]
    engine.run()
    assert target.times() == times


def test_late_rows_of_a_request_of_unknown_end_are_sent_again(begin: Begin, store: MemoryStore) -> None:
    target = FakeTarget(Limits(rows=10, overwrites=False))
    engine = begin(target)
    times = fill(store, 3)
    engine.run()
    target.known_newest = times[-1]
    late = fill(store, 2, NOON - 100)
    target.script = [TryLater("the connection broke")]
    engine.run()
    assert target.times() == times + late


def test_a_request_that_was_refused_is_not_one_of_unknown_end(begin: Begin, store: MemoryStore) -> None:
    target = FakeTarget(Limits(rows=1, overwrites=False))
    times = fill(store, 3)
    engine = begin(target)
    target.script = [Refused("bad", {0: "bad"})]
    engine.run()
    assert (engine.lost_times(), target.times()) == (times[:1], times[1:])
    assert target.newest_calls == 1  # where to begin


def test_a_target_that_stumbles_and_does_not_overwrite_gets_every_row_once_and_in_order(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 12)
    engine = begin(FakeTarget(Limits(rows=4, overwrites=False)))
    engine.target.script = [TryLater("HTTP 500: panic")] * 14
    engine.run()
    assert (engine.target.times(), engine.lost_times()) == (times, [])


@pytest.mark.parametrize(("bytes_", "batch_bytes"), [(400, 0), (0, 400), (400, 10_000), (10_000, 400)])
def test_the_bytes_of_a_batch_are_limited_by_target_and_options(
    begin: Begin, store: MemoryStore, bytes_: int, batch_bytes: int
) -> None:
    times = fill(store, 20)
    engine = begin(FakeTarget(Limits(rows=10, bytes=bytes_)), batch_bytes=batch_bytes)
    engine.run()
    assert [len(request) for request in engine.target.requests] == [5, 5] * 2
    assert engine.target.times() == times


def test_batches_grow_again_after_some_successes_until_they_are_full(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 300)
    engine = begin(FakeTarget(Limits(rows=8)))
    engine.target.script = [TryLater("too large", smaller=True), TryLater("too large", smaller=True)]
    engine.run()
    sizes = [len(request) for request in engine.target.requests]
    # the batch of 8 that was too large, and then 4; batches that are read in pieces of 8 end with what is left
    assert sizes[:2] == [8, 4]
    assert sizes[2:22] == [2] * 20
    assert max(sizes[22:42]) == 4
    assert sizes[-2] == 8
    assert sorted(set(engine.target.times())) == times


def test_a_dead_letter_that_is_too_old_by_now_stays_one_with_that_reason(begin: Begin, store: MemoryStore) -> None:
    fill(store, 1)
    engine = begin(FakeTarget(Limits(rows=10, age=1000.0)))
    engine.target.script = [Refused("bad")]
    engine.run()
    assert engine.reasons() == ["bad"]
    engine.now += 2000.0
    engine.state.retry("fake", None)
    engine.pipeline.resend()
    engine.run()
    assert engine.reasons() == ["too old for the target by now"]
    assert engine.target.taken == []


def test_what_was_sent_before_a_clean_stop_is_not_sent_again(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 35)
    engine = begin()
    for _ in range(3):
        engine.pipeline.step()
    assert engine.target.times() == times[:30]
    engine.pipeline.close()
    engine.restart()
    engine.run()
    assert engine.target.times() == times


def test_after_a_crash_a_target_that_overwrites_may_get_rows_again_and_lacks_none(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 35)
    engine = begin()
    for _ in range(3):
        engine.pipeline.step()
    engine.restart()
    engine.run()
    assert sorted(set(engine.target.times())) == times


def test_a_crash_in_the_middle_of_a_request_does_not_double_rows_the_target_says_it_has(
    begin: Begin, store: MemoryStore
) -> None:
    times = fill(store, 10)
    target = FakeTarget(Limits(rows=10, overwrites=False))
    engine = begin(target)
    crash(engine)
    engine.restart()
    engine.run()
    assert target.times() == times


def test_a_crash_among_live_rows_does_not_cost_the_backlog(begin: Begin, store: MemoryStore) -> None:
    old = fill(store, 3000, NOON - 10_000)
    target = FakeTarget(Limits(rows=500, overwrites=False))
    engine = begin(target, order="live")
    crash(engine)
    engine.restart()
    engine.run()
    assert sorted(target.times()) == old


def test_a_crash_does_not_cost_the_dead_letters_that_are_to_be_sent_again(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 20)
    target = FakeTarget(Limits(rows=10, overwrites=False))
    engine = begin(target)

    def refuse(rows: Sequence[Row]) -> Exception:
        target.taken += rows[1:]
        return Refused("one", {0: "not today"})

    target.script = [refuse]
    engine.run()
    assert engine.lost_times() == times[:1]
    more = fill(store, 3, NOON + 20)
    crash(engine)
    engine.state.retry("fake", None)
    engine.restart()
    engine.run()
    assert sorted(target.times()) == times + more
    assert engine.lost_times() == []


def test_a_pause_that_the_target_asks_for_is_kept(begin: Begin, store: MemoryStore) -> None:
    fill(store, 20)
    engine = begin()
    engine.target.script = [Answer("slowly", 100.0)]
    assert engine.pipeline.step() == 0
    assert engine.pipeline.step() > 0
    assert len(engine.target.requests) == 1


def test_retry_after_is_kept(begin: Begin, store: MemoryStore) -> None:
    fill(store, 1)
    engine = begin()
    engine.target.script = [TryLater("too many", after=500.0)]
    engine.pipeline.step()
    facts = engine.pipeline.facts()
    assert facts["next_try"] == NOON + 600
    assert engine.pipeline.step() > 0
    assert len(engine.target.requests) == 1


@pytest.mark.parametrize("asked", [1e12, math.inf, math.nan, -math.inf])
def test_no_pause_that_a_target_asks_for_is_longer_than_an_hour(begin: Begin, store: MemoryStore, asked: float) -> None:
    fill(store, 20)
    for step in (TryLater("come back later", after=asked), Answer("slowly", asked)):
        engine = begin()
        engine.target.script = [step]
        engine.pipeline.step()
        session = engine.pipeline._session
        assert session is not None
        assert session.wait() <= 3600.0
        assert engine.pipeline.facts().get("next_try", NOON) <= engine.now + 3600.0


def outages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.endswith(".outage")]


def test_what_fails_more_than_once_is_logged_in_the_targets_words_and_once_when_it_is_over(
    begin: Begin, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fill(store, 3)
    engine = begin(token="t0p-secret")
    engine.target.script = [TryLater("HTTP 401: no t0p-secret")] * 5
    engine.run()
    assert outages(caplog) == [
        "target fake is tried again until it works: HTTP 401: no …",
        "target fake works again after 5 failures",
    ]
    caplog.clear()
    fill(store, 3)
    engine.target.script = [TryLater("slow down", after=15.0)]
    engine.run()
    assert outages(caplog) == []


def test_the_budget_of_an_hour_is_kept(begin: Begin, store: MemoryStore) -> None:
    fill(store, 1000)
    engine = begin(batch_size=10, max_requests_per_hour=20)
    for _ in range(100):
        engine.pipeline.step()
    assert len(engine.target.requests) == 15


def test_a_paused_target_gets_nothing_and_continues_where_it_was(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 20)
    engine = begin()
    engine.pipeline.step()
    engine.pipeline.pause(paused=True)
    for _ in range(5):
        assert engine.pipeline.step() > 0
    assert engine.pipeline.facts()["state"] == "paused"
    engine.pipeline.pause(paused=False)
    engine.run()
    assert engine.target.times() == times


def test_a_store_that_is_away_is_waited_for(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 3)
    store.away = True
    engine = begin()
    assert engine.pipeline.step() > 0
    assert engine.pipeline.facts()["last_error"] == "no store"
    store.away = False
    engine.run()
    assert engine.target.times() == times


def test_a_store_that_went_back_is_followed_from_the_newest_row_that_was_sent(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 10)
    engine = begin()
    engine.run()
    del store.arrived[4:]
    engine.restart()
    engine.run()
    more = fill(store, 2, NOON + 100)
    engine.run()
    assert engine.target.times()[-2:] == more
    assert set(engine.target.times()) == {*times, *more}


def test_only_the_chosen_channels_go_under_their_names(begin: Begin, store: MemoryStore) -> None:
    store.arrive(NOON, {"pv_power": 1.0, "pv_voltage": 2.0, "load": 3.0}, device="inverter")
    store.arrive(NOON, {"temperature": 4.0}, device="shed")
    engine = begin(
        channels=("*/inverter/*",),
        exclude=("*/*/pv_voltage",),
        names={"pi/inverter/load": "house"},
        name_template="$node.$device.$channel.$unit",
    )
    engine.run()
    (row,) = engine.target.taken
    assert [mapped.name for mapped in row.channels] == ["pi.inverter.pv_power.W", "house"]
    assert row.values == (1.0, 3.0)


def test_a_trial_sends_the_newest_reading_and_tells_the_answer(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 3)
    engine = begin(enabled=False)
    assert engine.pipeline.test() == (True, "thank you")
    assert engine.target.times() == [times[-1]]
    engine.target.script = [Refused("bad key", {0: "no such channel"})]
    assert engine.pipeline.test() == (False, "no such channel")


def test_a_trial_of_a_target_that_needs_order_sends_the_next_row(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 3)
    engine = begin(FakeTarget(Limits(rows=10, ordered=True)), enabled=False)
    assert engine.pipeline.test().ok
    assert engine.target.times() == times[:1]


EMPTY = "nothing was sent now: the backlog is empty, and this target must not get a row twice"


def test_a_trial_of_a_target_that_has_everything_reports_when_it_last_accepted_a_row(
    begin: Begin, store: MemoryStore
) -> None:
    engine = begin(FakeTarget(Limits(rows=10, ordered=True)))
    assert engine.pipeline.test() == (False, EMPTY)  # it has accepted nothing yet: nothing is known of it
    fill(store, 3)
    engine.pipeline.step()
    result = engine.pipeline.test()
    assert result.ok
    assert result.response.startswith(f"{EMPTY}; it accepted the last one at 20")
    engine.pipeline._status.failed(NOON + 1e9, "away", NOON + 1e9)
    assert engine.pipeline.test() == (False, EMPTY)


def test_the_report_says_how_much_is_left_and_since_when(begin: Begin, store: MemoryStore) -> None:
    times = fill(store, 30)
    engine = begin()
    engine.pipeline.step()
    engine.pipeline._looked = -math.inf
    engine.pipeline.pause(paused=True)
    engine.pipeline.step()
    facts = engine.pipeline.facts()
    assert (facts["backlog"], facts["oldest"], facts["sent"]) == (20, times[10], 10)
    assert facts["eta"] > NOON


def test_the_backlog_counts_rows_that_the_target_gets(begin: Begin, store: MemoryStore) -> None:
    for index in range(60):
        store.arrive(NOON + index, {"power": 1.0}, device="meter" if index % 3 == 2 else "other")
    engine = begin(channels=("*/meter/*",))
    engine.target.script = [TryLater("away")]
    engine.pipeline.step()
    engine.pipeline._looked = -math.inf
    engine.pipeline.pause(paused=True)
    engine.pipeline.step()
    facts = engine.pipeline.facts()
    assert (facts["backlog"], facts["oldest"]) == (20, NOON + 2)


class CheckedTarget(FakeTarget):
    error: TryLater | None = None

    def check(self) -> str:
        if self.error:
            raise self.error
        return "FakeDB 7"


def test_a_test_says_what_the_target_knows_of_itself_and_writes_nothing_if_that_is_wrong(
    begin: Begin, store: MemoryStore
) -> None:
    fill(store, 1)
    target = CheckedTarget()
    engine = begin(target, enabled=False)
    assert engine.pipeline.test() == (True, "FakeDB 7; thank you")
    target.error = TryLater("no such bucket")
    assert engine.pipeline.test() == (False, "no such bucket")
    assert len(target.requests) == 1


def test_what_the_first_request_brought_is_on_disk_at_once(begin: Begin, store: MemoryStore) -> None:
    fill(store, 30)
    engine = begin()
    engine.pipeline.step()
    state = engine.state.delivery_state("fake")
    assert state is not None
    assert (state.sent, state.progress.floor) == (10, 10)
