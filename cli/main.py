"""`heliograph`: the one command of a node."""

import argparse
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

import click
from click.shell_completion import CompletionItem

import heliograph
from cli import programs
from heliograph import nearest

# A command's name; where it is; what the list of commands says of it. Nothing is imported before it is called.
COMMANDS = {
    "start": ("cli.start.command:main", "Run a node on this machine until Ctrl-C."),
    "logs": ("cli.logs:main", "Show what the node has logged."),
    "try": ("cli.trial:main", "Read each input once, and print what would be published."),
    "check": ("cli.check:main", "Check a configuration without starting the node."),
    "status": ("cli.status:main", "Show how the node is, and what is wrong."),
    "doctor": ("cli.doctor.command:main", "Look for what is wrong with the node and its machine."),
    "sample": ("cli.sample:main", "Print a configuration that explains every option."),
    "store": ("services.storage.cli.main:main", "Check the store, back it up, bring data in and out."),
    "uploads": ("services.uploader.cli:main", "Look after the targets that the node uploads to."),
    "scan": ("services.modbus_poller.scan.cli:main", "Find Modbus devices; print the configuration that reads them."),
    "key": ("services.api.cli:main", "Make a key with which a sensor or a program may send readings."),
    "forget": ("cli.forget:main", "Remove a device or a node that is gone for good from the broker."),
    "secrets": ("cli.secrets:main", "Make the passwords and certificates of a node."),
    "version": ("cli.version:main", "Print the version."),
}
WHOLE_NODE = ("start", "check", "sample", "secrets")  # they need all services, and the packages of the extra `start`


class LazyGroup(click.Group):
    """A group of the commands in a table, each imported when it is called: a click command, or a function.

    A function takes the rest of the command line and the name of the program: it parses them with nothing but Python,
    because it also runs before the packages are installed.
    """

    def __init__(self, table: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(**options)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; return None if there is none of this name.

        In a container, which has one service, a command of another one is one that says where it can be run.
        """
        if cmd_name not in self._table:
            return None
        where = self._table[cmd_name][0]
        elsewhere = _elsewhere(cmd_name, where)
        command = _refusing(elsewhere) if elsewhere else resolve_name(where)
        return command if isinstance(command, click.Command) else _passing_on(cmd_name, command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called; an unknown name is refused with the nearest one."""
        if args[0] not in self._table and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}{nearest.hint(args[0], self._table)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin so, without importing the commands, or the options."""
        names = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in self._table.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._table.items()])


def _elsewhere(name: str, where: str) -> str:
    """Return where a command can be run if what it needs is not installed here, else ""."""
    package, service, *_ = where.split(".")
    if package == "services" and find_spec(f"services.{service}") is None:
        return (
            f"`heliograph {name}` is in the container of {service}: docker compose exec {service} heliograph {name} …"
        )
    if name in WHOLE_NODE and not programs.HAS_WHOLE_NODE:
        return f"`heliograph {name}` is not in the containers; run it in the checkout: scripts/heliograph {name}"
    return ""


def _refusing(sentence: str) -> Callable[[list[str], str], None]:
    def refuse(_arguments: list[str], _program: str) -> None:
        raise click.ClickException(sentence)

    return refuse


class PassingOn(click.Command):
    """A click command that passes everything on to a function; the options that the shell completes are those of its parser."""

    parser: Callable[[str], argparse.ArgumentParser] | None = None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the options that begin so."""
        return [
            CompletionItem(option, help=action.help)
            for action in (self.parser(self.name or "")._actions if self.parser else [])
            for option in action.option_strings
            if option.startswith(incomplete) and action.help != argparse.SUPPRESS
        ]


def _files(_context: click.Context, _argument: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def _passing_on(name: str, run: Callable[[list[str], str], None]) -> click.Command:
    """Return a click command that passes everything on to a function; its module has the function `parser`."""
    command = PassingOn(
        name,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED, shell_complete=_files)],
        callback=lambda arguments: run(list(arguments), f"heliograph {name}"),
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        add_help_option=False,
    )
    command.parser = getattr(sys.modules[run.__module__], "parser", None)
    return command


main = LazyGroup(
    COMMANDS,
    name="heliograph",
    help="Run and look after a Heliograph node. `heliograph COMMAND --help` describes a command.",
    params=[],
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(heliograph.__version__, prog_name="heliograph")(main)


def run() -> None:
    """Run the command line of this process."""
    main(prog_name="heliograph")


if __name__ == "__main__":
    run()
