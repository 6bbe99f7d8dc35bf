import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

import heliograph
from cli.main import COMMANDS, WHOLE_NODE, main
from tests.conftest import ROOT


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_listed_and_has_help(name: str) -> None:
    assert f"  {name} " in CliRunner().invoke(main, ["--help"]).output
    result = CliRunner().invoke(main, [name, "--help"], prog_name="heliograph")
    assert result.exit_code == 0
    assert f"heliograph {name}" in result.output


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(main, ["stroe"])
    assert result.exit_code == 2
    assert "No such command 'stroe'; did you mean store?" in result.output


def test_the_version_says_what_it_runs_on() -> None:
    assert CliRunner().invoke(main, ["version"]).output.startswith(f"heliograph {heliograph.__version__}\nPython 3.")
    assert heliograph.__version__ in CliRunner().invoke(main, ["--version"]).output


def test_names_of_commands_and_their_options_are_completed() -> None:
    def completed(arguments: list[str], incomplete: str) -> list[str]:
        complete = BashComplete(main, {}, "heliograph", "_HELIOGRAPH_COMPLETE")
        return [item.value for item in complete.get_completions(arguments, incomplete)]

    assert completed([], "s") == ["start", "status", "sample", "store", "scan", "secrets"]
    assert completed([], "--v") == ["--version"]
    assert completed(["store"], "exp") == ["export"]
    assert "--points" in completed(["store", "info"], "--")
    assert completed(["start"], "--p") == ["--port"]
    assert "--no-simulate" in completed(["start", "--config", "a.toml"], "--")
    assert completed(["secrets"], "--u") == ["--user"]
    assert completed(["start", "--config"], "sub/") == ["sub/"]  # the shell completes it as a file


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an image has of this checkout, but of two services."""
    folder = tmp_path_factory.mktemp("container")
    for package in ("heliograph", "cli", "services/storage", "services/sensor_reader"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run_there(container: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where there are one service and no packages of the extra `start`."""
    script = "import sys; sys.modules.update(circus=None, tomli_w=None, tornado=None); import cli.main; cli.main.run()"
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=container, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_container_runs_the_commands_of_its_service(container: Path) -> None:
    assert "heliograph store [OPTIONS] COMMAND" in run_there(container, "store", "--help").stdout
    assert "heliograph forget [OPTIONS]" in run_there(container, "forget", "--help").stdout
    assert run_there(container, "version").returncode == 0
    config = container / "config.toml"
    config.write_text("[storage]\n[sensor_reader]\nignore = ['*']\n[modbus_poller]\n")
    tried = run_there(container, "try", "--seconds", "0.1")
    assert tried.stderr.startswith("Trying sensor_reader with config.toml")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "service"),
    [("uploads", "uploader"), ("scan", "modbus_poller"), ("key", "api"), *((one, "") for one in WHOLE_NODE)],
)
def test_a_container_says_where_a_command_of_another_one_is(container: Path, name: str, service: str) -> None:
    where = (
        f"docker compose exec {service} heliograph {name}" if service else f"in the checkout: scripts/heliograph {name}"
    )
    for option in ("--help", "anything"):
        done = run_there(container, name, option)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert where in done.stderr
