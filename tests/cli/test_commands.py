"""What the documents say of the command `heliograph`: every command that they name is run, with the options that they name."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, main
from tests.cli.lists import commands, everything, option_names
from tests.conftest import ROOT

OLD_NAMES = r"heliograph-(store|uploads|key|scan|forget)\b|-m heliograph\.forget|setup --secrets"
CALL = re.compile(r"(?:^|[\s\"(/])heliograph +(?P<arguments>[a-z-][^`\n]*)")
CONTAINER = re.compile(r"docker compose (?:exec|run) (?:.* )?([a-z_]+) heliograph ([a-z]+)")
END = re.compile(r"\s(?:#|\||>|<|&&|;|\)).*|[;)].*")
NOT_CALLS = {"and", "is", "of", "on", "with"}  # sentences in comments: heliograph is …


class Call(NamedTuple):
    """A call of `heliograph` in a document: where, and its words."""

    where: str
    words: tuple[str, ...]

    def command(self) -> str:
        """The command or group that it calls; "" if that is `heliograph` itself."""
        name = ""
        for word in self.words:
            if f"{name} {word}".strip() not in everything():
                break
            name = f"{name} {word}".strip()
        return name

    def mistake(self) -> str:
        """What is wrong with the call, "" if it can be run."""
        name = self.command()
        rest = self.words[len(name.split()) :]
        if name not in commands():  # a group, or `heliograph` itself
            is_no_call = not rest or rest[0] in ("…", "--help", "--version") or rest[0].isupper()
            return "" if is_no_call else f"there is no command {f'{name} {rest[0]}'.strip()}"
        options = {word.partition("=")[0] for word in rest if word.startswith("--")} - {"--help"}
        unknown = sorted(options - option_names(name))
        return f"{name} has no option {unknown[0]}" if unknown else ""


def documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def manuals() -> list[Path]:
    suffixes = {".md", ".toml", ".yaml"}
    return [
        path
        for path in documents()
        if path.suffix in suffixes and path.name != "pyproject.toml" and "tests" not in path.relative_to(ROOT).parts
    ]


def code(path: Path) -> list[tuple[int, str]]:
    """The code of a document: what is in backquotes or in a block of a Markdown page, comments of other files."""
    result, in_block = [], False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_block = not in_block
        elif path.suffix != ".md" or in_block or line.startswith("    "):
            result += [(number, part) for part in (re.findall(r"`([^`]+)`", line) or [line])]
        else:
            result += [(number, part) for part in re.findall(r"`([^`]+)`", line)]
    return result


def calls() -> list[Call]:
    result = []
    for path in manuals():
        for number, text in code(path):
            for match in CALL.finditer(text):
                words = [word.rstrip(",.:") for word in END.sub("", match["arguments"]).split()]
                if words and words[0] not in NOT_CALLS:
                    result.append(Call(f"{path.relative_to(ROOT)}:{number}", tuple(words)))
    return result


CALLS = calls()


def test_the_documents_name_every_command() -> None:
    assert len(CALLS) > 100
    assert {call.command().split(" ")[0] for call in CALLS} >= set(COMMANDS)


@pytest.mark.parametrize("page", sorted({call.where.partition(":")[0] for call in CALLS}))
def test_every_command_in_a_document_exists_with_its_options(page: str) -> None:
    wrong = {call.where: why for call in CALLS if call.where.startswith(f"{page}:") and (why := call.mistake())}
    assert wrong == {}


@pytest.mark.parametrize("name", commands())
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [*name.split(" "), "--help"], prog_name="heliograph")
    assert result.exit_code == 0
    for option in option_names(name):
        assert option in result.output


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_runs_in_its_native_form(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "scripts/heliograph", name, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert name in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_set_up_as_the_page_says(shell: str, tmp_path: Path) -> None:
    line = f"_HELIOGRAPH_COMPLETE={shell}_source heliograph"
    assert line in (ROOT / "docs/commands.md").read_text()
    done = subprocess.run(
        ["sh", "-c", line.replace("heliograph", str(ROOT / "scripts/heliograph"))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_HELIOGRAPH_COMPLETE={shell}_complete" in done.stdout


def test_a_command_in_a_container_is_one_that_is_there() -> None:
    in_containers = [
        (f"{path.relative_to(ROOT)}:{number}", match[1], match[2])
        for path in manuals()
        for number, text in code(path)
        for match in CONTAINER.finditer(text)
    ]
    assert len(in_containers) > 10
    for where, container, name in in_containers:
        package, service, *_ = COMMANDS[name][0].split(".")
        assert package == "cli" or service == container, f"{where}: {name} is not in the container of {container}"


def test_nothing_has_a_name_of_before() -> None:
    elsewhere = [":!CHANGELOG.md", ":!tests/old_data", f":!{Path(__file__).relative_to(ROOT)}"]
    command = ["git", "grep", "-nE", OLD_NAMES, "--", ".", *elsewhere]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout == ""
