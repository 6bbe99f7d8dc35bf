from collections.abc import Sequence

import msgspec
import pytest

from heliograph.messages import Value
from heliograph.store.interface import Function, Series
from services.api import queries, series
from services.api.errors import RequestRefused
from services.api.queries import Aggregation, TimeRange
from services.api.schemas import BucketResponse
from tests.api.conftest import START
from tests.api.memory import MemoryReader

DAY = 86_400.0
CHANNELS = [Series(number, "roof", "meter", f"power_{number:02}", "W", "gauge") for number in range(14)]


class Busy(MemoryReader):
    """A store in which every series has a value every so many seconds."""

    def __init__(self, seconds: float, count: int = 14) -> None:
        super().__init__(CHANNELS[:count])
        self._seconds = seconds

    def aggregate(
        self, series: int, edges: Sequence[float], functions: Sequence[Function]
    ) -> dict[str, list[Value | None]]:
        self.asked.append(("aggregate", series, edges[0], edges[-1], tuple(functions)))
        count = len(edges) - 1
        each = round((edges[-1] - edges[0]) / count / self._seconds)
        return {name: [each if name == "n" else 1234.5] * count for name in functions}


def ask(reader: MemoryReader, days: float, bucket: str, tz: str = "UTC") -> BucketResponse:
    response = series.bucketed(
        reader, ["*/*/*"], TimeRange(START, START + days * DAY), Aggregation(bucket, tz, ["mean"])
    )
    return msgspec.json.decode(response.body, type=BucketResponse)


def test_an_answer_in_buckets_is_what_openapi_says() -> None:
    answer = ask(Busy(5.0), 1.0, "1h")
    assert (answer.bucket, answer.tz, answer.time) == ("1h", "UTC", [START + 3600 * hour for hour in range(24)])
    assert answer.series["roof/meter/power_03"] == {"unit": "W", "n": [720] * 24, "mean": [1234.5] * 24}
    assert len(answer.series) == 14


def test_buckets_that_need_every_value_of_a_long_time_are_refused_with_those_that_do_not() -> None:
    with pytest.raises(RequestRefused) as refused:
        ask(Busy(5.0), 90, "11m")
    assert "22 million values" in refused.value.detail
    assert "bucket=10m or bucket=15m has aggregates" in refused.value.detail
    for bucket in ("10m", "15m"):
        assert len(ask(Busy(5.0), 90, bucket).time) >= 90 * 96


def test_no_bucket_is_offered_that_would_be_too_many() -> None:
    assert queries.buckets_with_aggregates("13m", TimeRange(START, START + 145 * DAY), 14) == ["15m"]
    assert queries.buckets_with_aggregates("7m", TimeRange(START, START + DAY), 1) == ["5m", "10m"]
    assert queries.buckets_with_aggregates("1m", TimeRange(START, START + DAY), 1) == ["5m"]
    assert queries.buckets_with_aggregates("1y", TimeRange(START, START + DAY), 1) == ["1y"]


@pytest.mark.parametrize(
    ("seconds", "count", "days", "bucket", "tz"),
    [
        (60.0, 14, 90, "11m", "UTC"),  # few values
        (5.0, 1, 90, "11m", "UTC"),  # one series
        (5.0, 14, 20, "11m", "UTC"),  # not long
        (5.0, 14, 3650, "1d", "Asia/Kathmandu"),  # has aggregates, although the zone is at :45
        (5.0, 14, 365, "1h", "Australia/Lord_Howe"),
        (5.0, 14, 365, "auto", "Europe/Berlin"),
    ],
)
def test_what_the_store_can_answer_quickly_is_answered(
    seconds: float, count: int, days: float, bucket: str, tz: str
) -> None:
    assert ask(Busy(seconds, count), days, bucket, tz).time


def test_a_short_question_is_not_counted_first() -> None:
    reader = Busy(5.0, 1)
    ask(reader, 1, "7m")
    assert len(reader.asked) == 1


def test_raw_points_of_any_time_come_by_the_page() -> None:
    points: list[tuple[float, int, Value]] = [(START + step, 0, float(step)) for step in range(25)]
    reader = MemoryReader(CHANNELS[:1], points)
    response = series.raw(reader, ["*/*/*"], TimeRange(0.0, queries.LATEST), 10, None)
    assert b'"next":"roof/meter/power_00@' in response.body
