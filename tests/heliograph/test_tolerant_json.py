"""Documents with values that cannot be are read like those with null in their places; what is not JSON is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import tolerant_json

NO_VALUES = [
    *(sign + word for word in ("nan", "NAN", "NaN", "inf", "INF", "Infinity", "ovf") for sign in ("", "-", "+")),
    *("nan(ind)", "-nan(0x8)", "1e999", "-1E+400", "9" * 5000, '"\\ud800"', '"a\\uDFFFb"', "null"),
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 80), 1 << 80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(['", nan, "', "nan", ":nan,", "\\", '\\"nan', "[inf]", "😀"])
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text() | st.just("nan"), inner, max_size=5)
)


@given(document=DOCUMENTS, indent=st.sampled_from([None, 1]), is_ascii=st.booleans())
def test_json_is_what_it_is(document: Any, indent: int | None, is_ascii: bool) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=is_ascii)
    assert tolerant_json.decode(text) == document
    assert tolerant_json.decode(b"\xef\xbb\xbf" + text.encode()) == document
    assert tolerant_json.decode(f"[{text}, nan]") == [document, None]
    assert tolerant_json.decode(f'{{"nan": -inf ,"a": {text}}}'.encode()) == {"nan": None, "a": document}


@pytest.mark.parametrize("written", NO_VALUES)
def test_what_is_no_value_reads_as_null(written: str) -> None:
    assert tolerant_json.decode(written) is None
    assert tolerant_json.decode(f'{{"a":{written},"b":[1,{written}]}}') == {"a": None, "b": [1, None]}


def test_half_a_character_in_a_key_is_replaced_and_in_a_text_leaves_no_value() -> None:
    document = r'{"a\ud800": 1, "\ud83d\ude00": "\ud83d\ude00", "c": "x\ude00", "\\ud800" : "\\ud800"}'
    assert tolerant_json.decode(document) == {"a\ufffd": 1, "😀": "😀", "c": None, r"\ud800": r"\ud800"}


WRITTEN = st.recursive(
    st.sampled_from(["1", "2", '"a:b"', '"\\": \\":"', "null", "NaN", "[]", '[{"a":1}]']),
    lambda inner: st.builds(
        lambda pairs: "{" + ", ".join(f'"{key}" : {value}' for key, value in pairs) + "}",
        st.lists(st.tuples(st.sampled_from(["a", "b", "c:", "\u00e9"]), inner), max_size=4),
    ),
    max_leaves=12,
)


class Pairs(list[tuple[str, Any]]):
    """An object as it is written, with every value of every key."""


def same(one: Any, other: Any) -> bool:
    return one.__class__ is other.__class__ and bool(one == other)


def meant(written: Any) -> Any:
    if not isinstance(written, Pairs):
        return [meant(item) for item in written] if isinstance(written, list) else written
    result = {}
    for key in dict.fromkeys(key for key, _ in written):
        values = [value for name, value in written if name == key]
        if all(isinstance(value, Pairs) for value in values):
            result[key] = meant(Pairs(pair for value in values for pair in value))
        else:
            result[key] = meant(values[0]) if all(same(value, values[0]) for value in values) else None
    return result


def repeats(written: Any) -> bool:
    if isinstance(written, Pairs):
        return len(dict(written)) < len(written) or any(repeats(value) for _, value in written)
    return isinstance(written, list) and any(map(repeats, written))


@given(document=WRITTEN)
def test_a_key_that_comes_twice_has_no_value_and_all_others_have_theirs(document: str) -> None:
    pairs = json.loads(document, object_pairs_hook=Pairs, parse_constant=lambda _: None)
    expected = meant(pairs)
    assert tolerant_json.decode(document) == tolerant_json.decode(document.encode()) == expected
    if repeats(pairs):
        with pytest.raises(ValueError, match="comes twice"):
            tolerant_json.decode(document, unique=True)
    else:
        assert tolerant_json.decode(document, unique=True) == expected


def test_two_values_of_one_key_leave_none_unless_they_are_equal() -> None:
    document = '{"a": 1, "b": 2, "a": true, "c": {"d": 1, "e": 1}, "c": {"d": 1, "e": 2, "f": 3}, "t": "05:37"}'
    assert tolerant_json.decode(document) == {"a": None, "b": 2, "c": {"d": 1, "e": None, "f": 3}, "t": "05:37"}
    with pytest.raises(ValueError, match="the key 'a' comes twice"):
        tolerant_json.decode(document, unique=True)
    assert tolerant_json.decode('{"a": "\\": \\":"}', unique=True) == {"a": '": ":'}
    huge = "9" * 400
    assert tolerant_json.decode(f'{{"a": {huge}, "b": 1e999, "b": 3}}') == {"a": tolerant_json.decode(huge), "b": None}


@pytest.mark.parametrize(
    "broken",
    [
        *("", "x", "{", '{"a":nan', "{nan:1}", '{"a":nann}', '{"a":NAN "b":1}', "[nan,]", "1.2.3", "--nan", "nan nan"),
        *(
            '"nan',
            '{"a":True}',
            "'a'",
            "[1e999e]",
            "[" * 5000,
            '{"a":' * 5000 + "nan",
            '"' + '\\"' * 9,
            '"\\',
            "\ud800",
        ),
    ],
)
def test_broken_json_is_refused(broken: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        tolerant_json.decode(broken)
    with pytest.raises(ValueError, match=r"."):
        tolerant_json.decode(broken.encode("utf-8", "surrogatepass"))


@given(payload=st.binary())
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    try:
        tolerant_json.decode(payload)
    except ValueError:
        return
