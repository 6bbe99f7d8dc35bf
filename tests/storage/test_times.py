from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from services.storage.importers.shared.times import TimeParser

BERLIN = ZoneInfo("Europe/Berlin")
MOMENT = 1_763_633_000.123


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("auto", "1763633000.123"),
        ("auto", "1763633000123"),
        ("auto", "1763633000123000"),
        ("auto", "1763633000123000000"),
        ("auto", "2025-11-20T10:03:20.123Z"),
        ("auto", "2025-11-20 11:03:20.123+01:00"),
        ("auto", "2025-11-20 11:03:20.123"),
        ("iso", " 20251120T110320.123 "),
        ("s", "1763633000.123"),
        ("ms", "1763633000123"),
        ("us", "1763633000123000"),
        ("ns", "1763633000123000000"),
        ("%d.%m.%Y %H:%M:%S.%f", "20.11.2025 11:03:20.123"),
        ("%d.%m.%Y %H:%M:%S.%f %z", "20.11.2025 10:03:20.123 +0000"),
    ],
)
def test_a_time_is_understood_however_it_is_written(form: str, text: str) -> None:
    assert TimeParser(form, BERLIN).only(text) == pytest.approx(MOMENT, abs=1e-6)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("auto", ""),
        ("auto", "yesterday"),
        ("auto", "nan"),
        ("auto", "1e9"),
        ("auto", "0001-01-01"),
        ("auto", "9999-12-31T23:59:59"),
        ("ms", "2025-11-20"),
        ("s", "inf"),
        ("s", "9" * 30),
        ("%d.%m.%Y", "31.02.2025"),
        ("auto", "1" * 5000),
    ],
)
def test_other_texts_raise_a_value_error_or_are_far_from_the_times_of_a_store(form: str, text: str) -> None:
    try:
        seconds = TimeParser(form, BERLIN).only(text)
    except ValueError:
        return
    assert not 946_684_800 <= seconds <= 4_102_444_800


@pytest.mark.parametrize("text", ["45658.0", "45658", "45658.5"])
def test_a_day_of_a_spreadsheet_is_no_time_and_the_error_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="spreadsheets count"):
        TimeParser("auto", BERLIN).moment(text)


def test_a_time_that_stands_alone_in_the_hour_that_comes_twice_needs_its_offset() -> None:
    times = TimeParser("auto", BERLIN)
    assert times.moment("2025-10-26 02:30") == (1_761_438_600, 1_761_442_200)
    with pytest.raises(ValueError, match=r"2025-10-26 02:30\+02:00 or 2025-10-26 02:30\+01:00"):
        times.only("2025-10-26 02:30")
    assert times.only("2025-10-26 02:30+01:00") == 1_761_442_200


def test_an_hour_that_the_clocks_left_out_is_still_a_time() -> None:
    assert TimeParser("auto", BERLIN).only("2025-03-30 02:30") == datetime(2025, 3, 30, 1, 30, tzinfo=UTC).timestamp()
