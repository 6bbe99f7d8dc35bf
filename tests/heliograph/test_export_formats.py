import csv
import io
import json
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.export_formats import Csv, ExportColumn, ExportFormat, JsonLines, LineProtocol, LongCsv, unguarded
from heliograph.messages import Value
from heliograph.store.interface import Series

POWER = Series(1, "roof", "tracer", "pv_power", "W", "gauge")
MODE = Series(2, "roof", "tracer", "mode", "", "text")
METER = Series(3, "shed", "meter", "energy", "kWh", "counter")
RAW = [ExportColumn(POWER), ExportColumn(MODE), ExportColumn(METER)]
HOURLY = [ExportColumn(POWER, "mean"), ExportColumn(POWER, "max"), ExportColumn(METER, "delta")]
TIME = 1763596800.123


def written(kind: type[ExportFormat], columns: list[ExportColumn], *rows: tuple[float, Sequence[Value | None]]) -> str:
    table = kind(columns)
    return (table.head() + table.rows(rows)).decode()


def test_csv_has_a_line_for_each_time_and_a_column_for_each_series() -> None:
    assert written(Csv, RAW, (TIME, [812.5, "boost", None]), (TIME + 60, [None, None, 1.25])) == (
        "time,roof/tracer/pv_power,roof/tracer/mode,shed/meter/energy\r\n"
        '2025-11-20T00:00:00.123Z,812.5,"boost",\r\n'
        "2025-11-20T00:01:00.123Z,,,1.25\r\n"
    )


def test_a_text_is_in_quotes_so_that_an_empty_one_is_not_a_missing_one() -> None:
    lines = written(Csv, RAW, (TIME, [1.0, "", None]), (TIME, [1.0, None, 2]), (TIME, [1.0, "5", True])).split("\r\n")
    assert [line.partition("Z,")[2] for line in lines[1:4]] == ['1.0,"",', "1.0,,2", '1.0,"5",true']


def test_long_csv_has_a_line_for_each_value() -> None:
    assert written(LongCsv, RAW, (TIME, [812.5, "a,b", None])) == (
        "time,series,value\r\n"
        "2025-11-20T00:00:00.123Z,roof/tracer/pv_power,812.5\r\n"
        '2025-11-20T00:00:00.123Z,roof/tracer/mode,"a,b"\r\n'
    )


def test_times_in_csv_are_those_of_a_time_zone() -> None:
    table = Csv([ExportColumn(POWER)], ZoneInfo("Europe/Berlin"))
    assert table.rows([(TIME, [1.0])]) == b"2025-11-20T01:00:00.123+01:00,1.0\r\n"


def test_csv_names_the_function_of_a_column() -> None:
    assert written(Csv, HOURLY, (TIME, [1.5, 2, None])).split("\r\n") == [
        "time,roof/tracer/pv_power.mean,roof/tracer/pv_power.max,shed/meter/energy.delta",
        "2025-11-20T00:00:00.123Z,1.5,2,",
        "",
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "'=1", "'"])
def test_no_text_is_a_formula_to_a_spreadsheet_and_every_text_can_be_recovered(text: str) -> None:
    [_, row] = csv.reader(io.StringIO(written(Csv, [ExportColumn(MODE)], (TIME, [text])), newline=""))
    assert row[1] == "'" + text


def test_negative_numbers_stay_numbers() -> None:
    assert written(Csv, [ExportColumn(POWER)], (TIME, [-812.5])).endswith("Z,-812.5\r\n")


@given(
    st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=30), st.booleans(), st.floats(allow_nan=False)))
)
def test_csv_holds_every_value_exactly(rows: list[tuple[str, bool, float]]) -> None:
    text = written(Csv, RAW, *((TIME, row) for row in rows))
    parsed = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
    assert len(parsed) == len(rows)
    for (_, text, boolean, number), row in zip(parsed, rows, strict=True):
        assert (unguarded(text), boolean, float(number)) == (row[0], "true" if row[1] else "false", row[2])


def test_json_lines_have_a_line_for_each_value() -> None:
    lines = written(JsonLines, RAW, (TIME, [812.5, None, True]), (TIME, [None, '"\n', None])).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"time": TIME, "series": "roof/tracer/pv_power", "value": 812.5},
        {"time": TIME, "series": "shed/meter/energy", "value": True},
        {"time": TIME, "series": "roof/tracer/mode", "value": '"\n'},
    ]


def test_json_lines_of_buckets_have_the_functions_of_a_series_together_and_null_for_none() -> None:
    lines = written(JsonLines, HOURLY, (TIME, [1.5, 2, None])).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"time": TIME, "series": "roof/tracer/pv_power", "mean": 1.5, "max": 2},
        {"time": TIME, "series": "shed/meter/energy", "delta": None},
    ]


def test_line_protocol_has_a_line_for_each_device_and_time() -> None:
    assert written(LineProtocol, RAW, (TIME, [812, "boost", 1.25]), (TIME + 1, [None, None, True])) == (
        'tracer,node=roof pv_power=812.0,mode="boost" 1763596800123000000\n'
        "meter,node=shed energy=1.25 1763596800123000000\n"
        "meter,node=shed energy=true 1763596801123000000\n"
    )


def test_line_protocol_of_buckets_has_a_field_for_each_function_and_leaves_out_absent_values() -> None:
    assert written(LineProtocol, HOURLY, (TIME, [1.5, 2, None]), (TIME, [None, None, None])) == (
        "tracer,node=roof pv_power_mean=1.5,pv_power_max=2.0 1763596800123000000\n"
    )


def test_line_protocol_escapes_reserved_characters() -> None:
    odd = Series(1, "the roof", "a,b c=d", "x=y z", "", "text")
    assert written(LineProtocol, [ExportColumn(odd)], (0.0, ['say "a\\b"'])) == (
        'a\\,b\\ c=d,node=the\\ roof x\\=y\\ z="say \\"a\\\\b\\"" 0\n'
    )
