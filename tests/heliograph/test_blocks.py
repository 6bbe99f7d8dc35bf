import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.store_codec import DAY, MONTH, harder, meter, times
from heliograph.errors import StoreDamaged
from heliograph.store import blocks, plain_blocks
from heliograph.store.blocks import BlockDamaged

KERNELS = [plain_blocks, *({blocks.kernel} - {plain_blocks})]
FORMAT = Path(__file__).parents[2] / "docs" / "store-format.md"
NAN_WITH_A_MESSAGE = struct.unpack("<d", bytes.fromhex("efbeadde0000f87f"))[0]

meter_day, harder_day, times_day = cache(partial(meter, 1)), cache(partial(harder, 1)), cache(partial(times, 1))

any_int = st.integers(-(2**63), 2**63 - 1)
any_float = st.floats(allow_nan=True) | st.sampled_from([-0.0, 0.0, 5e-324, 1e15, 1e308, NAN_WITH_A_MESSAGE])
decimal = st.builds(lambda number, digits: number / 10**digits, st.integers(-(10**15), 10**15), st.integers(0, 7))
float_columns = st.lists(any_float) | st.lists(decimal) | st.lists(st.sampled_from([1 / 3, -0.0, 21.5]), max_size=99)
int_columns = (
    st.lists(any_int)
    | st.lists(st.integers(-5, 5), max_size=99)
    | st.builds(
        lambda start, step, n: list(range(start, start + step * n, step)),
        any_int,
        st.integers(1, 9),
        st.integers(0, 99),
    )
).filter(lambda numbers: not numbers or max(numbers) < 2**63)


@contextmanager
def using(kernel: ModuleType) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "kernel", kernel)
        yield


def float_block(values: Sequence[float]) -> bytes:
    """The block of these values; every kernel writes the same and reads back the same bits."""
    written = set()
    for kernel in KERNELS:
        with using(kernel):
            written.add(blocks.encode_floats(values))
    (block,) = written
    for kernel in KERNELS:
        with using(kernel):
            assert blocks.decode_floats(block).tobytes() == array("d", values).tobytes()
    return block


def int_block(values: Sequence[int]) -> bytes:
    written = set()
    for kernel in KERNELS:
        with using(kernel):
            written.add(blocks.encode_ints(values))
    (block,) = written
    for kernel in KERNELS:
        with using(kernel):
            assert blocks.decode_ints(block).tobytes() == array("q", values).tobytes()
    return block


def sealed(code: int, mode: int, width: int, n: int, base: int, payload: bytes = b"") -> bytes:
    body = struct.pack("<BBBIq", code, mode, width, n, base) + payload
    return body + struct.pack("<I", zlib.crc32(body))


def deflated(planes: bytes) -> bytes:
    return zlib.compress(planes, 6, -15)


@given(float_columns)
def test_floats_come_back_to_the_bit_from_either_kernel(values: list[float]) -> None:
    float_block(values)


@given(int_columns)
def test_integers_come_back_from_either_kernel(values: list[int]) -> None:
    int_block(values)


def test_a_day_of_typical_values_and_times_comes_back() -> None:
    for values in (*meter_day().values(), *harder_day().values()):
        float_block(values)
    for times_of_a_day in times_day().values():
        int_block(times_of_a_day)


@pytest.mark.parametrize(
    ("values", "code", "mode"),
    [
        ([], 0, blocks.CONSTANT),
        ([21.5] * 9, 1, blocks.CONSTANT),
        ([1 / 3] * 9, blocks.RAW, blocks.CONSTANT),
        ([float("nan")] * 9, blocks.RAW, blocks.CONSTANT),
        ([3.0, 1.0, 4.0, 1.0, 5.0, 9.0] * 9, 0, blocks.OFFSET),
        ([0.000001, 0.5], 6, blocks.DELTA),
        ([1e14 + number for number in range(500)], 0, blocks.DELTA),
        ([number * number / 10 for number in range(500)], 1, blocks.DELTA_OF_DELTA),
        ([0.0, -0.0] * 99, blocks.DICTIONARY, blocks.OFFSET),
        ([1e15, 1.0], blocks.RAW, blocks.OFFSET),
        ([0.0000001, 1.0], blocks.RAW, blocks.OFFSET),
        ([21.5, float("nan")] * 99, blocks.DICTIONARY, blocks.OFFSET),
        ([21.5, float("inf"), -21.5], blocks.RAW, blocks.OFFSET),
    ],
)
def test_the_code_and_the_mode_suit_the_values(values: list[float], code: int, mode: int) -> None:
    assert tuple(float_block(values)[:2]) == (code, mode)


def test_one_odd_value_that_the_probe_does_not_see_is_not_lost() -> None:
    values = [round(number * 0.1, 1) for number in range(1000)]
    values[501] = 1 / 3
    assert float_block(values)[0] == blocks.RAW


def test_time_axes_are_deltas_of_deltas_unless_they_are_a_grid() -> None:
    assert int_block(times_day()["times, jitter 60 ms"])[1] == blocks.DELTA_OF_DELTA
    assert len(int_block(times_day()["times, grid"])) < 120
    assert len(int_block([3] * DAY)) == 19


def test_a_day_of_a_meter_takes_the_bytes_it_should() -> None:
    assert sum(len(blocks.encode_floats(values)) for values in meter_day().values()) < 0.60 * len(meter_day()) * DAY
    assert (
        sum(len(blocks.encode_floats(values[:MONTH])) for values in meter_day().values())
        < 0.60 * len(meter_day()) * MONTH
    )


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("1 decimal, sd 5", 1.1),
        ("2 decimals, sd 1", 1.25),
        ("3 decimals, sd 1", 1.7),
        ("float32, 7 digits", 2.5),
        ("float32, widened", 3.0),
        ("ADC counts", 0.9),
        ("float64", 6.5),
        ("1 % odd", 1.25),
    ],
)
def test_harder_values_take_no_more_bytes_each(name: str, most: float) -> None:
    assert len(blocks.encode_floats(harder_day()[name])) < most * DAY


@pytest.mark.parametrize(
    ("name", "most"),
    [("times, grid", 0.01), ("times, 0.05 % missing", 0.02), ("times, jitter 60 ms", 1.0), ("arrivals, 1 in 5", 0.4)],
)
def test_times_and_arrivals_take_no_more_bytes_each(name: str, most: float) -> None:
    assert len(blocks.encode_ints(times_day()[name])) < most * DAY


def test_the_mode_of_a_long_column_is_nearly_the_best_one() -> None:
    written = best = 0
    for values in meter(2).values():
        block = blocks.encode_floats(values)
        numbers = [round(value * 10 ** block[0]) for value in values]
        planes = [plain_blocks.pack(numbers, mode, min(numbers), max(numbers))[2] for mode in range(3)]
        written += len(block)
        best += 19 + min(len(deflated(some)) for some in planes)
    assert written <= best * 1.01


GOOD = {
    "constant": float_block([21.5] * 9),
    "offset": float_block([3.0, 1.0, 4.0, 1.0, 5.0, 9.0] * 9),
    "delta": float_block([1e9 + number for number in range(70)]),
    "dictionary": float_block([1 / 3, -0.0, 21.5] * 30),
    "raw": float_block([1 / number for number in range(1, 9)]),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("block", GOOD.values(), ids=GOOD)
def test_a_block_that_was_cut_short_or_grew_is_damaged(block: bytes, kernel: ModuleType) -> None:
    with using(kernel):
        for end in range(len(block)):
            with pytest.raises(BlockDamaged):
                blocks.decode_floats(block[:end])
            with pytest.raises(BlockDamaged):
                blocks.decode_ints(block[:end])
        for more in (b"\0", block):
            with pytest.raises(BlockDamaged):
                blocks.decode_floats(block + more)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("block", GOOD.values(), ids=GOOD)
def test_a_block_with_one_flipped_bit_is_damaged(block: bytes, kernel: ModuleType) -> None:
    with using(kernel):
        for bit in range(len(block) * 8):
            flipped = bytearray(block)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(BlockDamaged):
                blocks.decode_floats(bytes(flipped))


def read(block: bytes, kernel: ModuleType) -> tuple[bytes | None, bytes | None]:
    decoded: list[bytes | None] = []
    with using(kernel):
        for decode in (blocks.decode_floats, blocks.decode_ints):
            try:
                decoded.append(decode(block).tobytes())
            except BlockDamaged:
                decoded.append(None)
    return decoded[0], decoded[1]


@given(
    st.sampled_from([*range(8), 253, 254, 255]),
    st.sampled_from([0, 1, 2, 3, 255]),
    st.integers(0, 9),
    st.integers(0, 20),
    st.integers(0, 20) | any_int,
    st.data(),
)
def test_bytes_with_the_checksum_of_a_block_are_decoded_alike_or_damaged(
    code: int, mode: int, width: int, n: int, base: int, data: st.DataObject
) -> None:
    size = n * width + (base * 8 if code == 254 and 0 <= base <= n else 0) - (width if mode in (1, 2) and n else 0)
    planes = data.draw(st.binary(min_size=size, max_size=size) | st.binary(max_size=30))
    payload = data.draw(st.sampled_from([deflated(planes), planes, b"", deflated(planes) + b"\0"]))
    block = sealed(code, mode, width, n, base, payload)
    assert len({read(block, kernel) for kernel in KERNELS}) == 1


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_damaged_block(data: bytes) -> None:
    assert {read(data, kernel) for kernel in KERNELS} == {(None, None)}


@pytest.mark.parametrize(
    "block",
    [
        sealed(0, 255, 0, blocks.MOST_VALUES + 1, 0),
        sealed(0, 255, 0, 2**32 - 1, 0),
        sealed(0, 255, 0, 1, 0, b"\0"),
        sealed(7, 255, 0, 1, 0),
        sealed(254, 255, 0, 1, 0),
        sealed(0, 0, 1, 3, 0, deflated(b"12")),
        sealed(0, 0, 1, 3, 0, deflated(b"123")[:-1]),
        sealed(254, 0, 1, 2, 2, deflated(bytes(16) + b"\0\2")),
        sealed(254, 0, 1, 2, 0, deflated(b"\0\0")),
        sealed(255, 0, 7, 2, 0, deflated(bytes(14))),
    ],
)
def test_an_inconsistent_block_is_damaged(block: bytes) -> None:
    assert {read(block, kernel) for kernel in KERNELS} == {(None, None)}


def test_a_payload_that_inflates_too_far_is_damaged_before_it_takes_memory() -> None:
    bomb = sealed(0, 0, 1, 10, 0, deflated(bytes(50_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(BlockDamaged):
            blocks.decode_floats(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_damaged_block_is_a_damaged_store() -> None:
    assert issubclass(BlockDamaged, StoreDamaged)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_invalid_column_is_refused(kernel: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "kernel", kernel)
    fractions: list[Any] = [1.5]
    with pytest.raises(OverflowError):
        blocks.encode_ints([2**63])
    with pytest.raises(TypeError):
        blocks.encode_ints(fractions)
    monkeypatch.setattr(blocks, "MOST_VALUES", 3)
    with pytest.raises(ValueError, match="4 values are too many"):
        blocks.encode_floats([1, 2, 3, 4])


def test_a_kernel_takes_the_vectors_of_the_other_one_and_any_iterable() -> None:
    for kernel in KERNELS:
        floats, ints = kernel.floats([1.5, 2]), kernel.ints(range(3))
        for other in KERNELS:
            assert other.floats(floats).tolist() == other.floats(iter((1.5, 2.0))).tolist() == [1.5, 2.0]
            assert other.ints(ints).tolist() == other.ints(iter(range(3))).tolist() == [0, 1, 2]


def test_numpy_is_used_where_it_is() -> None:
    assert (blocks.kernel is not plain_blocks) == (find_spec("numpy") is not None)


def test_blocks_work_without_numpy() -> None:
    program = """
import sys
sys.modules["numpy"] = None
from heliograph.store import blocks
assert blocks.kernel.__name__ == "heliograph.store.plain_blocks"
sys.stdout.write(blocks.encode_floats([21.5, 21.6, 21.4]).hex())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == blocks.encode_floats([21.5, 21.6, 21.4]).hex()


def test_the_example_of_the_documentation_is_a_block() -> None:
    section = FORMAT.read_text().split("## Blocks\n")[1].split("\n## ")[0]
    table = re.findall(r"^([0-9a-f]{2}(?: [0-9a-f]{2})*)  +\S", section, re.MULTILINE)
    assert len(table) == 7
    assert blocks.decode_floats(bytes.fromhex(" ".join(table))).tolist() == [21.5, 21.6, 21.4, 21.5]
