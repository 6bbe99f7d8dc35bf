from hypothesis import given
from hypothesis import strategies as st

from services.sensor_reader.pulses.edges import Edge, EdgeCounter

MS = 1_000_000


def edges(*milliseconds: int) -> list[Edge]:
    return [Edge(ms * MS, number) for number, ms in enumerate(milliseconds, 1)]


def test_every_pulse_counts_once() -> None:
    counter = EdgeCounter(100, 0.005)
    counter.add(edges(0, 50, 100))
    assert counter.count == 103


def test_a_contact_that_bounces_is_one_pulse() -> None:
    counter = EdgeCounter(0, 0.005)
    counter.add(edges(0, 1, 3, 7, 100, 102))
    assert (counter.count, counter.bounced) == (2, 4)


def test_without_debouncing_every_edge_counts() -> None:
    counter = EdgeCounter(0, 0.0)
    counter.add(edges(0, 0, 1))
    assert counter.count == 3


def test_edges_that_fell_out_of_the_buffer_count() -> None:
    counter = EdgeCounter(0, 0.005)
    counter.add([Edge(0, 1), Edge(50 * MS, 4)])
    assert (counter.count, counter.overflowed) == (4, 2)


def test_the_numbers_restart_when_a_line_is_requested_again() -> None:
    counter = EdgeCounter(0, 0.005)
    counter.add(edges(0, 50))
    counter.reopened()
    counter.add(edges(10, 60))
    assert (counter.count, counter.overflowed) == (4, 0)


@given(st.lists(st.integers(10, 1000), max_size=60), st.data())
def test_bouncing_never_changes_the_count(gaps: list[int], data: st.DataObject) -> None:
    times, now = [], 0
    for gap in gaps:
        now += gap
        times += [now, *(now + bounce for bounce in sorted(data.draw(st.lists(st.integers(1, 4), max_size=3))))]
    counter = EdgeCounter(0, 0.005)
    counter.add(edges(*times))
    assert counter.count == len(gaps)


@given(st.integers(0, 1 << 40), st.lists(st.integers(1, 50), unique=True, max_size=50).map(sorted))
def test_the_count_is_the_number_of_the_last_edge(start: int, numbers: list[int]) -> None:
    counter = EdgeCounter(start, 0.0)
    counter.add([Edge(number, number) for number in numbers])
    assert counter.count == start + max(numbers, default=0)
