"""`heliograph store salvage` and `copy`."""

import hashlib
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import click

from heliograph.lock import Lock, Taken
from heliograph.store import inventory, schema
from heliograph.store.interface import Reader, Writer
from heliograph.store.readings import LATEST
from heliograph.store.writer import SqliteWriter
from services.storage.location import StoreAccess, store_at, store_options
from services.storage.maintenance import files
from services.storage.maintenance.copy import StoreCopy
from services.storage.progress_bar import bar

FAR = 1 << 62  # after every cursor there will ever be


@click.command("salvage")
@store_options
def salvage_command(store: StoreAccess) -> None:
    """Put back what can still be read of damaged files. Storage must be stopped meanwhile.

    Storage does the same on its own, a little at a time; this does it at once. What is lost is shown, and from then on
    no problem any more. Damaged files stay beside the others, as *.salvaged-WHEN.
    """
    if not files.store_files(store.folder):
        raise click.ClickException(f"there is no store in {store.folder}")
    lock = Lock(store.folder / schema.LOCK, "store")
    try:
        for path in files.store_files(store.folder):
            if path.name == files.HOT or not files.size(path) or not (errors := files.integrity_errors(path)):
                continue  # a damaged hot.db is moved aside when it is opened
            click.echo(errors[0])
            schema.move_aside(path)
    finally:
        lock.release()
    with _unlogged(), closing(SqliteWriter(store.folder, lambda: True)) as writer:
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


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep losses out of the log: they are shown at the end, together with those that are older."""
    log = logging.getLogger(inventory.__name__)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


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
        damaged = source.damaged([one.id for one in source.series()], 0.0, LATEST)
    for refusal in copy.refused[:5]:
        click.echo(f"not taken: {refusal.why}: {refusal.what}", err=True)
    if copy.refused:
        click.echo(f"not taken {len(copy.refused):,} times", err=True)
    speed = copy.values / max(seconds, 1e-9)
    click.echo(
        f"{copy.readings:,} readings, {copy.values:,} values copied into {to} in {seconds:.1f} s ({speed:,.0f} values/s)"
    )
    if damaged:
        raise click.ClickException(
            f"not all could be read: {'; '.join(damaged)}. Mend it, delete {progress_file}, and run the same command again: "
            "what is there already is not stored twice"
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
