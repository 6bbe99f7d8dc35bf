import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main

pytestmark = pytest.mark.slow  # each service checks its section in a process of its own


def check(folder: Path, text: str, *options: str) -> Result:
    path = folder / "mine.toml"
    path.write_text(text)
    return CliRunner().invoke(main, ["check", str(path), *options])


def test_a_good_configuration_is_summed_up(tmp_path: Path) -> None:
    result = check(tmp_path, f'[node]\nname = "roof"\ndata = "{tmp_path}/data"\n[api]\nport = 8123\n')
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.output.splitlines() == [
        f"{tmp_path}/mine.toml: all good",
        "  node       roof",
        f"  data       {tmp_path}/data",
        "  dashboard  http://127.0.0.1:8123/",
        "  broker     its own",
        "  services   api, storage, uploader",
    ]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[storage]\ncommit_secs = 5\n", "storage: {path}: [storage]: no such option: commit_secs"),
        ("[apii]\n", "{path}: [apii]: no such section; did you mean api? There are node, broker, quality, api"),
        ("[node]\nname = 'My Pi'\n", "{path}: [node]"),
        ("[", "{path}: not TOML"),
    ],
)
def test_a_mistake_is_a_line_and_exit_code_1(tmp_path: Path, text: str, message: str) -> None:
    result = check(tmp_path, text)
    assert result.exit_code == 1
    assert message.format(path=tmp_path / "mine.toml") in result.stderr
    assert "Traceback" not in result.stderr


MODBUS = """[[modbus_poller.lines]]
port = "/dev/ttyUSB0"
devices = [{ name = "grid", model = "eastron_sdm120" }]
"""
ONE_AT_A_TIME = "one program at a time can open it"
ANOTHER_NAME = "give one of the devices another name"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            MODBUS + '[[serial_bridge.ports]]\nname = "radio"\nport = "/dev/../dev/ttyUSB0"\nformat = "rfm2pi"\n',
            f"[modbus_poller] lines[0].port and [serial_bridge] ports[0].port are both the port /dev/../dev/ttyUSB0; {ONE_AT_A_TIME}",
        ),
        (
            "".join(
                f'[[serial_bridge.ports]]\nname = "{name}"\nport = "/dev/ttyUSB0"\nformat = "key_value"\n'
                for name in ("a", "b")
            ),
            f"[serial_bridge] ports[0].port and [serial_bridge] ports[1].port are both the port /dev/ttyUSB0; {ONE_AT_A_TIME}",
        ),
        (
            MODBUS
            + '[calculator.devices.grid.channels.load]\nformula = "tracer.load + 1"\n'
            + '[[sensor_reader.counters]]\nname = "gas"\nline = 17\n'
            + '[serial_bridge.nodes.10]\nname = "gas"\nnames = ["power"]\ndatacode = "h"\n',
            f"[calculator] devices.grid and [modbus_poller] lines[0].devices[0].name are both called grid; {ANOTHER_NAME}\n"
            f"{{path}}: [sensor_reader] counters[0].name and [serial_bridge] nodes.10.name are both called gas; {ANOTHER_NAME}",
        ),
    ],
)
def test_one_port_and_one_device_have_one_service(tmp_path: Path, text: str, message: str) -> None:
    """Case N20."""
    path = tmp_path / "mine.toml"
    result = check(tmp_path, text)
    assert (result.exit_code, result.stderr) == (1, f"{path}: {message.format(path=path)}\n")


def test_the_simulated_site_is_checked_where_there_is_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "config.toml: there is none here; `heliograph sample > config.toml` begins one, docs/first-steps.md"
    )
    run = tmp_path / "data/run"
    run.mkdir(parents=True)
    (run / "config.toml").write_text('[node]\nname = "vm"\n[broker]\nhost = "127.0.0.1"\n')
    (run / "source").touch()
    result = CliRunner().invoke(main, ["check"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.output.splitlines()[:3] == [
        "data/run/config.toml: all good",
        "  there is no config.toml: this is what `heliograph start` made for the simulated site",
        "  node       vm",
    ]


def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", str(tmp_path / "none.toml")])
    assert (result.exit_code, result.stderr) == (1, f"{tmp_path}/none.toml: No such file or directory\n")


def test_the_settings_are_shown_without_secrets(tmp_path: Path) -> None:
    target = """[[uploader.targets]]
name = "home"
kind = "emoncms"
url = "http://emon.example.org"
key = "0123456789abcdef0123456789abcdef"
[node]
store = "postgresql://me:hunter2@database/heliograph"
[broker]
host = "hub"
password = "hunter2"
"""
    result = check(tmp_path, target, "--show-settings")
    assert result.exit_code == 0, result.stderr
    shown = tomllib.loads(result.output)
    assert shown["broker"] == {"host": "hub", "password": "…"}
    assert shown["node"]["store"] == "postgresql://…@database/heliograph"
    assert shown["uploader"]["targets"] == [
        {"name": "home", "kind": "emoncms", "url": "http://emon.example.org", "key": "…"}
    ]
    assert shown["api"] == {"host": "127.0.0.1", "port": 8000}
