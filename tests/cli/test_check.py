import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main


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
        ("[apii]\n", "{path}: [apii]: no such section; sections are node, broker, quality, api"),
        ("[node]\nname = 'My Pi'\n", "{path}: [node]"),
        ("[", "{path}: not TOML"),
    ],
)
def test_a_mistake_is_a_line_and_exit_code_1(tmp_path: Path, text: str, message: str) -> None:
    result = check(tmp_path, text)
    assert result.exit_code == 1
    assert message.format(path=tmp_path / "mine.toml") in result.stderr
    assert "Traceback" not in result.stderr


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
