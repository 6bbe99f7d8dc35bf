"""Options that several importers have."""

import codecs
from collections.abc import Callable
from typing import Any

import click

from heliograph import topics, units
from heliograph.messages import Kind
from services.storage.importers.shared.parts import ChannelMetadata

Command = Callable[..., Any]
METADATA = ("units_given", "counters", "states", "texts")


def checked_name(context: click.Context, option: click.Parameter, value: str) -> str:
    """Return the name of a node or device that an option gives; raise click.BadParameter for anything else."""
    try:
        return topics.name(value) if value else value
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None


tz_option = click.option(
    "--tz", default="UTC", show_default=True, help="Time zone of times without an offset: Europe/Berlin"
)


repeated_hour_option = click.option(
    "--repeated-hour",
    type=click.Choice(["first", "second"]),
    help="Which of the two is meant in the hour that comes twice, where the order of the rows does not tell.  [default: set aside]",
)


def _codec(context: click.Context, option: click.Parameter, value: str) -> str:
    try:
        return codecs.lookup(value).name if value else value
    except LookupError:
        raise click.BadParameter(
            f"no encoding is called {value!r}; there are utf-8, utf-16, cp1252, latin-1 …", context, option
        ) from None


encoding_option = click.option(
    "--encoding",
    callback=_codec,
    default="",
    help="How the text is encoded: cp1252, latin-1, utf-16 …  [default: UTF-8, or UTF-16 with its mark]",
)


def metadata_options(command: Command) -> Command:
    """Give a command the options that state units and kinds of channels."""
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
    """Give a command the options that name node and device of the readings."""
    command = click.option("--device", required=True, callback=checked_name, help="The device the readings belong to.")(
        command
    )
    return click.option("--node", required=True, callback=checked_name, help="The node the device belongs to.")(command)


def channel_metadata(options: dict[str, Any]) -> ChannelMetadata:
    """Take what `metadata_options` gave out of the options and return it; raise click.BadParameter for a bad --unit."""
    units_given, counters, states, texts = (options.pop(key) for key in METADATA)
    by_name = {}
    for given in units_given:
        channel, equals, unit = given.partition("=")
        try:
            if not equals:
                raise ValueError(f"{given!r} is not channel=unit")
            by_name[channel] = units.spelled(unit)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--unit") from None
    kinds: dict[str, Kind] = dict.fromkeys(counters, "counter")
    kinds.update(dict.fromkeys(states, "state"))
    kinds.update(dict.fromkeys(texts, "text"))
    return ChannelMetadata(by_name, kinds)
