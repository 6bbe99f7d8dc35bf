import struct
from pathlib import Path

import pytest

from heliograph.errors import ConfigError
from heliograph.messages import Value
from services.modbus_poller import decoding, encoding, models
from services.modbus_poller.encoding import NotWritable
from services.modbus_poller.models import Model


@pytest.fixture
def model(tmp_path: Path) -> Model:
    file = tmp_path / "device.toml"
    file.write_text(
        '[device]\nmodel = "it"\ndocument = "none"\ntable = "holding"\nbyte_order = "CDAB"\n[channels]\n'
        "limit = { address = 0, scale = 0.1, offset = -10, writable = [-10, 100] }\n"
        'power = { address = 1, type = "int32", writable = [-70000, 70000] }\n'
        'ratio = { address = 3, type = "float32", writable = [0, 1] }\n'
        'mode = { address = 5, texts = { 1 = "on", 4 = "off" }, writable = [1, 4] }\n'
        "wide = { address = 6, writable = [0, 100000] }\n"
        "seen = { address = 7 }\n"
        'relay = { address = 8, table = "coil", writable = [0, 1] }\n'
    )
    return models.load(str(file))


@pytest.mark.parametrize(
    ("channel", "value", "raw"),
    [
        ("limit", 12.3, [223]),
        ("limit", -10, [0]),
        ("power", -65537, [0xFFFF, 0xFFFE]),
        ("ratio", 0.5, list(struct.unpack(">HH", struct.pack(">f", 0.5)))[::-1]),
        ("mode", "off", [4]),
        ("mode", 1, [1]),
        ("relay", True, [1]),
        ("relay", 0, [0]),
    ],
)
def test_a_value_becomes_registers_that_hold_it(model: Model, channel: str, value: Value, raw: list[int]) -> None:
    assert encoding.raw(model, channel, value) == raw
    read_back = decoding.value(model, channel, raw)
    assert read_back == value or model.registers[channel].texts[str(value)] == read_back


@pytest.mark.parametrize(
    ("channel", "value", "why"),
    [
        ("limit", 100.1, "100.1 is not between -10 and 100"),
        ("limit", "much", "expected a number"),
        ("limit", True, "expected a number"),
        ("mode", "maybe", "expected on, off"),
        ("mode", 2, "expected on, off"),
        ("wide", 65536, "65536 does not fit into uint16"),
        ("seen", 1, "it is read-only"),
        ("none", 1, "no such channel"),
        ("relay", "on", "expected true or false"),
        ("relay", 2, "expected true or false"),
    ],
)
def test_a_value_that_cannot_be_written_is_refused_with_the_reason(
    model: Model, channel: str, value: Value, why: str
) -> None:
    with pytest.raises(NotWritable, match=why):
        encoding.raw(model, channel, value)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('a = { address = 0, table = "input", writable = [0, 1] }', "only a coil or a holding register"),
        ("a = { address = 0, writable = [1, 0] }", "expected the lowest and the highest"),
        ('a = { address = 0, bits = "3-0", writable = [0, 1] }', "not of a part of a word"),
        ('a = { address = 0, bits = "3", signed = true }', "only a part of a word"),
    ],
)
def test_a_device_file_cannot_make_read_only_registers_writable(tmp_path: Path, line: str, why: str) -> None:
    file = tmp_path / "device.toml"
    file.write_text(f'[device]\nmodel = "it"\ndocument = "none"\ntable = "holding"\n[channels]\n{line}\n')
    with pytest.raises(ConfigError, match=why):
        models.load(str(file))


@pytest.mark.parametrize(
    ("kind", "words", "value"),
    [
        ("uint16", [0xFFFF], None),
        ("uint16", [0xFFFE], 65534),
        ("int16", [0x7FFF], None),
        ("int16", [0xFFFF], -1),
        ("uint32", [0xFFFF, 0xFFFF], None),
        ("int32", [0x7FFF, 0xFFFF], None),
    ],
)
def test_all_ones_are_no_value_where_the_device_says_so(
    tmp_path: Path, kind: str, words: list[int], value: int | None
) -> None:
    file = tmp_path / "device.toml"
    head = '[device]\nmodel = "it"\ndocument = "none"\nall_ones_is_null = true\n'
    file.write_text(f'{head}[channels]\na = {{ address = 0, type = "{kind}" }}\n')
    assert decoding.value(models.load(str(file)), "a", words) == value


NULLS = {
    "all_ones_is_null": {
        "uint16": [[0xFFFF]],
        "uint32": [[0xFFFF] * 2],
        "uint64": [[0xFFFF] * 4],
        "int16": [[0x7FFF]],
        "int32": [[0x7FFF, 0xFFFF]],
        "int64": [[0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF]],
        "float32": [[0xFFFF] * 2, [0x7FC0, 0], [0xFFC0, 0]],
        "float64": [[0xFFFF] * 4, [0x7FF8, 0, 0, 0]],
    },
    "lowest_is_null": {
        "int16": [[0x8000]],
        "int32": [[0x8000, 0]],
        "int64": [[0x8000, 0, 0, 0]],
        "float32": [[0xFFC0, 0]],
        "float64": [[0xFFF8, 0, 0, 0]],
    },
}


@pytest.mark.parametrize("option", NULLS)
@pytest.mark.parametrize("kind", NULLS["all_ones_is_null"])
def test_what_means_no_value_has_no_value_in_any_type(tmp_path: Path, option: str, kind: str) -> None:
    file = tmp_path / "device.toml"
    head = f'[device]\nmodel = "it"\ndocument = "none"\n{option} = true\n'
    file.write_text(f'{head}[channels]\na = {{ address = 0, type = "{kind}" }}\n')
    model = models.load(str(file))
    for words in NULLS[option].get(kind, []):
        assert decoding.value(model, "a", words) is None
        plain = [*words[:-1], words[-1] ^ 2]
        if kind.startswith(("int", "uint")):
            assert decoding.value(model, "a", plain) is not None
