from pathlib import Path

import pytest

from heliograph.errors import ConfigError
from services.modbus_poller import models

HEAD = '[device]\nmodel = "M"\ndocument = "D"\n'
CHANNELS = "[channels]\nvolts = { address = 1 }\n"


def load(folder: Path, text: str) -> models.Model:
    file = folder / "mine.toml"
    file.write_text(text)
    models.load.cache_clear()
    return models.load(str(file))


def test_a_file_of_ones_own_is_loaded_by_its_path(tmp_path: Path) -> None:
    model = load(tmp_path, HEAD + CHANNELS)
    assert model.header.model == "M"
    assert model.channel("volts").kind == "gauge"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('x = { address = 1, bits = "3" }', "state"),
        ('x = { address = 1, bits = "3-2" }', "gauge"),
        ('x = { address = 1, bits = "3", texts = { 0 = "off" } }', "text"),
        ('x = { address = 1, texts = { 0 = "off" } }', "text"),
        ('x = { address = 1, table = "coil" }', "state"),
        ('x = { address = 1, kind = "counter" }', "counter"),
    ],
)
def test_the_kind_of_a_channel_follows_from_its_options(tmp_path: Path, line: str, kind: str) -> None:
    model = load(tmp_path, HEAD + f"[channels]\n{line}\n")
    assert model.channel("x").kind == kind


@pytest.mark.parametrize(
    ("line", "rollover"),
    [
        ('type = "uint32", scale = 0.01, kind = "counter"', 42949672.96),
        ('type = "uint32", scale = 0.1, kind = "counter"', 429496729.6),
        ('type = "uint16", scale = 10, kind = "counter"', 655360.0),
        ('kind = "counter"', 65536.0),
        ('type = "uint64", kind = "counter"', 2.0**64),
        ('type = "int32", kind = "counter"', 0.0),  # continues below zero
        ('type = "float32", kind = "counter"', 0.0),
        ('type = "uint32", offset = 5, kind = "counter"', 0.0),  # begins again at 5
        ('type = "uint32", scale = -1, kind = "counter"', 0.0),
        ('type = "uint16", bits = "7-0", kind = "counter"', 0.0),
        ('type = "uint32"', 0.0),
    ],
)
def test_a_counter_begins_again_where_its_registers_are_full(tmp_path: Path, line: str, rollover: float) -> None:
    model = load(tmp_path, HEAD + f"[channels]\nx = {{ address = 1, {line} }}\n")
    assert model.channel("x").rollover == rollover


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[device", ["not TOML"]),
        (HEAD, ["[channels]", "expected a line"]),
        (HEAD + "[channels]\n", ["[channels]", "expected a line"]),
        (HEAD + "channels = 3\n", ["channels"]),
        (CHANNELS, ["[device]", "missing: model"]),
        (HEAD + CHANNELS + "[more]\n", ["no such section: more"]),
        (HEAD + "wrods = 1\n" + CHANNELS, ["[device]", "no such option: wrods"]),
        (HEAD + 'byte_order = "ABDC"\n' + CHANNELS, ["[device]", "byte_order"]),
        (HEAD + 'word_order = "little"\n' + CHANNELS, ["[device]", "word_order", "byte_order"]),
        (HEAD + "max_registers = 0\n" + CHANNELS, ["max_registers"]),
        (HEAD + "max_registers = 126\n" + CHANNELS, ["max_registers"]),
        (HEAD + "max_gap = -1\n" + CHANNELS, ["max_gap"]),
        (HEAD + "request_delay = nan\n" + CHANNELS, ["request_delay"]),
        (HEAD + "baud = 0\n" + CHANNELS, ["baud"]),
        (HEAD + 'probe = "amps"\n' + CHANNELS, ["probe", "amps"]),
        (HEAD + "[channels]\nVolts = { address = 1 }\n", ["'Volts'"]),
        (HEAD + "[channels]\nv = 3\n", ["[v]", "expected"]),
        (HEAD + "[channels]\nv = {}\n", ["[v]", "missing: address"]),
        (HEAD + '[channels]\nv = { address = "1" }\n', ["[v] address", "int", "'1'"]),
        (HEAD + "[channels]\nv = { address = -1 }\n", ["[v]", "address"]),
        (
            HEAD + '[channels]\nv = { address = 65535, type = "int32" }\n',
            ["[v]", "address"],
        ),
        (HEAD + '[channels]\nv = { address = 1, type = "int8" }\n', ["[v]", "type"]),
        (HEAD + '[channels]\nv = { address = 1, unit = "Volt" }\n', ["[v]", "Volt"]),
        (HEAD + '[channels]\nv = { address = 1, kind = "x" }\n', ["[v]", "kind"]),
        (HEAD + "[channels]\nv = { address = 1, scale = 0 }\n", ["[v]", "scale"]),
        (HEAD + "[channels]\nv = { address = 1, scale = inf }\n", ["[v]", "scale"]),
        (HEAD + "[channels]\nv = { address = 1, every = -1 }\n", ["[v]", "every"]),
        (HEAD + '[channels]\nv = { address = 1, bits = "16" }\n', ["[v]", "bits"]),
        (HEAD + '[channels]\nv = { address = 1, bits = "2-3" }\n', ["[v]", "bits"]),
        (HEAD + '[channels]\nv = { address = 1, bits = "low" }\n', ["[v]", "bits"]),
        (HEAD + '[channels]\nv = { address = 1, texts = { a = "b" } }\n', ["texts"]),
        (HEAD + '[channels]\nv = { address = 1, texts = { 1 = "" } }\n', ["texts"]),
        (
            HEAD + '[channels]\nv = { address = 1, table = "coil", type = "int16" }\n',
            ["[v]", "coil is one bit"],
        ),
        (
            HEAD + 'max_registers = 1\n[channels]\nv = { address = 1, type = "float32" }\n',
            ["[v] type", "max_registers"],
        ),
    ],
)
def test_a_wrong_device_file_is_one_line_with_file_and_place(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert "mine.toml" in message
    for word in words:
        assert word in message


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="eastron_sdm120, eastron_sdm230, eastron_sdm630"):
        models.load("epever")


@pytest.mark.parametrize("name", ["../options", "no/such.toml", "no.toml", "", "."])
def test_a_model_that_is_no_file_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        models.load(name)
