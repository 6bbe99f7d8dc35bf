import gzip
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.messages import Value
from services.storage.line_points import Naming, reading
from services.storage.line_protocol import LineError, Point, parse, written
from tests.storage.stores import command, done, everything

T = 1_763_633_000
NAMES = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8
).filter(lambda name: not name.endswith("\\") and name == name.strip(" ") and not name.startswith(("#", '"')))
STRINGS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
FIELDS = st.dictionaries(NAMES, st.booleans() | STRINGS | st.floats(allow_nan=False, allow_infinity=False), min_size=1)


def test_every_kind_of_value_and_every_escape_is_read() -> None:
    line = r'a\,b\ c=d,t\ 1=v\=2,t\,2=x\\y f\ x=1i,g="a\"b\\c\n, =",h=t,i=-1.5e-3,j=7u,k=F -12'
    assert parse(line) == Point(
        "a,b c=d",
        {"t 1": "v=2", "t,2": r"x\\y"},
        {"f x": 1, "g": 'a"b\\c\\n, =', "h": True, "i": -0.0015, "j": 7, "k": False},
        -12,
    )


@pytest.mark.parametrize("line", ["", "   ", "# a comment", "\n"])
def test_empty_lines_and_comments_are_nothing(line: str) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "m",
        "m 5",
        "m f",
        "m f= 5",
        "m,t= f=1",
        "m,t f=1",
        "m f=1, 5",
        "m f=1 5 6",
        "m f=1 five",
        'm f="x',
        'm f="x"y 5',
        'm f="x\\" 5',
        "m f=nan 5",
        "m f=inf",
        "m f=1i5",
        "m f=0x10",
        "m f=1_0",
        "m f=tRUE",
        "m f=99999999999999999999i",
        "m f=99999999999999999999u",
        "m f=1,,g=2",
        ",t=1 f=1",
        "m f=1 " + "9" * 40,
        "m,a=b\\ f=1 5",
    ],
)
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(LineError):
        parse(line)


@given(NAMES, st.dictionaries(NAMES, NAMES), FIELDS, st.integers(-(10**18), 10**18))
def test_what_is_written_is_read_again(
    measurement: str, tags: dict[str, str], fields: dict[str, Value], time: int
) -> None:
    assert parse(written(measurement, tags, fields, time)) == Point(measurement, tags, fields, time)


@given(st.text(alphabet='m,= \\"ti1.u#é\t', max_size=40))
def test_noise_is_read_or_refused(line: str) -> None:
    try:
        point = parse(line)
    except LineError:
        return
    assert point is None or point.fields


def test_lines_made_to_be_slow_are_not() -> None:
    for unit in ("\\,a=", "\\,", '\\"', "\\", ",a\\=b", "1"):
        for head in ("m", "m,", "m f=", 'm f="', "m f=1 "):
            with pytest.raises(LineError):
                parse(head + unit * 15_000 + "\\ ")


def point(line: str) -> Point:
    found = parse(line)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("line", "naming", "expected"),
    [
        ("meter,node=roof power=1 5", Naming(), ("roof", "meter", ("power",), [5e-9, 1.0])),
        ("m,node=roof,device=meter P=1 5", Naming(precision="s"), ("roof", "meter", ("p",), [5.0, 1.0])),
        ("cpu,host=a\\ b,cpu=0 idle=1 5", Naming(node="n"), ("n", "cpu_a_b_0", ("idle",), [5e-9, 1.0])),
        ("cpu,host=a idle=1 5", Naming(node="n", device="d"), ("n", "d", ("idle",), [5e-9, 1.0])),
        ("cpu,host=Az idle=1 5", Naming(node="n", device_tag="host"), ("n", "az", ("idle",), [5e-9, 1.0])),
        (
            'W,entity_id=Kettle value=1,icon="x" 5',
            Naming(node="n", device="ha", channel_tag="entity_id", fields=frozenset({"value"})),
            ("n", "ha", ("kettle",), [5e-9, 1.0]),
        ),
    ],
)
def test_a_line_finds_its_series(line: str, naming: Naming, expected: object) -> None:
    assert reading(point(line), naming) == expected


@pytest.mark.parametrize(
    ("line", "naming"),
    [
        ("m f=1 5", Naming()),
        ("m f=1", Naming(node="n")),
        ("m,node=Roof f=1 5", Naming()),
        ("m f=1,F=2 5", Naming(node="n")),
        ("m f=1 5", Naming(node="n", device_tag="host")),
        ("é f=1 5", Naming(node="n")),
    ],
)
def test_a_line_without_names_or_a_time_is_refused(line: str, naming: Naming) -> None:
    with pytest.raises(ValueError, match=r"node|time|become|tag|leaves"):
        reading(point(line), naming)


def test_an_export_of_influxdb_is_imported_and_its_bad_lines_are_counted(tmp_path: Path) -> None:
    lines = [
        "# DDL",
        "CREATE DATABASE solar WITH NAME autogen",
        "# DML",
        "# CONTEXT-DATABASE:solar",
        f'meter,host=pi power=1.5,on=true,mode="auto" {T}000000000',
        f"meter,host=pi power=2i {T + 1}000000000",
        f"meter,host=pi power=2.5 {T}000000000",
        f"meter,host=shed power=9 {T}000000000",
        "broken",
        "meter,host=pi power=3",
        'meter,host=pi power="high" 1763633009000000000',
    ]
    path = tmp_path / "export.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    result = command("import", "line", path, "--data", tmp_path, "--node", "house")
    assert result.exit_code == 0, result.output
    assert everything(tmp_path) == {
        "house/meter_pi/power": [(T, 2.5), (T + 1, 2.0)],
        "house/meter_pi/on": [(T, True)],
        "house/meter_pi/mode": [(T, "auto")],
        "house/meter_shed/power": [(T, 9.0)],
    }
    assert "set aside 1 times: a line without fields" in result.stderr
    assert "set aside 1 times: a line without a time" in result.stderr
    assert "set aside 1 times: not a value of kind gauge" in result.stderr


def test_a_damaged_compressed_file_gives_what_it_still_has(tmp_path: Path) -> None:
    generator = random.Random(1)
    lines = "".join(f"m power={generator.random()} {T + i}\n" for i in range(20_000))
    path = tmp_path / "export.gz"
    path.write_bytes(gzip.compress(lines.encode())[:-20_000])
    result = command("import", "line", path, "--data", tmp_path, "--node", "n", "--precision", "s")
    assert result.exit_code == 0
    assert "the compressed file is damaged from here on" in result.stderr
    assert 1_000 < len(everything(tmp_path)["n/m/power"]) < 20_000


def test_a_file_without_line_ends_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(b"x" * 1_000_000 + b"\n" + f"m power=1 {T}\n".encode())
    assert "readings of 1 series" in done("import", "line", path, "--data", tmp_path, "--node", "n", "--precision", "s")
