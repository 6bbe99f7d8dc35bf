"""One run of an import: the store opened, every file read, and what is reported at the end."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import click

from heliograph.errors import StoreAway
from heliograph.store.interface import Series
from services.storage.importers.shared.dry_run import DryRunStore
from services.storage.importers.shared.importer import Importer
from services.storage.importers.shared.names import SeriesNames
from services.storage.importers.shared.parts import ImportPlan, Mistake, Part
from services.storage.location import StoreAccess
from services.storage.progress_bar import bar

SERIES_SHOWN = 20


def run(store: StoreAccess, plan: ImportPlan, *, dry_run: bool) -> None:
    """Import everything; raise click.ClickException if there was nothing, or if a write fails."""
    began = time.monotonic()
    with ExitStack() as opened:
        writer = None if dry_run else opened.enter_context(closing(store.writer()))
        known = _known(store)
        importer = Importer(writer or opened.enter_context(closing(DryRunStore(known))), known, plan.metadata)
        try:
            names = SeriesNames(known)
            size = sum(file.path.stat().st_size for file in plan.files if file.path.exists())
            with bar("importing", size) as advance:
                for file in plan.files:
                    for part in _readable(file.path, file.read(names)):
                        importer.take(part)
                        advance(part.size)
            importer.finish()
        except OSError as error:
            raise click.ClickException(
                f"{error}. Up to {importer.readings:,} readings are stored. Make room (df -h {store}), and run the "
                "same command again: nothing is stored twice"
            ) from None
    _report(store, importer, time.monotonic() - began, dry_run=dry_run)


def _readable(file: Path, parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts of a file; one that cannot be read (further) is a mistake, and the others follow."""
    try:
        yield from parts
    except (OSError, ValueError) as error:
        yield Part([], [Mistake(str(file), "a file that cannot be read", str(error))], 0)


def _known(store: StoreAccess) -> list[Series]:
    with closing(store.reader()) as reader:
        try:
            return reader.series()
        except StoreAway:
            return []


def _report(store: StoreAccess, importer: Importer, seconds: float, *, dry_run: bool) -> None:
    for mistake in importer.shown:
        what = f": {mistake.what!r}" if mistake.what else ""  # escaped: it may be anything
        click.echo(f"{mistake.where}: {mistake.why}{what}", err=True)
    for why, count in importer.mistakes.most_common():
        click.echo(f"set aside {count:,} times: {why}", err=True)
    if not importer.readings:
        raise click.ClickException("no reading was found in the files given")
    verb = "would be imported" if dry_run else "imported"
    click.echo(
        f"{importer.readings:,} readings of {len(importer.series):,} series {verb} into {store} in {seconds:.1f} s"
    )
    if importer.span:
        first, last = (datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds") for at in importer.span)
        click.echo(f"from {first} to {last}")
    for name in importer.series[:SERIES_SHOWN]:
        click.echo(f"  {name}")
    if len(importer.series) > SERIES_SHOWN:
        click.echo(f"  and {len(importer.series) - SERIES_SHOWN:,} more")
