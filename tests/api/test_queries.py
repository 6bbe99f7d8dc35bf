import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.store import buckets
from heliograph.store.buckets import edges
from services.api import queries
from services.api.errors import RequestRefused
from services.api.queries import Cursor, TimeRange


def test_names_are_split_at_commas_and_kept_once() -> None:
    assert queries.patterns(["a/b/c, a/b/*,", "a/b/c"]) == ["a/b/c", "a/b/*"]


def test_no_series_at_all_is_refused() -> None:
    with pytest.raises(RequestRefused, match="series is missing"):
        queries.patterns([" ,,"])


def test_a_huge_list_is_refused() -> None:
    with pytest.raises(RequestRefused, match="at most 200"):
        queries.patterns([f"a/b/c{number}" for number in range(10_000)])


def test_a_name_that_does_not_exist_is_not_found() -> None:
    with pytest.raises(RequestRefused) as refused:
        queries.select(["x/y/z"], ["a/b/c"])
    assert refused.value.status == 404


@pytest.mark.parametrize(
    "text",
    [
        "1763633000",
        "1763633000.0",
        "1.763633e9",
        "2025-11-20T10:03:20Z",
        "2025-11-20T10:03:20",
        "2025-11-20 10:03:20",
        "2025-11-20T11:03:20+01:00",
        "2025-11-20T11:03:20 01:00",  # a + that was not escaped
        "2025-11-20T11:03:20+0100",
    ],
)
def test_a_time_is_seconds_or_iso_8601(text: str) -> None:
    assert queries.time("from", text) == 1763633000.0


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "-1", "1e300", "yesterday", "2025-13-01", "0001-01-01", "9999-12-31", ""]
)
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(RequestRefused, match=r"^from="):
        queries.time("from", text)


def test_milliseconds_are_recognised() -> None:
    with pytest.raises(RequestRefused, match="seconds, not milliseconds"):
        queries.time("to", "1763633000000")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2025", 1735689600),
        ("20250328", 1743120000),
        ("20250328T000000Z", 1743120000),
        ("1743120000123", 1743120000.123),  # Grafana's ${__from}
        ("now", 1763633000),
        ("now-1h", 1763633000 - 3600),
        ("-1h", 1763633000 - 3600),
        ("now-7d", 1763633000 - 7 * 86400),
        ("-90s", 1763633000 - 90),
        ("0", 0),
    ],
)
def test_a_range_takes_dates_without_hyphens_milliseconds_and_times_relative_to_now(text: str, seconds: float) -> None:
    assert queries.time_range(text, "2026-01-01", 1763633000.0).start == seconds


@pytest.mark.parametrize("text", ["202503", "20251301", "1743120", "now-", "now+1h", "-1", "-h", "now-1y"])
def test_what_would_be_another_range_without_a_word_is_refused(text: str) -> None:
    with pytest.raises(RequestRefused, match=r"^from="):
        queries.time_range(text, "2026-01-01", 1763633000.0)


def test_without_from_and_to_it_is_the_last_day() -> None:
    assert queries.time_range(None, None, 1763633000.0) == (1763633000.0 - 86400, 1763633000.0)


@pytest.mark.parametrize(("start", "end"), [("1763633020", "1763633010"), ("1763633010", "1763633010")])
def test_from_must_be_before_to(start: str, end: str) -> None:
    with pytest.raises(RequestRefused, match="is not before"):
        queries.time_range(start, end, 0)


@pytest.mark.parametrize(
    "name", ["Mars/Phobos", "../../etc/passwd", "/etc/passwd", "Europe", "a b", "x" * 999, "\x00", "local"]
)
def test_a_bad_time_zone_is_refused(name: str) -> None:
    with pytest.raises(RequestRefused, match=r"^tz"):
        queries.zone(name)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3"])
def test_a_time_zone_is_its_name(name: str) -> None:
    assert queries.zone(name) == name


def test_functions_are_parsed_in_order() -> None:
    assert queries.functions("max, mean,max") == ["mean", "max"]
    assert queries.functions(None) == ["mean"]
    with pytest.raises(RequestRefused, match="'median' is not one of n mean min"):
        queries.functions("mean,median")


@pytest.mark.parametrize("text", ["0s", "-1h", "1", "h", "1.5h", "1H", "1e3s", "01h", "1h; drop", "auto "])
def test_what_is_no_bucket_is_refused(text: str) -> None:
    with pytest.raises(RequestRefused, match="is not a bucket"):
        queries.bucket(text)


@pytest.mark.parametrize("text", ["999999w", "9999999d", "99999999999s", "121mo", "11y", "1" * 5000 + "d"])
def test_a_bucket_of_centuries_is_refused(text: str) -> None:
    with pytest.raises(RequestRefused, match="the longest bucket in that unit"):
        queries.bucket(text)


@pytest.mark.parametrize("text", ["2mo", "3mo", "2y", "366d"])
def test_buckets_of_several_months_and_years_are_those_of_the_store(text: str) -> None:
    assert queries.bucket(text) == text
    assert len(buckets.edges(1_700_000_000, 1_800_000_000, text, "Europe/Berlin")) > 2


@pytest.mark.parametrize("text", ["1_743_120_000", "1_0", "nan", "1e400"])
def test_a_number_that_is_one_to_python_only_is_no_time(text: str) -> None:
    with pytest.raises(RequestRefused):
        queries.time("from", text)


@pytest.mark.parametrize("name", ["posixrules", "localtime", "Factory", "posix/UTC", "right/UTC"])
def test_a_file_of_the_zone_database_is_no_zone(name: str) -> None:
    with pytest.raises(RequestRefused, match="tz: no time zone is called"):
        queries.zone(name)


def test_too_many_buckets_are_refused_with_one_that_fits() -> None:
    year = TimeRange(1700000000, 1700000000 + 365 * 86400)
    with pytest.raises(RequestRefused, match="bucket=30m or longer fits") as refused:
        queries.check_bucket_count("1s", year, 1)
    assert "31536001 buckets" in refused.value.detail
    queries.check_bucket_count("30m", year, 1)


@given(
    st.sampled_from(["1s", "7s", "1m", "15m", "1h", "5h", "1d", "2d", "1w", "1mo", "3mo", "1y", "2y"]),
    st.floats(0, 4e9),
    st.floats(1, 1e9),
    st.integers(1, 200),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
)
def test_what_is_allowed_has_no_more_buckets_than_the_limit(
    bucket: str, start: float, length: float, series: int, tz: str
) -> None:
    asked = TimeRange(start, min(start + length, queries.LATEST))
    try:
        queries.check_bucket_count(bucket, asked, series)
    except RequestRefused:
        return
    # One more where the first begins early, one more around a change of the clock; a day cuts off what does not divide it.
    days = (asked.end - asked.start) / 86_400 + 2
    assert (
        len(edges(*asked, bucket, tz)) - 3 - days * (86_400 % queries.length(bucket) > 0)
    ) * series <= queries.CELL_LIMIT


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "abc", "100001", "9" * 40])
def test_a_page_of_no_sensible_length_is_refused(text: str) -> None:
    with pytest.raises(RequestRefused, match="limit="):
        queries.limit(text)


@given(st.floats(0, 1e10) | st.none())
def test_a_cursor_comes_back_as_it_went(after: float | None) -> None:
    assert queries.cursor(str(Cursor("a/b/c", after))) == ("a/b/c", after)


@pytest.mark.parametrize("text", ["x", "a/b/c", "a/b@1", "a/b/c@soon", "a/b/c@nan", "@", "a/b/c@inf"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(RequestRefused, match="is not a cursor"):
        queries.cursor(text)
