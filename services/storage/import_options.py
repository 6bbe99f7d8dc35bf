"""What the commands that import have in common: their arguments and options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from heliograph import topics
from services.storage.importing import Meaning, meaning

Command = Callable[..., Any]
MEANING = ("units_given", "counters", "states", "texts")


def checked_name(context: click.Context, option: click.Parameter, value: str) -> str:
    """Return the name of a node or device that an option gives, or say what a name is."""
    try:
        return topics.name(value) if value else value
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None


paths_argument = click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
dry_run_option = click.option("--dry-run", is_flag=True, help="Read and judge everything, store nothing.")
tz_option = click.option(
    "--tz", default="UTC", show_default=True, help="Time zone of times without an offset: Europe/Berlin"
)


def meaning_options(command: Command) -> Command:
    """Give a command the options that say what channels mean."""
    for option in (
        click.option("--text", "texts", multiple=True, metavar="CHANNEL", help="A channel of texts."),
        click.option(
            "--state", "states", multiple=True, metavar="CHANNEL", help="A channel that is on or off (1 or 0)."
        ),
        click.option("--counter", "counters", multiple=True, metavar="CHANNEL", help="A channel that counts up."),
        click.option("--unit", "units_given", multiple=True, metavar="CHANNEL=UNIT", help="A channel's unit: power=W"),
    ):
        command = option(command)
    return command


def device_options(command: Command) -> Command:
    """Give a command the options that say whose readings these are."""
    command = click.option("--device", required=True, callback=checked_name, help="The device the readings belong to.")(
        command
    )
    return click.option("--node", required=True, callback=checked_name, help="The node the device belongs to.")(command)


def said(options: dict[str, Any]) -> Meaning:
    """Take what `meaning_options` gave out of the options and return what it says; raise click.BadParameter for no unit."""
    try:
        return meaning(**{key: options.pop(key) for key in MEANING})
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--unit") from None
