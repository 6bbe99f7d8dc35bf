import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import line_protocol
from heliograph.line_protocol import LineError, LinePoint, UnfinishedLine, is_unfinished, parse
from heliograph.messages import Value

NAMES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: not name.endswith("\\") and not name.startswith("#")
)
STRINGS = st.text(st.sampled_from('ab\n\r\0",= \\') | st.characters(exclude_categories=["Cs"]), max_size=12)
FIELDS = st.dictionaries(NAMES, st.booleans() | STRINGS | st.floats(allow_nan=False, allow_infinity=False), min_size=1)


def test_every_kind_of_value_and_every_escape_is_read() -> None:
    line = r'a\,b\ c=d,t\ 1=v\=2,t\,2=x\\y f\ x=1i,g="a\"b\\c\n, =",h=t,i=-1.5e-3,j=7u,k=F -12'
    assert parse(line) == LinePoint(
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
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(LineError):
        parse(line)


@given(NAMES, st.dictionaries(NAMES, NAMES), FIELDS, st.integers(-(10**18), 10**18))
def test_a_line_is_parsed_as_it_was_written(
    measurement: str, tags: dict[str, str], fields: dict[str, Value], time: int
) -> None:
    assert parse(line_protocol.line(measurement, tags, fields, time)) == LinePoint(measurement, tags, fields, time)


def test_a_name_has_no_line_feed_and_does_not_end_with_a_backslash() -> None:
    line = line_protocol.line("a\n\\", {"b\r": "c\\"}, {"d\\\n": 1.0}, 5)
    assert parse(line) == LinePoint("a \\_", {"b ": "c\\_"}, {"d\\ ": 1.0}, 5)


@given(NAMES, st.lists(STRINGS, min_size=1, max_size=4))
def test_a_point_is_unfinished_up_to_the_line_in_which_its_last_string_ends(name: str, texts: list[str]) -> None:
    fields: dict[str, Value] = {f"{name}{number}": text for number, text in enumerate(texts)}
    first, *others = line_protocol.line("m", {}, fields, 5).split("\n")
    if others:
        with pytest.raises(UnfinishedLine):
            parse(first)
    assert [is_unfinished(f"{other}\n") for other in others] == [True] * (len(others) - 1) + [False] * bool(others)


@given(st.text(alphabet='m,= \\"ti1.u#é\t\n', max_size=40))
def test_noise_is_read_or_refused(line: str) -> None:
    try:
        point = parse(line)
    except LineError:
        return
    assert point is None or point.fields


def test_no_line_takes_long() -> None:
    for unit in ("\\,a=", "\\,", '\\"', "\\", ",a\\=b", "1"):
        for head in ("m", "m,", "m f=", 'm f="', "m f=1 "):
            with pytest.raises(LineError):
                parse(head + unit * 15_000 + "\\ ")
    for unit in ("=", "\\=", "\\", "a=", '"=', '="', '\\"', ',a="'):
        is_unfinished(unit * 15_000)


@pytest.mark.parametrize("line", ["m v=1,v=2", "m,a=1,a=1 v=1", "m,a=1,b=2,a=3 v=1 5", r"m a\ b=1,a\ b=2 5"])
def test_a_tag_or_field_that_comes_twice_is_an_error(line: str) -> None:
    with pytest.raises(LineError, match="comes twice"):
        parse(line)
    assert parse("m,a=1 a=1 5") == LinePoint("m", {"a": "1"}, {"a": 1.0}, 5)
