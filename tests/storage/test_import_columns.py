"""What a column of a CSV file is: judged by many of its cells, and never guessed."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import store
from services.storage.importers.shared.csv_columns import CellError, Column
from tests.storage.stores import command, done, everything, meanings

pytestmark = pytest.mark.slow

OPTIONS = ("--node", "x", "--device", "d")
T = 1_735_689_600  # 2025-01-01


def written(folder: Path, content: str, encoding: str = "utf-8") -> Path:
    path = folder / "in.csv"
    path.write_bytes(content.encode(encoding))
    return path


def column(folder: Path, *cells: str) -> Path:
    return written(folder, "time;v\n" + "".join(f"{T + index};{cell}\n" for index, cell in enumerate(cells)))


def test_a_forgotten_decimal_comma_is_asked_for_and_stores_nothing(tmp_path: Path) -> None:
    path = column(tmp_path, "1,5", "2,5")
    result = command("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert result.exit_code == 1
    assert "numbers with a decimal comma? --decimal-comma, or --text v if these are texts" in result.stderr
    done("import", "csv", path, *OPTIONS, "--decimal-comma", "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/v": [(T, 1.5), (T + 1, 2.5)]}


def test_a_column_of_numbers_that_is_stored_as_texts_is_refused(tmp_path: Path) -> None:
    path = column(tmp_path, "1,5", "2,5")
    done("import", "csv", path, *OPTIONS, "--text", "v", "--data", tmp_path)
    result = command("import", "csv", path, *OPTIONS, "--decimal-comma", "--data", tmp_path)
    assert result.exit_code == 1
    assert "the store has texts of v, and here it is numbers: --text v, if they are texts" in result.stderr
    result = command("import", "csv", path, *OPTIONS, "--decimal-comma", "--counter", "v", "--data", tmp_path)
    assert result.exit_code == 1
    assert "the store has texts of x/d/v, not numbers" in result.stderr
    assert everything(tmp_path) == {"x/d/v": [(T, "1,5"), (T + 1, "2,5")]}


@pytest.mark.parametrize(
    "missing", ["---", "--", "-", "#N/A", "#N/V", "n.a.", "N/A", "-nan", "NaN", "null", "unavailable", ""]
)
def test_a_word_for_a_missing_value_makes_no_column_of_texts(tmp_path: Path, missing: str) -> None:
    done("import", "csv", column(tmp_path, missing, "12.5", missing, "13.5"), *OPTIONS, "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/v": [(T + 1, 12.5), (T + 3, 13.5)]}


def test_a_column_of_mostly_numbers_is_not_one_of_texts_whatever_comes_first(tmp_path: Path) -> None:
    result = command("import", "csv", column(tmp_path, "error", "12.5", "13.5"), *OPTIONS, "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/v": [(T + 1, 12.5), (T + 2, 13.5)]}
    assert "not a number of v: 'error'" in result.stderr


@pytest.mark.parametrize(
    ("cells", "options", "says"),
    [
        (("12.5 W", "13 W"), (), "numbers with a unit"),
        (("1,234.5", "2,345.5"), (), "numbers with a unit or with groups of digits"),
        (("1.234,5", "2.345,5"), (), "--decimal-comma"),
        (("1.5", "2.5"), ("--decimal-comma",), "numbers with a decimal point? without --decimal-comma"),
    ],
)
def test_numbers_written_otherwise_are_no_texts(
    tmp_path: Path, cells: tuple[str, ...], options: tuple[str, ...], says: str
) -> None:
    result = command("import", "csv", column(tmp_path, *cells), *OPTIONS, *options, "--data", tmp_path)
    assert result.exit_code == 1
    assert says in result.stderr


@pytest.mark.parametrize("more", [(), ("--counter", "v")])
def test_a_decimal_comma_is_asked_for_whatever_is_known_of_the_channel(tmp_path: Path, more: tuple[str, ...]) -> None:
    path = column(tmp_path, "7")
    done("import", "csv", path, *OPTIONS, *more, "--data", tmp_path)
    path = column(tmp_path, "1.234", "1.235", "1.236,5")  # thousands
    result = command("import", "csv", path, *OPTIONS, *more, "--data", tmp_path)
    assert "set aside 3 times: numbers with a decimal comma? --decimal-comma" in result.stderr
    assert everything(tmp_path) == {"x/d/v": [(T, 7.0)]}


def test_one_odd_cell_spoils_no_column_of_numbers(tmp_path: Path) -> None:
    path = column(tmp_path, "1,5", "2.5", "3.5")
    result = command("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert result.exit_code == 0
    assert everything(tmp_path) == {"x/d/v": [(T + 1, 2.5), (T + 2, 3.5)]}
    assert "not a number of v (numbers with a decimal comma? --decimal-comma): '1,5'" in result.stderr


CELLS = st.sampled_from(
    ["1", "2.5", "-3", "1e3", "1,5", "1.234,5", "2,345.5", "7 W", "---", "", "n.a.", "NaN", "ERR", "on"]
)


@given(cells=st.lists(CELLS, max_size=30), comma=st.booleans(), stored=st.sampled_from([None, False]))
def test_a_column_of_mostly_numbers_is_never_one_of_texts(cells: list[str], comma: bool, stored: bool | None) -> None:
    given_cells = Column("v", is_text=None, stored_text=stored, exact=False, decimal_comma=comma)
    given_cells.judge(cells)
    numbers = [cell for cell in cells if re.match(r"-?\d", cell)]
    values = []
    for cell in cells:
        with suppress(CellError):
            values.append(given_cells.value(cell))
    words = [cell for cell in cells if cell in ("ERR", "on")]
    if stored is False or len(numbers) > len(words):
        assert not any(isinstance(value, str) for value in values)
    assert not set(values) & {1.234, 2.345, 15.0}


def test_digits_in_groups_are_thousands_where_the_comma_is_decimal(tmp_path: Path) -> None:
    path = column(tmp_path, "1.234", "12.345.678,5", "-0,5", "+3", "1,5e3")
    done("import", "csv", path, *OPTIONS, "--decimal-comma", "--data", tmp_path)
    assert [value for _, value in everything(tmp_path)["x/d/v"]] == [1234.0, 12345678.5, -0.5, 3.0, 1500.0]


def test_other_columns_are_imported_and_the_command_fails(tmp_path: Path) -> None:
    path = written(tmp_path, f"time;a;b\n{T};1,5;1\n{T + 1};2,5;2\n")
    result = command("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert result.exit_code == 1
    assert "nothing of a was imported" in result.stderr
    assert everything(tmp_path) == {"x/d/b": [(T, 1.0), (T + 1, 2.0)]}


def test_each_series_of_a_long_table_is_judged_by_itself(tmp_path: Path) -> None:
    rows = [("mode", "7"), ("v", "---"), ("mode", "auto"), ("v", "1"), ("mode", "eco"), ("v", "2"), ("c", "1,5")]
    path = written(tmp_path, "time;name;value\n" + "".join(f"{T};{name};{cell}\n" for name, cell in rows[:1]))
    path.write_text(
        "time;name;value\n" + "".join(f"{T + index};{name};{cell}\n" for index, (name, cell) in enumerate(rows))
    )
    result = command("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert everything(tmp_path) == {
        "x/d/mode": [(T, "7"), (T + 2, "auto"), (T + 4, "eco")],
        "x/d/v": [(T + 3, 1.0), (T + 5, 2.0)],
    }
    assert "nothing of c was imported" in result.stderr


def test_the_report_names_kind_and_unit_of_each_series_that_got_a_value(tmp_path: Path) -> None:
    path = written(tmp_path, f"time,mode,Power (W),energy,never\n{T},auto,1,2,\n{T + 1},eco,3,4,\n")
    output = done("import", "csv", path, *OPTIONS, "--counter", "energy", "--data", tmp_path)
    assert output.splitlines()[-3:] == ["  x/d/energy  counter", "  x/d/mode  text", "  x/d/power  gauge, W"]
    output = done("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert output.splitlines()[-1] == "  x/d/power  gauge, W (continued: the store had it before)"


def test_the_span_is_that_of_what_was_stored(tmp_path: Path) -> None:
    path = written(
        tmp_path, "time,v\n2023-05-01,1\n2023-05-02,2\n2099-05-01,3\n2105-01-01,4\n1999-01-01,5\n45658.0,6\n"
    )
    result = command("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert "2 readings of 1 series" in result.stdout
    assert "from 2023-05-01 00:00:00+00:00 to 2023-05-02 00:00:00+00:00" in result.stdout
    assert f"{path}:4: x/d: a time in the future: '2099-05-01 00:00:00+00:00'" in result.stderr
    assert f"{path}:5: x/d: a time in the future: '2105-01-01 00:00:00+00:00'" in result.stderr
    assert f"{path}:6: x/d: a time before 2000-01-01" in result.stderr
    assert "set aside 2 times: a time in the future" in result.stderr
    assert "set aside 1 times: a time before 2000-01-01, which is the earliest that is stored" in result.stderr
    assert "set aside 1 times: a day as spreadsheets count them" in result.stderr


def test_a_whole_number_with_more_digits_than_a_store_keeps_is_counted(tmp_path: Path) -> None:
    path = written(tmp_path, f"time,v\n{T},9007199254740993\n{T + 1},9007199254740992\n")
    result = command("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert "1 whole numbers beyond 2^53 were rounded" in result.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--counter", "energi"), "there was no value of a channel 'energi'; there are: energy"),
        (("--unit", "enery=kWh"), "there was no value of a channel 'enery'"),
        (("--column", "Energie=energy"), "no column and no series is called 'Energie'"),
    ],
)
def test_an_option_that_names_nothing_is_an_error(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    path = written(tmp_path, f"time,energy\n{T},1\n")
    result = command("import", "csv", path, *OPTIONS, *options, "--data", tmp_path)
    assert result.exit_code == 1
    assert says in result.stderr


@pytest.mark.parametrize("option", [("--counter", "energi"), ("--unit", "enery=kWh")])
def test_an_option_that_names_no_channel_stops_an_import_before_anything_is_stored(
    tmp_path: Path, option: tuple[str, str]
) -> None:
    path = written(tmp_path, f"time,energy\n{T},1\n")
    assert "nothing was imported" in command("import", "csv", path, *OPTIONS, *option, "--data", tmp_path).stderr
    assert not store.folder(tmp_path).exists()
    done("import", "csv", path, *OPTIONS, "--counter", "energy", "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/energy": [(T, 1.0)]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "utf-32"])
def test_a_file_with_a_mark_is_read_as_it_says(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    path = written(tmp_path, f"{mark}time,Außen (°C)\r\n{T},1.5\r\n{T + 1},2.5\r\n", encoding)
    done("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/aussen": [(T, 1.5), (T + 1, 2.5)]}
    assert meanings(tmp_path)["x/d/aussen"][0] == "°C"


def test_a_file_of_windows_needs_its_encoding_and_keeps_the_unit(tmp_path: Path) -> None:
    path = written(tmp_path, f"time;Außentemperatur (°C)\r\n{T};1.5\r\n", "cp1252")
    result = command("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert result.exit_code == 1
    assert "not utf-8: give --encoding, which is cp1252 for most files of Windows" in result.stderr
    done("import", "csv", path, *OPTIONS, "--encoding", "cp1252", "--data", tmp_path)
    assert meanings(tmp_path) == {"x/d/aussentemperatur": ("°C", "gauge", 0.0)}
    assert command("import", "csv", path, "--encoding", "cp12", "--data", tmp_path).exit_code == 2


def test_a_first_line_with_the_delimiter_is_read_as_spreadsheets_do(tmp_path: Path) -> None:
    path = written(tmp_path, f"sep=;\r\nDatum;v\r\n{T};1,5\r\n")
    done("import", "csv", path, *OPTIONS, "--decimal-comma", "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/v": [(T, 1.5)]}


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("Datum;Zeit;v", "01.01.2025;00:05;1"),
        ("Date;Time;v", "01.01.2025;00:05;1"),
        ("date;v;time", "01.01.2025 00:05;1;00:05:00.1"),
        ("Zeit;v", "01.01.2025 00:05;1"),
    ],
)
def test_date_and_time_of_day_may_have_a_column_each(tmp_path: Path, head: str, row: str) -> None:
    path = written(tmp_path, f"{head}\n{row}\n")
    done("import", "csv", path, *OPTIONS, "--time-format", "%d.%m.%Y %H:%M", "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/v": [(T + 300, 1.0)]}


# What Emoncms 11.16.8 answers to feed/data.json?csv=1 with timeformat=unix, excel, iso8601 (feed/csvexport.json too).
EMONCMS = [
    ("1735689900,-5.10", ()),
    ("01/01/2025 00:05:00,-5.10", ("--time-format", "%d/%m/%Y %H:%M:%S")),
    ("2025-01-01T01:05:00+01:00,-5.10", ()),
]


@pytest.mark.parametrize(("row", "options"), EMONCMS)
def test_a_first_line_of_values_is_no_header(tmp_path: Path, row: str, options: tuple[str, ...]) -> None:
    path = written(tmp_path, f"{row}\n{row.replace('05:00', '06:00').replace('689900', '689960')}\n")
    for more in ((), ("--time", row.split(",")[0])):
        result = command("import", "csv", path, *OPTIONS, *options, *more, "--data", tmp_path)
        assert result.exit_code == 1
        assert "the first line has values, not names of columns: name them, --header time,NAME" in result.stderr
    done("import", "csv", path, *OPTIONS, *options, "--header", "time,power", "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/power": [(T + 300, -5.1), (T + 360, -5.1)]}


def test_a_line_of_numbers_is_no_header_whatever_option_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, "0,-5.10\n10,-5.20\n")
    result = command("import", "csv", path, *OPTIONS, "--time", "0", "--data", tmp_path)
    assert result.exit_code == 1
    assert "the first line has values" in result.stderr


def test_null_of_an_export_of_several_feeds_is_a_missing_value(tmp_path: Path) -> None:
    path = written(tmp_path, f"{T},null,1\n{T + 10},2,null\n")
    done("import", "csv", path, *OPTIONS, "--header", "time,a,b", "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/a": [(T + 10, 2.0)], "x/d/b": [(T, 1.0)]}
