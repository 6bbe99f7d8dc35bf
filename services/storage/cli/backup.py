"""`heliograph store backup` and `restore`."""

import os
import sys
from pathlib import Path

import click

from heliograph import node_config
from heliograph.errors import StoreAway, StoreDamaged
from services.storage.cli.rename import tell_home_assistant
from services.storage.location import StoreAccess, chosen_config, state_option, store_options
from services.storage.maintenance import backup, files, lost_renames, node_state, restore
from services.storage.maintenance.encryption import Encryption
from services.storage.progress_bar import bar

PASSPHRASE = "HELIOGRAPH_PASSPHRASE"  # of the environment

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=f"The file with the pass phrase, in place of {PASSPHRASE} in the environment, or of a question.",
)


@click.command("backup")
@store_options
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--incremental", is_flag=True, help="Skip years that are there already and have not changed.")
@state_option("Another data folder whose files belong to the node: the volume of a service in a container. Repeatable.")
@click.option("--secrets", is_flag=True, help="Also copy data/secrets, unencrypted, readable by its owner only.")
@click.option(
    "--encrypt", is_flag=True, help="Encrypt what is not the store with a pass phrase, data/secrets included."
)
@passphrase_option
def backup_command(
    store: StoreAccess,
    folder: Path,
    incremental: bool,
    state_folders: tuple[Path, ...],
    secrets: bool,
    encrypt: bool,
    passphrase_file: Path | None,
) -> None:
    """Copy the store into FOLDER, whole and consistent, while storage runs, and what the other services keep.

    Put FOLDER on another disk. Every file is checked when it has been copied, and its checksum now and then afterwards:
    a copy that is not as it was is made again.
    """
    encryption = _encryption(passphrase_file, new=True) if encrypt or passphrase_file else None
    secrets = secrets or encryption is not None
    was_encrypted = encryption is None and _is_encrypted(folder)
    state: dict[str, Path] = {}
    for data in dict.fromkeys([store.data, *state_folders]):
        state |= node_state.of_folder(data, folder, secrets=secrets)
    if (chosen := chosen_config()) and (configuration := node_config.written_by_user(chosen)):
        state[node_state.CONFIGURATION] = configuration
    with bar("copying", sum(map(files.size, files.store_files(store.folder)))) as advance:
        done = backup.back_up(
            store.folder, folder, advance, incremental=incremental, state=state, encryption=encryption
        )
    for name, fresh in done.copied.items():
        why = f" again: {done.made_again[name]}" if name in done.made_again else ""
        click.echo(f"{name}: {f'copied{why}' if fresh else 'unchanged since the last backup'}")
    for name in done.state:
        click.echo(f"state/{name}: copied")
    for name in done.missing:
        click.echo(f"{name}: missing in the store; its copy is kept", err=True)
    for name in done.before_loss:
        click.echo(f"{name}: the copy from before the store lost a part of it; delete it when all is well", err=True)
    if was_encrypted:
        click.echo(
            f"{folder}/state was encrypted, and is plain now: to have it encrypted again, give --encrypt", err=True
        )
    kept = "left out: passwords and keys in files (--encrypt adds them)"
    if secrets:
        kept = "included, and encrypted like all of state/" if encryption else "included, keep it locked away"
    click.echo(f"{folder} is a whole backup; `heliograph store restore {folder}` puts it back. Secrets are {kept}")


@click.command("restore")
@store_options
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--force", is_flag=True, help="Replace what is there; its files are moved aside, not deleted.")
@click.option(
    "--salvage", is_flag=True, help="Restore what can be read of damaged files, too, in place of refusing the backup."
)
@click.option(
    "--old-names",
    is_flag=True,
    help="Leave the names of the backup, in place of doing once more what was renamed after it.",
)
@state_option(
    "The volume of a service in a container, which gets that service's files; its last part is the service's name. Repeatable."
)
@passphrase_option
def restore_command(
    store: StoreAccess,
    folder: Path,
    force: bool,
    salvage: bool,
    old_names: bool,
    state_folders: tuple[Path, ...],
    passphrase_file: Path | None,
) -> None:
    """Put a backup back, once all of it was read. Every service must be stopped meanwhile.

    The producers notice that the store is an older one, and send again what they still hold. What was renamed after the backup is
    renamed once more, as far as the store that was here, or home_assistant's folder, tells. config.toml is not put back:
    the backup has it in state/config.toml. An encrypted backup asks for its pass phrase; config.toml is then in the data folder, as
    config.toml.from-backup.
    """
    target = store.folder
    encryption = _encryption(passphrase_file, new=False) if backup.is_encrypted(folder) else None
    try:
        with bar("copying", sum(map(files.size, files.store_files(folder)))) as advance:
            targets = list(state_folders) or [store.data]
            before = [] if old_names else lost_renames.known(target, targets)
            done = restore.restore(
                folder,
                target,
                advance,
                force=force,
                salvage=salvage,
                state_to=targets,
                encryption=encryption,
            )
    except restore.NotEmpty as error:
        raise click.ClickException(f"{error}: --force moves it aside and restores") from None
    except StoreDamaged as error:
        raise click.ClickException(
            f"{error}. Nothing was restored; --salvage restores the rest, and what can be read of this"
        ) from None
    for name, why in sorted(done.damaged.items()):
        click.echo(f"{name}: {why}; storage stores again what can be read of it", err=True)
    for name in done.state.done:
        click.echo(f"{name}: put back")
    for name in done.state.there:
        click.echo(f"{name}: there already, and not replaced (--force replaces it)")
    repeated = lost_renames.repeat(target, before)
    for entry in repeated.done:
        click.echo(f"{entry.old} is {entry.new} again: it was renamed after the backup")
    for what, why in repeated.failed.items():
        click.echo(f"the rename of {what}, after the backup, could not be done once more: {why}", err=True)
    if repeated.done:
        tell_home_assistant(store, state_folders, chosen_config())
    if done.aside:
        click.echo(f"what was there is in {done.aside}; delete it when all is well")
    click.echo(f"restored into {store}; start the services again")


def _is_encrypted(folder: Path) -> bool:
    """Whether the folder has an encrypted backup; false if there is none."""
    try:
        return backup.is_encrypted(folder)
    except (StoreAway, StoreDamaged):
        return False


def _encryption(passphrase_file: Path | None, *, new: bool) -> Encryption:
    """Return what a pass phrase opens: that of a file, of the environment, or one that is typed."""
    try:
        if passphrase_file is not None:
            return Encryption(passphrase_file.read_text().rstrip("\n"))
        return Encryption(os.environ.get(PASSPHRASE) or _typed_passphrase(new=new))
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _typed_passphrase(*, new: bool) -> str:
    try:
        return str(click.prompt("Pass phrase", hide_input=True, confirmation_prompt=new))
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise click.ClickException(
            f"there is no terminal to type the pass phrase at: --passphrase-file FILE, or {PASSPHRASE} in the environment"
        ) from None
