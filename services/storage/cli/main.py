"""`heliograph store`: look at a store, check it, back it up, bring data in and out."""

import sys
from contextlib import closing
from pathlib import Path

import click
import msgspec

from services.storage.cli.backup import backup_command, restore_command
from services.storage.cli.delete import delete_command
from services.storage.cli.export import export_command
from services.storage.cli.imports import import_group
from services.storage.cli.meter_replaced import meter_replaced_command
from services.storage.cli.rename import rename_command
from services.storage.cli.rescale import rescale_command
from services.storage.cli.store import copy_command, salvage_command
from services.storage.location import StoreAccess, store_options
from services.storage.maintenance import backup
from services.storage.maintenance import check as checking

DAMAGED = 1
FILES_DAMAGED = "damaged; the rest can be read. `heliograph store salvage` saves what can be saved"
DATABASE_DAMAGED = (
    "damaged, or not a whole store; restore the database from a backup, or mend it with PostgreSQL's own tools"
)
DATABASE_SOUND = "the database answers, and has a store; its files are checked by PostgreSQL's own tools (pg_amcheck)"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Manage the store of a node.

    --help of a command describes it. Commands that only read may run while storage does; the others report it if
    they may not. Exit codes: 0 done, 1 not done (or damage found), 2 not understood.
    """


@main.command()
@store_options
@click.option("--points", is_flag=True, help="Count the values of every series and year too.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def info(store: StoreAccess, points: bool, as_json: bool) -> None:
    """Show what is in the store: files, series, times, problems."""
    with closing(store.reader()) as reader:
        summary = checking.summary(store, reader, points=points)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(summary)).decode())
    else:
        click.echo("\n".join(checking.as_lines(summary)))


@main.command()
@store_options
@click.option("--quick", is_flag=True, help="Only the structure of the files.")
@click.option("--values", is_flag=True, help="Also read every value the way the dashboard does; slow.")
@click.option(
    "--backup",
    "backup_folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Check this backup in place of the store: every file, its size, its checksum, every block.",
)
def check(store: StoreAccess, quick: bool, values: bool, backup_folder: Path | None) -> None:
    """Check every file and decode everything in it; exit code 1 if anything is damaged. Storage may run meanwhile.

    Of a database: whether it answers and has a store, and with --values whether every value can be read.
    """
    if backup_folder:
        check_backup(backup_folder)
        return
    count = None
    with closing(store.reader()) as reader:
        damage = checking.damage(store, quick=quick)
        if not damage:
            reader.series()  # raises StoreAway if there is no store
        if values:
            count, missing = checking.read_everything(reader)
        else:
            missing = checking.problems(reader)
        damage += [sentence for sentence in missing if sentence not in damage]
    lost = checking.losses(store)
    for sentence in lost:
        click.echo(f"lost before: {sentence}")
    damage = [sentence for sentence in damage if sentence not in lost]
    for sentence in damage:
        click.echo(sentence, err=True)
    if damage:
        click.echo(DATABASE_DAMAGED if store.url else FILES_DAMAGED, err=True)
        sys.exit(DAMAGED)
    click.echo(
        (DATABASE_SOUND if store.url else "all files are sound")
        + ("" if count is None else f", and all {count:,} values can be read")
    )


def check_backup(folder: Path) -> None:
    """Check a backup as a whole; exit code 1 if anything is damaged."""
    wrong = backup.check(folder)
    for name, why in sorted(wrong.items()):
        click.echo(f"{name}: {why}", err=True)
    if wrong:
        click.echo("damaged; `heliograph store backup --incremental` makes the copies again", err=True)
        sys.exit(DAMAGED)
    click.echo(f"all files of {folder} are sound")


for command in (
    import_group,
    export_command,
    backup_command,
    restore_command,
    copy_command,
    meter_replaced_command,
    salvage_command,
    delete_command,
    rename_command,
    rescale_command,
):
    main.add_command(command)
