import math

from hypothesis import given
from hypothesis import strategies as st

from heliograph.backoff import FIRST_SECONDS, LONGEST_SECONDS, STABLE_SECONDS, Backoff, steady


def test_every_attempt_waits_twice_as_long_up_to_a_cap() -> None:
    backoff = Backoff(jitter=steady)
    delays = [backoff.next() for _ in range(12)]
    assert delays[:4] == [FIRST_SECONDS * 2**n for n in range(4)]
    assert delays[-2:] == [LONGEST_SECONDS] * 2


def test_a_connection_that_breaks_at_once_does_not_make_the_wait_shorter() -> None:
    backoff = Backoff(jitter=steady)
    delays = [backoff.after(STABLE_SECONDS / 2) for _ in range(5)]
    assert delays == sorted(set(delays))


def test_after_a_stable_connection_the_wait_is_short_again() -> None:
    backoff = Backoff(jitter=steady)
    for _ in range(9):
        backoff.after(0)
    # longer than a second, but not than the wait before it: a broker that disconnects every client is not flooded
    assert backoff.after(STABLE_SECONDS * 2) == 30.0
    assert backoff.after(LONGEST_SECONDS + 1) == FIRST_SECONDS


@given(st.lists(st.floats(0, 100) | st.just(-math.inf), max_size=30))
def test_no_wait_is_shorter_than_half_the_first_or_longer_than_the_cap(lives: list[float]) -> None:
    backoff = Backoff()
    for lived in lives:
        assert FIRST_SECONDS / 2 <= backoff.after(lived) <= LONGEST_SECONDS


SECONDS = st.floats(0.01, 1000)


@given(first=SECONDS, more=SECONDS, succeeded=st.lists(st.booleans(), max_size=30))
def test_a_wait_is_the_first_after_a_success_and_else_twice_the_last_up_to_the_longest(
    first: float, more: float, succeeded: list[bool]
) -> None:
    backoff, longest, last = Backoff(first, first + more, steady), first + more, 0.0
    for success in succeeded:
        if success:
            backoff.reset()
            last = 0.0
        expected = min(2 * last, longest) if last else first
        assert backoff.next() == backoff.delay == expected
        last = expected


def test_not_all_clients_come_back_at_the_same_moment() -> None:
    assert len({Backoff().next() for _ in range(50)}) > 10
