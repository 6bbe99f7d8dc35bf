"""What the wheel of the whole node needs, and the reference of all commands."""

import argparse
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from inspect import cleandoc

import click

from cli import secrets
from cli.main import COMMANDS, main
from cli.start import options
from tests.lists import ROOT, Listing

PACKAGES = ("cli", "heliograph", "services/*", "simulator")
PARSERS = {"start": options.parser, "secrets": secrets.parser}  # of commands that need nothing but Python


def lists() -> Iterator[Listing]:
    yield Listing("pyproject.toml", "dependencies = [", "]", [f'  "{one}",' for one in requirements()])
    yield Listing("docs/commands.md", "## Every command", "## Exit codes", reference())


def requirements() -> list[str]:
    """What the packages of this repository need of others, with all extras."""
    needed: set[str] = set()
    for package in PACKAGES:
        for path in ROOT.glob(f"{package}/pyproject.toml"):
            project = tomllib.loads(path.read_text())["project"]
            needed.update(project["dependencies"], *project.get("optional-dependencies", {}).values())
    return sorted(one for one in needed if not one.startswith("heliograph"))


def commands() -> dict[str, click.Command]:
    """Every command that can be called, groups left out, by what is written after `heliograph`."""
    return {name: command for name, command in everything().items() if not isinstance(command, click.Group)}


@cache
def everything() -> dict[str, click.Command]:
    """The same with the groups."""
    result: dict[str, click.Command] = {}
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command
        result |= {name: command, **_below(name, command)}
    return result


def _below(name: str, command: click.Command) -> dict[str, click.Command]:
    result: dict[str, click.Command] = {}
    for part, member in command.commands.items() if isinstance(command, click.Group) else ():
        result |= {f"{name} {part}": member, **_below(f"{name} {part}", member)}
    return result


@cache
def option_names(name: str) -> set[str]:
    """The options of a command."""
    if name in PARSERS:
        return {one for action in PARSERS[name]("")._actions for one in action.option_strings}
    command = everything()[name]
    context = click.Context(command, info_name=name, parent=click.Context(main))
    return {
        one for param in command.get_params(context) for one in (*param.opts, *param.secondary_opts) if one[0] == "-"
    }


def reference() -> list[str]:
    lines = [""]
    for name, command in commands().items():
        lines += _parsed(name, PARSERS[name]("")) if name in PARSERS else _clicked(name, command)
    return lines


def _section(usage: str, manual: str, rows: list[tuple[str, str]]) -> list[str]:
    cells = [(option.replace("|", "\\|"), text.replace("|", "&#124;")) for option, text in rows if text]
    table = [f"| `{option}` | {text} |" for option, text in cells]
    return [
        f"### `heliograph {usage}`",
        "",
        *manual.splitlines(),
        "",
        *(["| option | |", "|---|---|", *table, ""] if table else []),
    ]


def _clicked(name: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=name, parent=click.Context(main))
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    records = [one.get_help_record(context) for one in command.params]
    return _section(
        usage, cleandoc(command.help or "").replace("\b\n", ""), [(one[0], _line(one[1])) for one in records if one]
    )


def _parsed(name: str, parser: argparse.ArgumentParser) -> list[str]:
    options, positions = [], []
    for action in parser._actions:
        if action.help and action.help != argparse.SUPPRESS and "-h" not in action.option_strings:
            value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
            if action.option_strings:
                options.append((", ".join(action.option_strings) + value, _line(action.help)))
            else:
                positions.append(f"[{action.dest.upper()}]")
    epilog = (parser.epilog or "").strip()
    epilog = f"\n\n```text\n{epilog}\n```" if "\n" in epilog else f"\n{epilog}"
    return _section(" ".join([name, "[OPTIONS]", *positions]), f"{(parser.description or '').strip()}{epilog}", options)


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
