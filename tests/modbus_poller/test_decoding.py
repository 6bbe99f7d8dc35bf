import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.modbus_poller import decoding, encoding
from services.modbus_poller.models import Header, Model, Register


def model(device_order: Any = "ABCD", **options: Any) -> Model:
    return Model(
        Header(model="M", document="D", byte_order=device_order),
        {"x": Register(address=0, **options)},
    )


@pytest.mark.parametrize(
    ("options", "raw", "value"),
    [
        ({"scale": 0.01}, [1234], 12.34),
        ({"scale": 0.1}, [548], 54.8),
        ({"scale": 0.001}, [65535], 65.535),
        ({"scale": 10}, [7], 70),
        ({"offset": -40}, [15], -25),
        ({"scale": 0.1, "offset": -273.15}, [2981], 24.95),
        ({"type": "int16", "scale": 0.01}, [0xFC18], -10.0),
        ({"type": "uint32", "scale": 0.01}, [0x0001, 0x86A0], 1000.0),
        (
            {"type": "int32", "device_order": "CDAB", "scale": 0.01},
            [0xFF38, 0xFFFF],
            -2.0,
        ),
        ({"type": "uint64"}, [0, 0, 1, 0], 65536),
        ({"type": "float32"}, [0x449A, 0x5000], 1234.5),
        ({"type": "float32"}, [0x4366, 0x6666], 230.4),
        ({"type": "float32", "device_order": "CDAB"}, [0x6666, 0x4366], 230.4),
        ({"type": "float32", "scale": 0.001}, [0x4366, 0x6666], 0.2304),
        ({"bits": "3-2"}, [0b1000], 2),
        ({"bits": "15"}, [0x8000], True),
        ({"bits": "0"}, [0xFFFE], False),
        ({"bits": "7-4", "signed": True}, [0x00F0], -7),
        ({"bits": "7-4", "signed": True}, [0x0390], -1),
        ({"bits": "7-4", "signed": True}, [0x0F70], 7),
        ({"bits": "3-2", "texts": {"2": "boost"}}, [0b1001], "boost"),
        ({"bits": "3-2", "texts": {"2": "boost"}}, [0b1101], "code 3"),
        ({"table": "coil"}, [1], True),
        ({"table": "coil", "texts": {"0": "day", "1": "night"}}, [1], "night"),
    ],
)
def test_registers_become_the_value_a_human_would_write(options: dict[str, Any], raw: list[int], value: object) -> None:
    result = decoding.value(model(**options), "x", raw)
    assert result == value
    assert type(result) is type(value)


ORDERS = {"ABCD": [0x4366, 0x8000], "CDAB": [0x8000, 0x4366], "BADC": [0x6643, 0x0080], "DCBA": [0x0080, 0x6643]}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("where", ["device_order", "byte_order"])
def test_a_float_is_read_in_each_order_of_its_bytes(order: str, where: str) -> None:
    assert decoding.value(model(type="float32", **{where: order}), "x", ORDERS[order]) == 230.5


FORMATS = {"uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q", "int64": "q"}
FORMATS |= {"float32": "f", "float64": "d"}


@given(st.sampled_from(list(FORMATS)), st.sampled_from(list(ORDERS)), st.sampled_from(list(ORDERS)), st.data())
def test_every_type_is_read_and_written_in_every_order(
    type_name: str, order: str, device: str, data: st.DataObject
) -> None:
    """The bytes of the highest first, in pairs: each order says where each of a pair of registers goes."""
    number = data.draw(st.integers(0, 0x7FFF) if "float" not in type_name else st.integers(-999, 999)) / 1
    big = struct.pack(">" + FORMATS[type_name], number if "float" in type_name else int(number))
    pairs = [big[at : at + 2] for at in range(0, len(big), 2)]
    if order in ("BADC", "DCBA"):
        pairs = [pair[::-1] for pair in pairs]
    if order in ("CDAB", "DCBA"):
        pairs.reverse()
    raw = [int.from_bytes(pair, "big") for pair in pairs]
    it = model(device, type=type_name, byte_order=order, table="holding", writable=(-1e6, 1e6))
    assert decoding.value(it, "x", raw) == number
    assert encoding.raw(it, "x", number if "float" in type_name else int(number)) == raw


def test_parts_of_a_word_and_texts_have_the_order_of_their_device() -> None:
    assert decoding.value(model("BADC", bits="3-0"), "x", [0x0500]) == 5
    assert decoding.value(model("DCBA", texts={"258": "on"}), "x", [0x0201]) == "on"
    assert decoding.value(model("CDAB", texts={"258": "on"}), "x", [0x0102]) == "on"


@pytest.mark.parametrize("raw", [[0x7FC0, 0], [0x7F80, 0], [0xFF80, 0]])
def test_nan_is_not_a_value(raw: list[int]) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        decoding.value(model(type="float32"), "x", raw)


def digits(number: float) -> int:
    return len(Decimal(repr(number)).normalize().as_tuple().digits)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(999999995904.0)
def test_a_float32_keeps_every_bit_of_it_in_few_digits(number: float) -> None:
    raw = list(struct.unpack(">HH", struct.pack(">f", number)))
    result = decoding.value(model(type="float32"), "x", raw)
    assert isinstance(result, float)
    assert struct.pack(">f", result) == struct.pack(">f", number)
    assert digits(result) <= digits(number)


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from([1, 10, 0.1, 0.01, 0.001, 0.005]))
def test_a_scaled_integer_is_the_closest_float_to_the_exact_decimal(number: int, scale: float) -> None:
    raw = list(struct.unpack(">HH", struct.pack(">i", number)))
    result = decoding.value(model(type="int32", scale=scale), "x", raw)
    parts = round(1 / scale) if scale < 1 else 1
    assert result == (number / parts if scale < 1 else number * scale)


@given(
    st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4),
    st.sampled_from(["uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]),
    st.sampled_from(["big", "little"]),
    st.sampled_from([1, 0.01, 1e300, -3]),
)
def test_any_registers_are_a_finite_value_or_a_value_error(raw: list[int], kind: str, order: str, scale: float) -> None:
    it = model(order, type=kind, scale=scale)
    try:
        result = decoding.value(it, "x", raw[: it.registers["x"].count])
    except ValueError:
        return
    assert isinstance(result, int | float)
    assert math.isfinite(result)
