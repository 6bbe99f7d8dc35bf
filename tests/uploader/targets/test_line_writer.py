import re
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from heliograph.line_protocol import LinePoint, parse
from heliograph.messages import Kind, Value
from services.uploader.target import MappedChannel, Row
from services.uploader.targets.shared.line_writer import LineNames, LineWriter

NUMBERS: st.SearchStrategy[Value] = st.floats(allow_nan=False, allow_infinity=False)
VALUES: Mapping[Kind, st.SearchStrategy[Value]] = {
    "gauge": NUMBERS,
    "counter": NUMBERS,
    "state": st.booleans() | st.integers(0, 9),
    "text": st.text(max_size=9) | st.sampled_from(["a\nb", "\r\n", 'x "\n\r" y\\']),
}


@st.composite
def devices(draw: st.DrawFn) -> tuple[MappedChannel, ...]:
    device = draw(st.text("m,= \\%", min_size=1, max_size=3))
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    return tuple(
        MappedChannel("pi", device, f"{kind}{index}", "%", kind, f"n{index}") for index, kind in enumerate(kinds)
    )


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    every = draw(st.lists(devices(), min_size=1, max_size=3))
    return [
        Row(draw(st.integers(0, 10**13)) / 1000, channels, tuple(draw(VALUES[mapped.kind]) for mapped in channels))
        for channels in draw(st.lists(st.sampled_from(every), max_size=8))
    ]


@given(rows(), st.sampled_from(["${device}", "${device} ${channel}"]), st.sampled_from([(), ("*/*/gauge0",)]))
def test_a_body_is_the_lines_of_its_rows_one_after_another(
    some: list[Row], measurement: str, integers: tuple[str, ...]
) -> None:
    writer = LineWriter(LineNames(measurement, "${name}", {"node": "${node}"}, integers), 1000)
    assert parts(writer.body(some)) == parts(b"".join(line for lines in writer.write(some) for line in lines))


@given(rows())
def test_every_line_is_read_as_what_was_written(some: list[Row]) -> None:
    writer = LineWriter(LineNames("${device}", "${name}", {"node": "${node}"}, ()), 1000)
    for row, [line] in zip(some, writer.write(some), strict=True):
        device = row.channels[0].device
        values: dict[str, Value] = {
            mapped.name: re.sub(r"[\r\n]+", " ", str(value)) if mapped.kind == "text" else float(value)
            for mapped, value in zip(row.channels, row.values, strict=True)
        }
        assert line.count(b"\n") == 1
        measurement = f"{device}_" if device.endswith("\\") else device
        assert parse(line.decode()) == LinePoint(measurement, {"node": "pi"}, values, round(row.time * 1000))


def test_numbers_are_written_with_all_their_digits() -> None:
    power, energy = (MappedChannel("pi", "meter", name, "W", "gauge", name) for name in ("power", "energy"))
    writer = LineWriter(LineNames("${device}", "${name}", {}, ()), 1000)
    some = [Row(1.5, (power, energy), (0.1, 1e300)), Row(2.25, (power, energy), (-0.0, 123456789.123456789))]
    assert writer.body(some) == (
        b"meter power=0.1,energy=1e300 1500\nmeter power=-0.0,energy=123456789.12345679 2250\n"
    )


def parts(body: bytes) -> list[object]:
    """The words of lines, numbers as numbers: 1e16 may be written as 1e+16."""
    return [_number(part) for part in re.split(rb"([=, \n])", body)]


def _number(part: bytes) -> object:
    try:
        return float(part)
    except ValueError:
        return part
