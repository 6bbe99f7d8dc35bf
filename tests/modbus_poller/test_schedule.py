import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.modbus_poller.breaker import CircuitBreaker
from services.modbus_poller.schedule import Schedule, Turn

HOURS = 4 * 3600.0


def same() -> float:
    return 1.0


def run(
    schedule: Schedule,
    dead: set[str],
    until: float,
    answer_seconds: float = 0.05,
    silence_seconds: float = 1.0,
    now: float = 0.0,
) -> tuple[Counter[Turn], list[float]]:
    """Play a line in no time: what was asked, and when the polls of living devices began."""
    asked: Counter[Turn] = Counter()
    begun: list[float] = []
    while now < until:
        turn = schedule.turn(now)
        if turn is None:
            wait = schedule.wait(now)
            assert wait > 0
            now += wait
            continue
        asked[turn] += 1
        if turn.device not in dead:
            begun.append(now)
        if turn.device in dead:
            now += silence_seconds
            schedule.failed(turn, now)
        else:
            now += answer_seconds
            schedule.answered(turn, now)
    return asked, begun


def test_one_failure_is_forgiven_and_the_second_opens() -> None:
    breaker = CircuitBreaker(same)
    assert not breaker.failed(0)
    assert not breaker.open
    assert not breaker.answered()
    assert not breaker.failed(10)
    assert breaker.failed(20)
    assert breaker.open
    assert breaker.retry_at == 30


def test_the_wait_doubles_from_ten_seconds_to_five_minutes() -> None:
    breaker = CircuitBreaker(same)
    breaker.failed(0)
    now, waits = 0.0, []
    for _ in range(8):
        breaker.failed(now)
        waits.append(breaker.retry_at - now)
        now = breaker.retry_at
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


def test_an_answer_closes_and_the_next_loss_starts_at_ten_seconds() -> None:
    breaker = CircuitBreaker(same)
    for now in range(5):
        breaker.failed(now)
    assert breaker.answered()
    assert not breaker.answered()
    breaker.failed(100)
    assert breaker.failed(110)
    assert breaker.retry_at == 120


def test_one_dead_device_of_five_leaves_the_others_every_tick() -> None:
    names = ["a", "b", "c", "d", "e"]
    chance = random.Random(1)
    schedule = Schedule(dict.fromkeys(names, 2.0), 1.0, lambda: chance.uniform(0.9, 1.1), 0.0)
    asked, begun = run(schedule, {"c"}, HOURS)
    for name in "abde":
        assert asked[Turn(name, False)] == HOURS / 2
    assert schedule.missed == 0
    assert asked[Turn("c", False)] == 2
    assert 44 <= asked[Turn("c", True)] <= 56  # once in five minutes, after the shorter delays of the beginning
    afterwards = [at % 2.0 for at in begun if at > 4.0]
    assert max(afterwards) < 0.2  # no later than the other three take


def test_four_dead_devices_do_not_slow_the_fifth() -> None:
    names = ["a", "b", "c", "d", "e"]
    chance = random.Random(1)
    schedule = Schedule(dict.fromkeys(names, 2.0), 1.0, lambda: chance.uniform(0.9, 1.1), 0.0)
    asked, _ = run(schedule, set("abcd"), HOURS)
    at_the_start = 5  # while each of the four is asked twice
    assert asked[Turn("e", False)] >= HOURS / 2 - at_the_start
    assert schedule.missed <= 5 * at_the_start


def test_a_line_without_a_pause_probes_a_dead_device_all_the_same() -> None:
    schedule = Schedule({"a": 0.5, "b": 0.5}, 1.0, same, 0.0)
    asked, _ = run(schedule, {"b"}, 3600.0)
    assert asked[Turn("b", True)] >= 8
    assert asked[Turn("a", False)] >= 7200 - 2 * sum(asked.values()) / 100


def test_an_overloaded_line_is_shared_fairly() -> None:
    schedule = Schedule({"a": 1.0, "b": 1.0, "c": 1.0}, 1.0, same, 0.0)
    asked, _ = run(schedule, set(), 3600.0, answer_seconds=0.9)
    counts = [asked[Turn(name, False)] for name in "abc"]
    assert max(counts) - min(counts) <= 1
    assert schedule.missed > 0


def test_ticks_are_whole_multiples_of_the_interval() -> None:
    schedule = Schedule({"a": 10.0}, 1.0, same, 1003.0)
    turn = schedule.turn(1003.0)
    assert turn == Turn("a", False)
    schedule.answered(turn, 1003.2)
    assert schedule.turn(1003.2) is None
    assert schedule.wait(1003.2) == 1010.0 - 1003.2


def test_a_device_that_answers_a_probe_is_polled_at_once() -> None:
    schedule = Schedule({"a": 10.0}, 1.0, same, 0.0)
    schedule.failed(Turn("a", False), 1.0)
    schedule.failed(Turn("a", False), 11.0)
    assert schedule.turn(20.9) is None
    probe = schedule.turn(21.0)
    assert probe == Turn("a", True)
    assert schedule.answered(probe, 21.1)
    assert schedule.turn(21.1) == Turn("a", False)


@given(
    st.dictionaries(st.sampled_from("abcde"), st.sampled_from([0.3, 1.0, 2.5, 10.0]), min_size=1),
    st.sets(st.sampled_from("abcde")),
    st.floats(0.001, 2.0),
    st.floats(0, 1e9),
)
def test_a_line_always_continues(intervals: dict[str, float], dead: set[str], seconds: float, start: float) -> None:
    schedule = Schedule(intervals, 1.0, same, start)
    asked, _ = run(schedule, dead, start + 60, seconds, 1.0, start)
    assert {turn.device for turn in asked} == set(intervals)
