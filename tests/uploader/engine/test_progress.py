from hypothesis import given
from hypothesis import strategies as st

from services.uploader.engine.progress import TargetProgress
from services.uploader.engine.rate_limit import RateLimit

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12)


@given(RANGES)
def test_exactly_what_was_finished_is_done(ranges: list[tuple[int, int]]) -> None:
    progress = TargetProgress()
    done: set[int] = set()
    for after, upto in ranges:
        progress.finish(after, upto)
        done |= set(range(after + 1, upto + 1))
    assert {position for position in range(1, 42) if progress.is_done(position)} == done
    holes = progress.holes(41)
    assert {position for begin, end in holes for position in range(int(begin) + 1, int(end) + 1)} == set(
        range(1, 42)
    ) - done
    assert progress.tip() == max(done, default=0)
    floor, end = progress.hole()
    assert floor + 1 not in done
    assert end is None or end + 1 in done
    assert progress.beyond == sorted(progress.beyond)


def test_requests_keep_their_distance_and_their_number_in_an_hour() -> None:
    pace = RateLimit()
    assert pace.wait(0.0, 10.0, 0) == 0.0
    pace.began(0.0)
    assert pace.wait(4.0, 10.0, 0) == 6.0
    for second in range(1, 15):
        pace.began(float(second))
    assert pace.wait(20.0, 0.0, 20) == 3580.0
    assert pace.wait(20.0, 0.0, 100) == 0.0
    assert pace.wait(20.0, 0.0, 100, reserved=85) > 0.0
    assert pace.wait(3600.0, 0.0, 20) == 0.0


def test_a_pause_lasts_until_it_is_over_or_forgotten() -> None:
    pace = RateLimit()
    pace.pause(0.0, 100.0)
    pace.pause(0.0, 10.0)
    assert pace.wait(40.0, 0.0, 0) == 60.0
    pace.resume()
    assert pace.wait(40.0, 0.0, 0) == 0.0
