from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import config
from heliograph.config import Broker, Config, Node
from heliograph.errors import ConfigError

SECRET = "hunter2-öß"
PATH = Path("config.toml")


class Line(Config, frozen=True):
    RENAMED: ClassVar[Mapping[str, str]] = {"device": "port"}

    port: str
    baud: int = 9600
    parity: Literal["none", "even"] = "none"

    def __post_init__(self) -> None:
        if self.baud < 0:
            raise ValueError(f"baud: {self.baud} is not a speed")
        if self.port.startswith("hunter"):
            raise ValueError(f"port: {self.port[:7]!r} is not a port")


class Moved(Config, frozen=True):
    RENAMED: ClassVar[Mapping[str, str]] = {"url": "[node] store"}


class Options(Moved, frozen=True):
    RENAMED: ClassVar[Mapping[str, str]] = {"every": "min_interval"}

    password: str = ""
    api_key: str | None = None
    timeout: float = 1.0
    days: Annotated[int, msgspec.Meta(ge=1)] = 1
    mode: Literal["fast", "slow"] = "fast"
    lines: list[Line] = msgspec.field(default_factory=list)
    nodes: dict[str, Line] = msgspec.field(default_factory=dict)
    numbered: dict[Annotated[str, msgspec.Meta(pattern="^[0-9]+$")], Line] = msgspec.field(default_factory=dict)


def load(folder: Path, text: str, service: str = "probe") -> Options:
    file = folder / "config.toml"
    file.write_text(text)
    return config.section(Options, config.read(file), "probe", file, service)


def mistake(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as error:
        load(folder, text)
    message = str(error.value)
    assert message.startswith(f"{folder / 'config.toml'}: ")
    assert "\n" not in message
    assert error.value.__suppress_context__ or error.value.__context__ is None  # nothing to see in a traceback either
    return message.removeprefix(f"{folder / 'config.toml'}: ")


def test_a_section_that_is_absent_is_all_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Options()
    assert config.section(Broker, {}, "broker", PATH) == Broker(host="127.0.0.1", port=1883, password="", ca="")
    assert config.section(Node, {}, "node", PATH).clock == "auto"


def test_options_are_read_with_their_types(tmp_path: Path) -> None:
    options = load(
        tmp_path,
        '[probe]\ntimeout = 3\n[[probe.lines]]\nport = "x"\n[probe.nodes.a]\nport = "y"\n[probe.numbered.7]\nport = "z"',
    )
    assert (options.timeout, options.lines[0].port, options.nodes["a"].port, options.numbered["7"].port) == (
        3.0,
        "x",
        "y",
        "z",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[probe]\ntimeout = 'long'", "[probe] timeout: expected float, found 'long'"),
        ("[probe]\ntimeout = true", "[probe] timeout: expected float, found True"),
        ("[probe]\ndays = 1.5", "[probe] days: expected int, found 1.5"),
        ("[probe]\ndays = 0", "[probe] days: expected int >= 1, found 0"),
        ("[probe]\nmode = 'idle'", "[probe] mode: expected fast or slow, found 'idle'"),
        ("[probe]\nmode = 7", "[probe] mode: expected str, found 7"),
        ("[probe]\nlines = 3", "[probe] lines: expected array, found 3"),
        ("[[probe.lines]]\nport = 'x'\n[[probe.lines]]\nbaud = 3", "[probe] lines[1]: missing: port"),
        (
            "[[probe.lines]]\nport = 'x'\nbuad = 3",
            "[probe] lines[0]: no such option: buad; did you mean baud? There are port, baud, parity",
        ),
        ("[[probe.lines]]\nport = 'x'\nbaud = -1", "[probe] lines[0]: baud: -1 is not a speed"),
        (
            "[probe.nodes.a]\nport = 'x'\n[probe.nodes.b]\nport = 'x'\nparity = 'odd'",
            "[probe] nodes.b.parity: expected even or none, found 'odd'",
        ),
        ("[probe.nodes.a]\nport = 'x'\n[probe.nodes.b]\nbaud = 1", "[probe] nodes.b: missing: port"),
        ("[probe.nodes]\na = 3", "[probe] nodes.a: expected object, found 3"),
        (
            "[probe.numbered.seven]\nport = 'x'",
            "[probe] numbered.seven: expected str matching regex '^[0-9]+$', found 'seven'",
        ),
        ("probe = 3", "[probe]: expected object, found 3"),
        ("[[probe]]", "[probe]: expected object, found [{}]"),
        ("[probe]\nevery = 3", "[probe]: no such option: every; it is now min_interval"),
        ("[probe]\nurl = 'x'", "[probe]: no such option: url; it is now [node] store"),
        ("[probe.nodes.a]\ndevice = 'x'", "[probe] nodes.a: no such option: device; it is now port"),
        ('[probe]\n"a\\nb" = 3', "[probe]: no such option: a b; there are password"),
        ("[probe]\nmode = 'a\\nb'".replace("'", '"'), "[probe] mode: expected fast or slow, found 'a\\nb'"),
        ("[probe]\npassword = '$HELIOGRAPH_NONE'", "[probe] password: environment variable HELIOGRAPH_NONE is not set"),
        ("[[probe.lines]]\nport = 'file:/none'", "[probe] lines[0] port: cannot read /none: No such file or directory"),
        ("[probe]\npassword = 'file:'", "[probe] password: cannot read .: Is a directory"),
        ('[probe]\npassword = "file:\\u0000"', "[probe] password: '\\x00' is not a text file"),
        ("[probe", "not TOML: Expected"),
        ("[probe]\nmode = 1\nmode = 2", "not TOML: Cannot overwrite a value"),
    ],
)
def test_every_kind_of_mistake_is_one_line_with_the_key_the_expected_and_the_actual_value(
    tmp_path: Path, text: str, message: str
) -> None:
    assert mistake(tmp_path, text).startswith(message)


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, message in (("none", "No such file"), ("", "Is a directory"), ("bytes", "not TOML")):
        with pytest.raises(ConfigError, match=message) as error:
            config.read(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "\n", " \t\n"])
def test_an_empty_password_is_a_config_error_and_not_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    secret = tmp_path / "api"
    secret.write_text(content)
    monkeypatch.setenv("EMPTY_PASSWORD", content)
    assert f"[probe] password: {secret} is empty" in mistake(tmp_path, f"[probe]\npassword = 'file:{secret}'")
    assert "variable EMPTY_PASSWORD is empty" in mistake(tmp_path, "[probe]\npassword = '$EMPTY_PASSWORD'")


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    assert len(mistake(tmp_path, f"[probe]\ntimeout = '{'x' * 10_000}'")) < 200


def test_values_come_from_the_environment_and_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_PORT", "/dev/x")
    monkeypatch.setenv("PASSWORD_probe", "for probe")
    (tmp_path / "probe").write_text(f"{SECRET}\n")
    text = f'[probe]\npassword = "file:{tmp_path}/{{service}}"\napi_key = "$PASSWORD_{{service}}"\n[[probe.lines]]\nport = "$PROBE_PORT"'
    options = load(tmp_path, text)
    assert (options.password, options.api_key, options.lines[0].port) == (SECRET, "for probe", "/dev/x")


def test_the_environment_gives_options_that_the_file_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case K2: what every container of a node has in common need not be remembered by a person."""
    monkeypatch.setenv("HELIOGRAPH__BROKER__HOST", "mosquitto")
    monkeypatch.setenv("HELIOGRAPH__BROKER__PORT", "1884")
    monkeypatch.setenv("HELIOGRAPH__API__KEYS", "{ node = 'x' }")
    path = tmp_path / "config.toml"
    silent = config.section(config.Broker, {}, "broker", path)
    assert (silent.host, silent.port) == ("mosquitto", 1884)
    own = config.section(config.Broker, {"broker": {"host": "roof.local"}}, "broker", path)
    assert (own.host, own.port) == ("roof.local", 1884)


def test_a_text_of_the_environment_that_looks_like_a_number_stays_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELIOGRAPH__BROKER__PASSWORD", "0815")
    monkeypatch.setenv("HELIOGRAPH__NODE__NAME", "7")
    path = tmp_path / "config.toml"
    assert config.section(config.Broker, {}, "broker", path).password == "0815"
    assert config.section(config.Node, {}, "node", path).name == "7"


def test_a_data_folder_that_the_container_would_not_keep_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case K2: readings were stored in memory."""
    monkeypatch.setenv("HELIOGRAPH__NODE__DATA", "/data")
    path = tmp_path / "config.toml"
    assert config.section(config.Node, {"node": {"name": "roof"}}, "node", path).data == "/data"
    assert config.section(config.Node, {"node": {"name": "roof", "data": "/data"}}, "node", path).data == "/data"
    with pytest.raises(ConfigError) as refused:
        config.section(config.Node, {"node": {"name": "roof", "data": "data"}}, "node", path)
    assert str(refused.value) == (
        f"{path}: [node]: data: expected '/data' or nothing, found 'data': a container keeps nothing else"
    )


@pytest.mark.parametrize("plain", ["$", "$ x", "a$HOME", "$1", "$HOME/x", "file", " file:x", "{service}"])
def test_a_text_that_only_looks_like_a_reference_is_taken_literally(tmp_path: Path, plain: str) -> None:
    assert load(tmp_path, f"[probe]\npassword = '{plain}'").password == plain


@pytest.mark.parametrize(
    "text",
    [
        "[probe]\ntimeout = '{}'",
        "[probe]\nmode = '{}'",
        "[probe]\nlines = '{}'",
        "[probe]\nlines = ['{}']",
        "[[probe.lines]]\nport = '{}'",
        "[probe.nodes.a]\nport = '{}'",
        "[[probe.lines]]\nport = 'x'\nparity = '{}'",
        "[probe.numbered]\n7 = '{}'",
        "[probe]\npassword = '{}'\nwrong = 1",
        "[probe]\npassword = '{}'\ntimeout = []",
    ],
)
@pytest.mark.parametrize("secret", [SECRET, "hunter2'\"\\\n\t", "hunter2" * 100])
def test_a_secret_is_in_no_error_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, secret: str
) -> None:
    monkeypatch.setenv("PROBE_SECRET", secret)
    (tmp_path / "secret").write_text(secret)
    for reference in ("$PROBE_SECRET", f"file:{tmp_path}/secret"):
        assert "hunter" not in mistake(tmp_path, text.format(reference))


def test_a_password_in_the_file_itself_is_not_shown_either(tmp_path: Path) -> None:
    assert (
        mistake(tmp_path, "[probe]\npassword = 12345")
        == "[probe] password: expected str, found a int that is not shown"
    )
    assert "12345" not in mistake(tmp_path, "[probe]\napi_key = 12345")


def test_a_secret_in_a_file_that_is_not_text_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hunter2\xff")
    assert "hunter" not in mistake(tmp_path, f"[probe]\npassword = 'file:{tmp_path}/secret'")


@pytest.mark.parametrize("name", ["Roof", "a/b", "", "+", "a\n", "ü", "x" * 64])
def test_a_node_name_that_would_change_the_topics_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a name"):
        config.section(Node, {"node": {"name": name}}, "node", PATH)


@pytest.mark.parametrize("hostname", ["Raspberry.local", "PI_4", "-x-", "ünode", "", "123", "a" * 200])
def test_any_host_name_makes_a_node_name(monkeypatch: pytest.MonkeyPatch, hostname: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: hostname)
    assert Node().name


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"port": 0}, "port: 0"),
        ({"port": 65536}, "port: 65536"),
        ({"host": ""}, "host: expected"),
        ({"ca": "/none.pem"}, "ca: cannot use '/none.pem': No such file"),
        ({"ca": __file__}, "ca: cannot use"),
    ],
)
def test_an_impossible_broker_is_refused(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        config.section(Broker, {"broker": section}, "broker", PATH)
    assert "\n" not in str(error.value)


toml = st.recursive(
    st.integers() | st.text(max_size=5) | st.booleans() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*Options.__struct_fields__, *Line.__struct_fields__, "7", "x\n"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(toml)
def test_any_section_is_options_or_one_line(section: object) -> None:
    try:
        config.section(Options, {"probe": section}, "probe", PATH)
    except ConfigError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
    assert "…" not in message
