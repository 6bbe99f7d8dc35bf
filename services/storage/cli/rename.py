"""`heliograph store rename`: another name for a node, a device or a channel, everywhere at once."""

import re
from contextlib import closing
from pathlib import Path

import click

from heliograph import config, durable, forget, node_config, renames, topics
from heliograph import store as stores
from heliograph.errors import ConfigError
from heliograph.lock import Taken
from heliograph.renames import Rename, Uploads
from heliograph.store.rename_plan import Renaming
from services.storage.location import StoreAccess, chosen_config, state_option, store_options

PARTS = {"node": 1, "device": 2, "channel": 3}
HOME_ASSISTANT = "home_assistant"  # the service, its folder, and the volume of its container


@click.command("rename")
@store_options
@click.argument("level", type=click.Choice(tuple(PARTS)))
@click.argument("old")
@click.argument("new")
@click.option(
    "--uploads",
    type=click.Choice(("new", "old")),
    default="new",
    show_default=True,
    help="Under which name uploads continue. Nothing is sent twice, and `channels` of targets still fit, either way.",
)
@state_option("The volume of home_assistant in a container; its last part is the name of the service.")
@click.option(
    "--dry-run", is_flag=True, help="Only show what would be done, and which lines to change; storage may run."
)
def rename_command(
    store: StoreAccess,
    level: str,
    old: str,
    new: str,
    uploads: Uploads,
    state_folders: tuple[Path, ...],
    dry_run: bool,
) -> None:
    """Give a node, a device or a channel another name, with its history. All services must be stopped meanwhile, the broker not.

    OLD and NEW are `roof`, `roof/meter` or `roof/meter/power`. If there is something under the new name already, as after a
    change of [node] name, the two become one: of two values at one time the one that arrived last stays. What the broker
    retains of the old name is removed; uploads, calculations and Home Assistant's entities continue under the new name.
    If it is interrupted, run it again. Lines of config.toml that have the old name are shown, and not changed.
    """
    for text in (old, new):
        _check(level, text)
    entry = Rename(old, new, uploads)
    done: Renaming | None
    try:
        done = stores.rename(store.data, entry, url=store.url, dry_run=dry_run)
    except Taken:
        if dry_run or not _is_done(store, entry):
            raise
        done = None
        click.echo(f"{old} is {new} already")  # only the broker is left, which may run only while storage does
    else:
        click.echo(f"{old} {'would be' if dry_run else 'is'} {new}{'' if dry_run else ' now'}{_joined(done)}")
        for channel, unit in done.unit_of:
            counts = "would count" if dry_run else "count"
            click.echo(f"{channel} has no unit under one of the two names: all its values {counts} as {unit}", err=True)
    configuration = chosen_config()
    mentions = _mentions(configuration, old, new) if configuration else []
    if dry_run:
        _show(mentions)
        click.echo("nothing was changed (--dry-run)")
        return
    knows = tell_home_assistant(store, state_folders, configuration)
    _show(mentions)
    _clear_broker(configuration, level, old, mentions=bool(mentions))
    if not knows:
        _refuse_home_assistant(configuration, f"{level} {old} {new}")
    if done:
        click.echo("start the services again" + (" when these lines are changed" if mentions else ""))


def _is_done(store: StoreAccess, entry: Rename) -> bool:
    """Whether a rename is in the store, and nothing has the old name any more."""
    with closing(store.reader()) as reader:
        return reader.renames().present(entry.old) == entry.new and not any(
            f"{one.name}/".startswith(f"{entry.old}/") for one in reader.series()
        )


def _check(level: str, text: str) -> None:
    parts = text.split("/")
    good = len(parts) == PARTS[level] and all(map(topics.is_name, parts[:2])) and all(map(topics.is_channel, parts[2:]))
    if not good:
        raise click.BadParameter(f"{text!r} is not the name of a {level}: {'/'.join(list(PARTS)[: PARTS[level]])}")


def _joined(done: Renaming) -> str:
    joined = len(done.joined_devices) or len(done.joined_series)
    return f"; {joined} of it joined with what had that name" if joined else ""


def _mentions(path: Path, old: str, new: str) -> list[str]:
    """Return the lines of a configuration that may mean what is renamed, each with what it may have to be.

    A name is matched as a whole word: a device that is called as another thing is shown, too.
    """
    before, after = (name.rpartition("/")[2] for name in (old, new))
    word = re.compile(rf"(?<![a-z0-9_-]){re.escape(before)}(?![a-z0-9_-])")
    return [
        f"{path}:{number}: {line.strip()}  →  {word.sub(after, line.strip())}"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if word.search(line) and not line.lstrip().startswith("#")
    ]


def _show(mentions: list[str]) -> None:
    if mentions:
        click.echo("these lines have the old name, or a word like it; change those that mean it:")
    for mention in mentions:
        click.echo(f"  {mention}")


def tell_home_assistant(store: StoreAccess, state_folders: tuple[Path, ...], configuration: Path | None) -> bool:
    """Write all renames where home_assistant reads them at its start; return whether that folder is known.

    The container of storage does not have it: its own data folder is gone when it ends.
    """
    with closing(store.reader()) as reader:
        text = renames.encode(reader.renames())
    chosen = [folder for folder in state_folders if folder.name == HOME_ASSISTANT]
    if not chosen and store.data != Path() and configuration != node_config.CONTAINER_CONFIG:
        chosen = [store.data]
    for folder in chosen:
        durable.write(folder / HOME_ASSISTANT / renames.FILE, text.encode())
    return bool(chosen)


def _refuse_home_assistant(configuration: Path | None, arguments: str) -> None:
    """Say what is left for home_assistant; raise click.ClickException if the configuration has it."""
    missing = (
        "home_assistant does not know the new name: before it starts again, or Home Assistant begins new entities without their "
        "history, name its volume or data folder with --state, and run this again"
    )
    if configuration == node_config.CONTAINER_CONFIG:
        missing += (
            ": docker compose run --rm -v heliograph_home_assistant:/volumes/home_assistant storage "
            f"heliograph store rename {arguments} --state /volumes/home_assistant"
        )
    if configuration is not None and HOME_ASSISTANT in config.read(configuration):
        raise click.ClickException(f"{missing}. All else is done")
    click.echo(f"{missing}. Without Home Assistant nothing is missing", err=True)


def _clear_broker(configuration: Path | None, level: str, old: str, *, mentions: bool) -> None:
    """Remove what the broker retains of a node or device, as far as the passwords that are here allow it."""
    if level == "channel":
        return
    if configuration is None:
        click.echo("the broker still has what it retains of the old name: see `heliograph forget --help`")
        return
    node, _, device = old.partition("/")
    try:
        brokers = forget.brokers(configuration, "")
        forgotten = forget.forget_retained(brokers, node, device, discovery=False)
    except (ConfigError, ValueError) as error:
        raise click.ClickException(
            f"{error}. All else is done; start the services again{' when the lines above are changed' if mentions else ''}, and "
            f"run this again while the broker runs, to remove what it retains of {old}"
        ) from None
    click.echo(f"retained messages of {old} removed from the broker: {len(forgotten.removed)}")
    if forgotten.left:
        click.echo(
            f"no service whose password is here may remove {', '.join(forgotten.left)}: see `heliograph forget --help`"
        )
