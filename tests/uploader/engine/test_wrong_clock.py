"""A clock that was ahead for some hours, and is right again: averages continue from now, to every kind of target."""

import logging
from contextlib import closing
from pathlib import Path

import pytest

from heliograph.messages import Value
from services.uploader.target import Limits
from tests.uploader.engine.fakes import FakeTarget
from tests.uploader.engine.test_interval_source import START, Site

HOUR = 3600.0
AHEAD = START + 100 * 86_400
LIMITS = {
    "overwrites": Limits(rows=100),
    "adds": Limits(rows=100, overwrites=False),
    "needs order": Limits(rows=100, ordered=True),
}


def readings(start: float, hours: int) -> dict[float, dict[str, Value]]:
    return {start + number * 1200: {"power": number + start % 7} for number in range(hours * 3)}


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("kind", LIMITS)
def test_after_a_clock_that_was_ahead_is_set_back_averages_continue_from_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, *, restarts: bool
) -> None:
    with closing(Site(tmp_path)) as site:
        site.target = FakeTarget(LIMITS[kind])
        pipeline = site.pipeline(interval=HOUR)
        site.write(readings(START, 3))
        site.run(pipeline, START + 3 * HOUR)
        site.write(readings(AHEAD, 3))
        site.run(pipeline, AHEAD + 3 * HOUR)
        if restarts:
            pipeline.close()
            pipeline = site.pipeline(interval=HOUR)
        site.write(readings(START + 4 * HOUR, 3))
        with caplog.at_level(logging.WARNING):
            for number in range(5, 8):
                site.run(pipeline, START + number * HOUR)
        sent = [time for time in site.target.times() if time < AHEAD]
        assert sent == [START + number * HOUR for number in (0, 1, 2, 4, 5, 6)]
        assert ["fake" in record.getMessage() for record in caplog.records] == [True]
