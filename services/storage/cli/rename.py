"""`heliograph-store rename`: other names for what is in the store."""

import click

from heliograph import topics
from heliograph.store import renaming
from services.storage.location import StoreAccess, store_options
from services.storage.maintenance import files

PARTS = {"node": 1, "device": 2, "channel": 3}


@click.command("rename")
@store_options
@click.argument("level", type=click.Choice(tuple(PARTS)))
@click.argument("old")
@click.argument("new")
def rename_command(store: StoreAccess, level: str, old: str, new: str) -> None:
    """Give a node, a device or a channel another name, with its history. Storage must be stopped meanwhile.

    OLD and NEW are `roof`, `roof/meter` or `roof/meter/power`. If there is something under the new name already, as after a
    change of [node] name, the two become one: of two values at one time the one that arrived last stays.
    """
    for text in (old, new):
        parts = text.split("/")
        good = (
            len(parts) == PARTS[level]
            and all(map(topics.is_name, parts[:2]))
            and all(map(topics.is_channel, parts[2:]))
        )
        if not good:
            raise click.BadParameter(f"{text!r} is not the name of a {level}: {'/'.join(list(PARTS)[: PARTS[level]])}")
    if not files.store_files(store.folder):
        raise click.ClickException(f"there is no store in {store.folder}")
    done = renaming.rename(store.folder, old, new)
    joined = len(done.joined_devices) or len(done.joined_series)
    click.echo(f"{old} is {new} now" + (f"; {joined} of it joined with what had that name" if joined else ""))
    if level != "channel":
        click.echo(
            "What the broker retains of the old name is removed with `python -m heliograph.forget`; uploads send under the new name "
            "from now on, unless a target sets names of its own"
        )
