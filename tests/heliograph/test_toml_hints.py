import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import config, toml_hints
from heliograph.errors import ConfigError

SECRET = "hunter2-hunter2"


def refusal(folder: Path, text: str) -> str:
    path = folder / "config.toml"
    path.write_bytes(text.encode())
    with pytest.raises(ConfigError) as error:
        config.read(path)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("node.name = \u201chouse\u201d", 'write straight quotes: "…"'),
        ("node.name = 'a'\n\n[node]\ndata = 'b'", "node is there in line 1: put all its options below one [node]"),
        ("[a.b]\nx = 1\n[a.b]\nx = 2", "[a.b] is there in line 1: put the options together, or, where it is a list, write [[a.b]] for each"),
        ("[a]\nb = 1\nb = 2", "it is there twice: leave one of them out"),
        ("name = house", 'a text needs quotes: "…"'),
        ("port = /dev/ttyUSB0", 'a text needs quotes: "…"'),
        ('name = "house\nx = 1', "the quote at the end of a text is missing"),
        ("on = True", "write true, in lower case"),
        ("on = no", "write false, in lower case"),
        ("x = 1,5", "write a decimal point, not a comma"),
        ("x = 1,", "nothing stands at the end of a line: leave it out"),
        ("x = 10s", "a number has no unit: leave it out"),
        ("x = 01", "a number does not begin with 0"),
        ("x = [{ a = 01 }]", "a number does not begin with 0"),
        ('x = "C:\\Users"', r"write \\ for \, or the text between single quotes"),
        ("name: 'a'", "write NAME = VALUE, with = in place of :"),
        ("node:\n  name: a", "write NAME = VALUE, with = in place of :"),
        ("name 'a'", "write NAME = VALUE, one on each line"),
        ('{"node": {}}', "a configuration is TOML, not JSON or YAML: `heliograph sample` prints one"),
        ("// mine", "a comment begins with #"),
        ("; mine", "a comment begins with #"),
        ("<<<<<<< HEAD", "git has left its marks of a conflict: choose one side"),
        ("[node", "] is missing"),
        ("x = [{ a = 1 ]", "} is missing, or a comma between two options"),
    ],
)  # fmt: skip
def test_what_is_not_toml_is_answered_with_what_to_write(tmp_path: Path, text: str, written: str) -> None:
    assert refusal(tmp_path, text).endswith(f"; {written}")


def test_a_mark_of_utf8_is_no_mistake_and_another_encoding_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbfnode.name = 'a'\r\n")
    assert config.read(path) == {"node": {"name": "a"}}
    path.write_bytes(b"node.name = 'a'\n# h\xe4us\n")
    with pytest.raises(ConfigError, match="not TOML: line 2 is not UTF-8: save the file as UTF-8"):
        config.read(path)


@pytest.mark.parametrize("host", ["mqtt://192.168.1.20", "192.168.1.20:1883", "hub.local/"])
def test_the_host_of_a_broker_is_no_address_with_a_port(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="host: expected a name or an address alone"):
        config.section(config.Broker, {"broker": {"host": host}}, "broker", tmp_path / "config.toml")


def test_an_address_of_ipv6_is_a_host(tmp_path: Path) -> None:
    section = config.section(config.Broker, {"broker": {"host": "fe80::1"}}, "broker", tmp_path / "config.toml")
    assert section.host == "fe80::1"


@given(st.text(), st.text(alphabet='[]{}=.,:"# \n01ax'))
def test_any_text_has_a_hint_of_one_line_that_repeats_nothing_of_it(before: str, after: str) -> None:
    text = f'{before}\npassword = "{SECRET}{after}'
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = toml_hints.hint(text, str(error))
        assert hint.count("\n") == 0
        assert SECRET not in hint
