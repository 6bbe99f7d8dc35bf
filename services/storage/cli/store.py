"""`heliograph store backup`, `restore`, `salvage`, `copy` and `meter-replaced`."""

import hashlib
import os
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import click

from heliograph.errors import StoreDamaged
from heliograph.lock import Lock, Taken
from heliograph.store import schema
from heliograph.store.buckets import zone
from heliograph.store.interface import Reader, Writer
from heliograph.store.writer import SqliteWriter
from services.storage.importers.shared.times import TimeParser
from services.storage.location import StoreAccess, chosen_config, state_option, store_at, store_options
from services.storage.maintenance import backup, files, node_state
from services.storage.maintenance.copy import StoreCopy
from services.storage.maintenance.encryption import Encryption
from services.storage.progress_bar import bar

FAR = 1 << 62  # after every cursor there will ever be
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
    state: dict[str, Path] = {}
    for data in dict.fromkeys([store.data, *state_folders]):
        state |= node_state.of_folder(data, folder, secrets=secrets)
    if configuration := chosen_config():
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
@state_option(
    "The volume of a service in a container, which gets that service's files; its last part is the service's name. Repeatable."
)
@passphrase_option
def restore_command(
    store: StoreAccess,
    folder: Path,
    force: bool,
    salvage: bool,
    state_folders: tuple[Path, ...],
    passphrase_file: Path | None,
) -> None:
    """Put a backup back, once all of it was read. Every service must be stopped meanwhile.

    The producers notice that the store is an older one, and send again what they still hold. config.toml is not put back:
    the backup has it in state/config.toml. An encrypted backup asks for its pass phrase; config.toml is then in the data folder, as
    config.toml.from-backup.
    """
    target = store.folder
    encryption = _encryption(passphrase_file, new=False) if backup.is_encrypted(folder) else None
    try:
        with bar("copying", sum(map(files.size, files.store_files(folder)))) as advance:
            targets = list(state_folders) or [store.data]
            done = backup.restore(
                folder,
                target,
                advance,
                force=force,
                salvage=salvage,
                state_to=targets,
                encryption=encryption,
            )
    except backup.NotEmpty as error:
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
    if done.aside:
        click.echo(f"what was there is in {done.aside}; delete it when all is well")
    click.echo(f"restored into {store}; start the services again")


@click.command("salvage")
@store_options
def salvage_command(store: StoreAccess) -> None:
    """Put back what can still be read of damaged files. Storage must be stopped meanwhile.

    Storage does the same on its own, a little at a time; this does it at once. What is lost is shown, and from then on
    no problem any more. Damaged files stay beside the others, as *.salvaged-WHEN.
    """
    if not files.store_files(store.folder):
        raise click.ClickException(f"there is no store in {store.folder}")
    lock = Lock(store.folder / backup.LOCK, "store")
    try:
        for path in files.store_files(store.folder):
            if path.name == files.HOT or not files.size(path) or not (errors := files.integrity_errors(path)):
                continue  # a damaged hot.db is moved aside when it is opened
            click.echo(errors[0])
            schema.move_aside(path)
    finally:
        lock.release()
    with closing(SqliteWriter(store.folder, lambda: True)) as writer:
        writer.mend()
        accepted = writer.acknowledge()
        problems = writer.problems()
    for loss in accepted:
        click.echo(loss)
    for path in sorted(store.folder.glob("*.salvaged-*")):
        if path.name.endswith(files.SIDE_FILES):
            continue
        click.echo(f"{path.name}: what could be read of it is in the store; delete it, or keep it for a second look")
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)
    click.echo("all that could be read is in the store")


@click.command("copy")
@store_options
@click.option("--to", "target", required=True, metavar="URL|FOLDER", help="postgresql://… or another data folder.")
@click.option(
    "--cursor",
    "cursor_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file with the progress of the copy.  [default: in the store's folder]",
)
def copy_command(store: StoreAccess, target: str, cursor_file: Path | None) -> None:
    """Copy everything into another store, to move there without losing a reading.

    Run it while storage runs: that takes long, and may be interrupted and repeated. Then stop storage, and run it again:
    that copies the rest, and the watermarks of the producers. Then change the configuration, and start storage.
    """
    to = store_at(target)
    if to == store:
        raise click.UsageError("--to is the store itself")
    with ExitStack() as opened:
        source = opened.enter_context(closing(store.reader()))
        source.series()  # raises StoreAway before anything is made, if there is no store
        writer = opened.enter_context(closing(to.writer()))
        progress_file = cursor_file or _progress_file(store, to)
        # Read before the rest is copied: progress of what is not copied must not go over. While this writer is open,
        # no other process writes.
        stopped = _writer_if_free(store)
        progress = dict(opened.enter_context(closing(stopped)).progress()) if stopped else None
        copy = StoreCopy(source, writer, progress_file)
        began = time.monotonic()
        with bar("copying", _newest(source, copy.cursor) - copy.cursor) as advance:
            copy.everything(advance)
        if progress is not None:
            with closing(to.reader()) as there:
                numbers = {one.name: one.id for one in there.series()}
            copy.finish(progress, _replaced(store, source), numbers)
        seconds = time.monotonic() - began
    for refusal in copy.refused[:5]:
        click.echo(f"not taken: {refusal.why}: {refusal.what}", err=True)
    if copy.refused:
        click.echo(f"not taken {len(copy.refused):,} times", err=True)
    speed = copy.values / max(seconds, 1e-9)
    click.echo(
        f"{copy.readings:,} readings, {copy.values:,} values copied into {to} in {seconds:.1f} s ({speed:,.0f} values/s)"
    )
    if progress is None:
        click.echo(
            "Storage is running, so more will come. Stop it (`docker compose stop storage`), and run the same command again."
        )
        return
    setting = f'[node] store = "{target.partition("://")[0]}://…"' if to.url else f'[node] data = "{target}"'
    certainty = (
        "Nothing is missing"
        if not store.url
        else "If storage was stopped, which a database cannot tell, nothing is missing"
    )
    click.echo(
        f"{certainty}. Now set {setting} in config.toml, for every service that reads the store, and start storage again."
    )


@click.command("meter-replaced")
@store_options
@click.argument("series")
@click.option(
    "--at", "at", required=True, help="When: ISO 8601 (without an offset: in --tz), or seconds since 1970 UTC."
)
@click.option("--tz", default="UTC", show_default=True, help="Time zone of --at.")
def meter_replaced_command(store: StoreAccess, series: str, at: str, tz: str) -> None:
    """Note that the meter behind a counter was replaced, so that its jump is not counted.

    SERIES is roof/meter/energy. The values stay as they are; totals are right from now on.
    """
    try:
        moment = TimeParser("auto", zone(tz)).only(at)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from None
    with closing(store.writer()) as writer:
        with closing(store.reader()) as reader:
            matches = [one for one in reader.series() if one.name == series]
        if not matches:
            raise click.ClickException(f"there is no series {series}; `heliograph store info` lists them")
        if matches[0].kind != "counter":
            raise click.ClickException(
                f"{series} is a {matches[0].kind}: only counters have totals that a replacement changes"
            )
        writer.replaced(matches[0].id, moment)
    click.echo(f"{series}: replaced at {at}")


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


def _replaced(store: StoreAccess, source: Reader) -> list[tuple[str, float]]:
    """Return the meters that were replaced, and when; none for a database, from which that cannot be read."""
    if store.url:
        return []
    names = {one.id: one.name for one in source.series()}
    with files.read_only(store.folder / files.CATALOG) as catalog:
        rows = catalog.execute("SELECT series, ts FROM replacement ORDER BY ts").fetchall()
    return [(names[number], ms / 1000) for number, ms in rows if number in names]


def _progress_file(store: StoreAccess, to: StoreAccess) -> Path:
    """Return the file with the progress of a copy: beside the files of the first store, or else of the second."""
    holder = store if not store.url else to
    if holder.url:
        raise click.UsageError("both stores are databases: name with --cursor the file with the progress of the copy")
    name = hashlib.sha256(f"{store} {to}".encode()).hexdigest()[:12]
    return holder.folder / f"copy-{name}.json"


def _writer_if_free(store: StoreAccess) -> Writer | None:
    """Return the store's writer, which keeps storage from writing, or None while storage runs."""
    try:
        return store.writer()
    except Taken:
        return None


def _newest(source: Reader, cursor: int) -> int:
    """Return about the cursor of the newest arrival, by bisection."""
    low, high = cursor, cursor + 1
    while high < FAR and source.since(high, 1):
        low, high = high, high * 2
    while high - low > max(1, (high - cursor) // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if source.since(middle, 1) else (low, middle)
    return high
