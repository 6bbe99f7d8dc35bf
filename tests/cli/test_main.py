import pytest
from click.testing import CliRunner

import heliograph
from cli.main import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_listed_and_has_help(name: str) -> None:
    assert f"  {name} " in CliRunner().invoke(main, ["--help"]).output
    result = CliRunner().invoke(main, [name, "--help"], prog_name="heliograph")
    assert result.exit_code == 0
    assert f"heliograph {name}" in result.output


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(main, ["stroe"])
    assert result.exit_code == 2
    assert "No such command 'stroe'" in result.output


def test_the_version_says_what_it_runs_on() -> None:
    assert CliRunner().invoke(main, ["version"]).output.startswith(f"heliograph {heliograph.__version__}\nPython 3.")
    assert heliograph.__version__ in CliRunner().invoke(main, ["--version"]).output
