"""`heliograph-store backup`, `restore`, `copy` and `replaced`: what is said to the user, and what is done."""

import hashlib
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import click

from heliograph.lock import Lock, Taken
from heliograph.store import salvage, schema
from heliograph.store.buckets import zone
from heliograph.store.interface import Reader, Writer
from services.storage.importers.shared.times import Times
from services.storage.location import Place, place, store_options
from services.storage.maintenance import backup, files
from services.storage.maintenance.copy import Copy
from services.storage.progress_bar import bar

FAR = 1 << 62  # behind every cursor there will be


@click.command("backup")
@store_options
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--incremental", is_flag=True, help="Leave years that are there already and have not changed.")
def backup_command(where: Place, folder: Path, incremental: bool) -> None:
    """Copy the store into FOLDER, whole and consistent, while storage runs.

    Put FOLDER on another disk. Every file is checked when it has been copied.
    """
    with bar("copying", sum(map(files.size, files.named(where.folder)))) as advance:
        copied = backup.back_up(where.folder, folder, advance, incremental=incremental)
    for name, fresh in copied.items():
        click.echo(f"{name}: {'copied' if fresh else 'unchanged since the last backup'}")
    click.echo(f"{folder} is a whole backup; `heliograph-store restore {folder}` puts it back")


@click.command("restore")
@store_options
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--force", is_flag=True, help="Over a store that is there; its files are moved aside, not deleted.")
def restore_command(where: Place, folder: Path, force: bool) -> None:
    """Put a backup back. Storage must be stopped meanwhile.

    The producers find out by themselves that the store is an older one, and send again what they still hold.
    """
    try:
        with bar("copying", sum(map(files.size, files.named(folder)))) as advance:
            aside = backup.restore(folder, where.folder, advance, force=force)
    except backup.NotEmpty as error:
        raise click.ClickException(f"{error}: --force moves it aside and restores") from None
    if aside:
        click.echo(f"what was there is in {aside}; delete it when all is well")
    click.echo(f"restored into {where}; start storage again")


@click.command("salvage")
@store_options
def salvage_command(where: Place) -> None:
    """Put back what can still be read of damaged files. Storage must be stopped meanwhile.

    Storage does the same by itself, a little at a time; this does it at once, and the catalog, which storage does not
    touch. Damaged files stay beside the others, as *.salvaged-WHEN.
    """
    if not files.named(where.folder):
        raise click.ClickException(f"there is no store in {where.folder}")
    lock = Lock(where.folder / backup.LOCK, "store")
    try:
        for path in files.named(where.folder):
            if path.name == files.HOT or not (wrong := files.mistakes(path)):
                continue  # a damaged hot.db is moved aside when it is opened
            click.echo(wrong[0])
            if path.name == files.CATALOG:
                salvage.catalog(where.folder)
            else:
                schema.move_aside(path)
    finally:
        lock.release()
    with closing(where.writer()) as writer:
        writer.settle()
        problems = writer.problems()
    for path in sorted(where.folder.glob("*.salvaged-*")):
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
    help="Where it is kept how far the copy is.  [default: in the store's folder]",
)
def copy_command(where: Place, target: str, cursor_file: Path | None) -> None:
    """Copy everything into another store, to move there without losing a reading.

    Run it while storage runs: that takes long, and may be cut off and repeated. Then stop storage, and run it again:
    that copies the rest, and what the producers were told. Then switch, and start storage.
    """
    to = place(target)
    if to == where:
        raise click.UsageError("--to is the store itself")
    with ExitStack() as opened:
        source = opened.enter_context(closing(where.reader()))
        source.series()  # raises StoreAway before anything is made, if there is no store
        writer = opened.enter_context(closing(to.writer()))
        standing = cursor_file or _standing(where, to)
        # Asked before the rest is copied: progress of what is not copied must not go over. While it is held, nobody writes.
        stopped = _writer_if_free(where)
        progress = dict(opened.enter_context(closing(stopped)).progress()) if stopped else None
        copy = Copy(source, writer, standing)
        began = time.monotonic()
        with bar("copying", _newest(source, copy.cursor) - copy.cursor) as advance:
            copy.everything(advance)
        if progress is not None:
            with closing(to.reader()) as there:
                numbers = {one.name: one.id for one in there.series()}
            copy.finish(progress, _replaced(where, source), numbers)
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
    sure = (
        "Nothing is missing"
        if not where.url
        else "If storage was stopped, which a database cannot tell, nothing is missing"
    )
    click.echo(
        f"{sure}. Now set {setting} in config.toml, for every service that reads the store, and start storage again."
    )


@click.command("replaced")
@store_options
@click.argument("series")
@click.option(
    "--at", "at", required=True, help="When: ISO 8601 (without an offset: in --tz), or seconds since 1970 UTC."
)
@click.option("--tz", default="UTC", show_default=True, help="Time zone of --at.")
def replaced_command(where: Place, series: str, at: str, tz: str) -> None:
    """Say that the meter behind a counter was replaced, so that its jump is not counted.

    SERIES is roof/meter/energy. The values stay as they are; totals are right from now on.
    """
    try:
        moment = Times("auto", zone(tz)).seconds(at)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from None
    with closing(where.writer()) as writer:
        with closing(where.reader()) as reader:
            found = [one for one in reader.series() if one.name == series]
        if not found:
            raise click.ClickException(f"there is no series {series}; `heliograph-store info` lists them")
        if found[0].kind != "counter":
            raise click.ClickException(
                f"{series} is a {found[0].kind}: only counters have totals that a replacement changes"
            )
        writer.replaced(found[0].id, moment)
    click.echo(f"{series}: replaced at {at}")


def _replaced(where: Place, source: Reader) -> list[tuple[str, float]]:
    """Return the meters that were replaced, and when; a database does not tell."""
    if where.url:
        return []
    names = {one.id: one.name for one in source.series()}
    with files.opened(where.folder / files.CATALOG) as catalog:
        rows = catalog.execute("SELECT series, ts FROM replacement ORDER BY ts").fetchall()
    return [(names[number], ms / 1000) for number, ms in rows if number in names]


def _standing(where: Place, to: Place) -> Path:
    """Return the file that says how far a copy is: beside the files of the one store, or else of the other."""
    holder = where if not where.url else to
    if holder.url:
        raise click.UsageError("both stores are databases: say with --cursor which file keeps how far the copy is")
    name = hashlib.sha256(f"{where} {to}".encode()).hexdigest()[:12]
    return holder.folder / f"copy-{name}.json"


def _writer_if_free(where: Place) -> Writer | None:
    """Return the store's writer, which keeps storage from starting, or None while storage runs."""
    try:
        return where.writer()
    except Taken:
        return None


def _newest(source: Reader, cursor: int) -> int:
    """Return about where the arrivals end, by halving the distance to where there are none."""
    low, high = cursor, cursor + 1
    while high < FAR and source.since(high, 1):
        low, high = high, high * 2
    while high - low > max(1, (high - cursor) // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if source.since(middle, 1) else (low, middle)
    return high
