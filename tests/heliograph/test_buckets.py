"""Buckets against a reference that walks through time in steps of a quarter of an hour."""

import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.store.buckets import AUTOMATIC, AUTOMATIC_DAYS, MOST_BUCKETS, BucketError, automatic, edges, zone

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",  # half an hour, once with DST changes at 00:01
    "Asia/Kolkata",
    "Asia/Kathmandu",  # 5:45
    "Australia/Lord_Howe",  # DST of half an hour
    "America/Sao_Paulo",  # DST began at midnight
    "America/Havana",  # DST ends at 01:00, so that midnight comes twice
    "Pacific/Apia",  # no 30 December 2011
    "Africa/Casablanca",
]


@cache
def clock_changes(name: str) -> list[float]:
    local, days = ZoneInfo(name), range(int(datetime(1973, 1, 1, tzinfo=UTC).timestamp()), 2_100_000_000, 86_400)
    offsets = [datetime.fromtimestamp(day, local).utcoffset() for day in days]
    return [float(day) for day, (left, right) in zip(days, itertools.pairwise(offsets), strict=False) if left != right]


STEP = 900  # every offset since 1972 is a multiple
KEYS: dict[str, Callable[[date], date]] = {
    "1d": lambda day: day,
    "1w": lambda day: day - timedelta(days=day.weekday()),
    "1mo": lambda day: day.replace(day=1),
    "3mo": lambda day: day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1),
    "1y": lambda day: day.replace(day=1, month=1),
}


def refusal(ask: Callable[[], object]) -> str:
    try:
        ask()
    except BucketError as error:
        return str(error)
    return ""


def at(text: str, name: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(name)).timestamp()


def hours(cuts: list[float]) -> list[float]:
    return [(right - left) / 3600 for left, right in itertools.pairwise(cuts)]


@settings(max_examples=60)
@given(
    name=st.sampled_from(ZONES),
    first=st.integers(int(at("1973-01-01")) // STEP, int(at("2037-12-01")) // STEP),
    days=st.floats(0.01, 80),
    bucket=st.sampled_from(list(KEYS)),
)
def test_every_moment_is_in_the_bucket_of_its_local_date(name: str, first: int, days: float, bucket: str) -> None:
    start, end = float(first * STEP), first * STEP + days * 86_400
    cuts = edges(start, end, bucket, name)
    assert cuts == sorted(set(cuts))
    assert cuts[0] <= start < cuts[1]
    assert cuts[-2] < end <= cuts[-1]
    local, key = ZoneInfo(name), KEYS[bucket]
    # walk from before the first to after the last bucket; an edge is where the bucket's date changes
    steps = range(int(cuts[0]) - STEP, int(cuts[-1]) + STEP, STEP)
    dates = [(moment, key(datetime.fromtimestamp(moment, local).date())) for moment in steps]
    # where a clock goes back over midnight, the day before comes again for a while: only new dates count
    newest, wanted = dates[0][1], []
    for moment, day in dates[1:]:
        if day > newest:
            newest = day
            wanted.append(float(moment))
    assert cuts == wanted


def clock_edges(start: float, end: float, bucket: int, name: str) -> list[float]:
    """The slow definition: look at the local clock every minute."""

    def shown(minute: int) -> int:
        return int(datetime.fromtimestamp(minute * 60, ZoneInfo(name)).replace(tzinfo=UTC).timestamp())

    def is_multiple(wall: int) -> bool:
        return wall % 86_400 % bucket == 0

    first_shown: dict[int, int] = {}
    starts = []
    minute, last = int(start - 3 * bucket) // 60 - 1500, int(end + 3 * bucket) // 60
    before = shown(minute)
    while minute < last:
        minute += 1
        wall = shown(minute)
        came_again = minute * 60 - first_shown.setdefault(wall, minute * 60)
        jumped_over = any(map(is_multiple, range(before + 60, wall, 60)))
        if jumped_over or (is_multiple(wall) and (not came_again or bucket <= came_again)):
            starts.append(minute * 60.0)
        before = wall
    first = max(edge for edge in starts if edge <= start)
    end_of_all = min(edge for edge in starts if edge >= end and edge > first)
    return [edge for edge in starts if first <= edge <= end_of_all]


MINUTES = [1, 5, 7, 15, 25, 30, 45, 60, 90, 120, 180, 300, 360, 420, 720, 1439]


@settings(max_examples=100)
@given(data=st.data())
def test_buckets_of_a_clock_begin_when_it_shows_a_multiple_of_them(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(ZONES))
    changes = clock_changes(name)
    near = st.integers(-2880, 2880).map(lambda minutes: minutes * 60.0)
    moments = st.floats(at("1973-01-01"), at("2037-01-01"))
    if changes:
        moments |= st.builds(lambda change, by: change + by, st.sampled_from(changes), near)
    start = data.draw(moments)
    end = start + data.draw(st.floats(1, 86_400 * 2))
    minutes = data.draw(st.sampled_from(MINUTES))
    assert edges(start, end, f"{minutes}m", name) == clock_edges(start, end, minutes * 60, name)


@settings(max_examples=200)
@given(
    name=st.sampled_from(ZONES),
    start=st.floats(at("1973-01-01"), at("2037-01-01")),
    seconds=st.floats(0.001, 86_400 * 7),
    bucket=st.sampled_from(
        [("7s", 7), ("30s", 30), ("11m", 660), ("1h", 3600), ("7h", 25_200), ("24h", 86_400), ("36h", 129_600)]
    ),
)
def test_buckets_rise_cover_the_query_and_last_less_than_twice_their_length(
    name: str, start: float, seconds: float, bucket: tuple[str, int]
) -> None:
    end = start + seconds
    cuts = edges(start, end, bucket[0], name)
    assert cuts == sorted(set(cuts))
    assert cuts[0] <= start < cuts[1]
    assert cuts[-2] < end <= cuts[-1]
    assert max(right - left for left, right in itertools.pairwise(cuts)) < 2 * bucket[1] + 86_400 * (
        bucket[1] >= 86_400
    )


@settings(max_examples=60)
@given(
    name=st.sampled_from(ZONES),
    start=st.floats(at("1973-01-01"), at("2037-01-01")),
    days=st.floats(0.1, 40),
    bucket=st.sampled_from(["7m", "1h", "6h", "36h", "1d", "2w", "1mo"]),
    fraction=st.floats(0, 1),
)
def test_a_query_that_continues_at_an_edge_has_the_same_buckets(
    name: str, start: float, days: float, bucket: str, fraction: float
) -> None:
    whole = edges(start, start + days * 86_400, bucket, name)
    seam = whole[int(fraction * (len(whole) - 1))]
    if seam == whole[0] or seam == whole[-1]:
        return
    assert edges(start, seam, bucket, name) + edges(seam, whole[-1], bucket, name)[1:] == whole


def local_times(cuts: list[float], name: str) -> list[str]:
    return [f"{datetime.fromtimestamp(edge, ZoneInfo(name)):%H:%M}" for edge in cuts]


def test_buckets_of_hours_keep_to_the_clock_where_it_changes() -> None:
    spring = edges(at("2026-03-29", "Europe/Berlin"), at("2026-03-30", "Europe/Berlin"), "6h", "Europe/Berlin")
    assert local_times(spring, "Europe/Berlin") == ["00:00", "06:00", "12:00", "18:00", "00:00"]
    assert hours(spring) == [5, 6, 6, 6]
    autumn = edges(at("2026-10-25", "Europe/Berlin"), at("2026-10-26", "Europe/Berlin"), "2h", "Europe/Berlin")
    assert hours(autumn) == [2, 3, *[2] * 10]
    assert len(edges(at("2026-10-25", "Europe/Berlin"), at("2026-10-26", "Europe/Berlin"), "1h", "Europe/Berlin")) == 26
    assert len(edges(at("2026-03-29", "Europe/Berlin"), at("2026-03-30", "Europe/Berlin"), "1h", "Europe/Berlin")) == 24


def test_a_clock_change_of_half_an_hour_makes_one_hour_half_as_long_again() -> None:
    night = at("2026-04-05", "Australia/Lord_Howe")
    assert hours(edges(night, night + 4 * 3600, "1h", "Australia/Lord_Howe")) == [1, 1.5, 1, 1]
    assert set(hours(edges(night, night + 4 * 3600, "30m", "Australia/Lord_Howe"))) == {0.5}
    spring = at("2026-10-04", "Australia/Lord_Howe")
    assert hours(edges(spring, spring + 4 * 3600, "1h", "Australia/Lord_Howe")) == [1, 1, 0.5, 1, 1]


def test_buckets_that_do_not_divide_a_day_start_again_at_midnight() -> None:
    midnight = at("2026-01-05", "Asia/Kathmandu")
    cuts = edges(midnight - 600, midnight + 600, "7m", "Asia/Kathmandu")
    assert [edge - midnight for edge in cuts] == [-720, -300, 0, 420, 840]


def test_hours_continue_where_a_day_is_left_out() -> None:
    cuts = edges(at("2011-12-30T04:00"), at("2011-12-30T16:00"), "6h", "Pacific/Apia")
    assert local_times(cuts, "Pacific/Apia") == ["18:00", "00:00", "06:00"]
    assert hours(cuts) == [6, 6]


def test_a_day_has_23_24_or_25_hours() -> None:
    spring = edges(at("2026-03-28", "Europe/Berlin"), at("2026-03-31", "Europe/Berlin"), "1d", "Europe/Berlin")
    assert hours(spring) == [24, 23, 24]
    autumn = edges(at("2026-10-24", "Europe/Berlin"), at("2026-10-27", "Europe/Berlin"), "1d", "Europe/Berlin")
    assert hours(autumn) == [24, 25, 24]
    assert hours(edges(at("2026-04-05"), at("2026-04-05") + 1, "1d", "Australia/Lord_Howe")) == [24.5]


def test_the_second_midnight_of_a_day_belongs_to_the_day_that_began_at_the_first() -> None:
    # Havana, 2024-11-03: at 01:00 the clocks go back to 00:00
    second = at("2024-11-03T05:30")
    assert datetime.fromtimestamp(second, ZoneInfo("America/Havana")).fold == 1
    assert edges(second, second + 60, "1d", "America/Havana") == [at("2024-11-03T04:00"), at("2024-11-04T05:00")]


def test_a_day_that_a_time_zone_skipped_has_no_bucket() -> None:
    cuts = edges(at("2011-12-29T12:00"), at("2012-01-01T00:00"), "1d", "Pacific/Apia")
    days = [datetime.fromtimestamp(edge, ZoneInfo("Pacific/Apia")).day for edge in cuts]
    assert days == [29, 31, 1, 2]
    assert hours(cuts) == [24, 24, 24]


@pytest.mark.parametrize(
    ("name", "midnight"), [("Asia/Kolkata", "18:30"), ("Asia/Kathmandu", "18:15"), ("UTC", "00:00")]
)
def test_odd_offsets_move_days_and_hours(name: str, midnight: str) -> None:
    start = at(f"2026-01-05T{midnight}")
    assert edges(start, start + 86_400, "1d", name) == [start, start + 86_400]
    assert edges(start + 1, start + 3600, "1h", name) == [start, start + 3600]


def test_weeks_begin_on_monday_and_several_of_them_at_the_same_edges_for_every_query() -> None:
    week = edges(at("2026-01-01"), at("2026-01-02"), "1w", "UTC")
    assert week == [at("2025-12-29"), at("2026-01-05")]
    one, other = (
        edges(at("2026-01-01"), at("2026-03-01"), "2w", "UTC"),
        edges(at("2026-01-20"), at("2026-03-01"), "2w", "UTC"),
    )
    assert set(other) <= set(one)


def test_months_and_years_have_their_lengths() -> None:
    months = edges(at("2024-01-15"), at("2024-05-02"), "1mo", "UTC")
    assert [hour / 24 for hour in hours(months)] == [31, 29, 31, 30, 31]
    years = edges(at("2023-06-01"), at("2025-01-01"), "1y", "UTC")
    assert [hour / 24 for hour in hours(years)] == [365, 366]
    assert hours(edges(at("2023-06-01"), at("2023-06-02"), "10y", "UTC"))[0] / 24 == 3653


@pytest.mark.parametrize("bucket", ["1s", "1h", "1d", "1w", "1mo", "1y"])
def test_1970_and_before_and_the_far_future_have_buckets(bucket: str) -> None:
    for start in (0.0, -1e9, at("2400-02-29"), at("9990-01-01")):
        cuts = edges(start, start + 10, bucket, "Europe/Berlin")
        assert cuts[0] <= start < start + 10 <= cuts[-1]


def test_an_empty_query_has_no_more_than_one_bucket() -> None:
    assert len(edges(100.0, 100.0, "1h", "UTC")) <= 2
    assert len(edges(200.0, 100.0, "1h", "UTC")) <= 2


@pytest.mark.parametrize("start", [1e12, -1e12, 1e300, float("nan"), float("inf"), float("-inf")])
def test_times_out_of_reach_are_refused(start: float) -> None:
    for bucket in ("1h", "1d", "1mo", "1y", "auto", "9999999y"):
        with pytest.raises(BucketError):
            edges(start, start + 1, bucket, "Europe/Berlin")


def test_too_many_buckets_are_refused_with_a_length_that_fits() -> None:
    assert len(edges(0, MOST_BUCKETS, "1s", "UTC")) == MOST_BUCKETS + 1
    with pytest.raises(BucketError, match="10s would fit"):
        edges(0, 7 * 86_400, "1s", "UTC")
    with pytest.raises(BucketError, match="would fit"):
        edges(0, float("inf"), "1s", "UTC")


@pytest.mark.parametrize(
    "bucket",
    [
        "",
        "0s",
        "-1h",
        "1",
        "h",
        "1.5h",
        "1H",
        " 1h",
        "1h ",
        "1h\n",
        "01h",
        "1e3s",
        "12345678s",
        "1ms",
        "1min",
        "\u0661h",
        "auto ",
        "x" * 10_000,
    ],
)
def test_a_text_that_is_not_a_bucket_is_refused_in_one_short_line(bucket: str) -> None:
    with pytest.raises(BucketError) as error:
        edges(0, 100, bucket, "UTC")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@given(st.text(max_size=30))
def test_any_text_is_a_bucket_or_a_bucket_error(bucket: str) -> None:
    assert "\n" not in refusal(lambda: edges(0, 100, bucket, "UTC"))


@given(st.text(max_size=40) | st.from_regex(r"\A[A-Za-z./_-]{0,20}\Z"))
def test_any_text_is_a_time_zone_or_a_bucket_error(name: str) -> None:
    assert "\n" not in refusal(lambda: zone(name))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Europe",
        "../../../etc/passwd",
        "/etc/localtime",
        "Europe/Berlin\0",
        "\ud800",
        "a/..b",
        "x" * 9999,
        "localtime",
        "posixrules",
        "right/UTC",
    ],
)
def test_hostile_time_zones_are_refused(name: str) -> None:
    with pytest.raises(BucketError, match="no time zone is called"):
        zone(name)


@given(start=st.floats(0, 4e9), length=st.floats(1, 3e9))
def test_automatic_buckets_make_about_500_points_and_never_many_more(start: float, length: float) -> None:
    bucket = automatic(start, start + length)
    assert bucket in AUTOMATIC + AUTOMATIC_DAYS
    made = len(edges(start, start + length, "auto", "UTC")) - 1
    assert made == len(edges(start, start + length, bucket, "UTC")) - 1
    assert made <= 600
    assert made >= 40 or bucket == "1s"


def test_a_bucket_of_utc_needs_no_zone_file() -> None:
    assert zone("UTC") is UTC
