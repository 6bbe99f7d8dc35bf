"""One run of an import: the store opened, every file read, and what is said about it at the end."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click

from heliograph.errors import StoreAway
from heliograph.store.interface import Series
from services.storage.bars import bar
from services.storage.importing import Importer, Meaning, Mistake, Part
from services.storage.place import Place
from services.storage.rehearsal import Rehearsal

SERIES_SHOWN = 20


class Source(NamedTuple):
    """What is to be read: the files, and how one of them is, given the series that the store has already.

    Reading raises OSError or ValueError for a file that cannot be read at all.
    """

    files: Iterable[Path]
    parts: Callable[[int, list[Series]], Iterable[Part]]  # of the file at this place


def run(place: Place, source: Source, said: Meaning, *, dry_run: bool) -> None:
    """Import everything; raises click.ClickException if there was nothing, or if the disk refuses."""
    began = time.monotonic()
    files = list(source.files)
    with ExitStack() as opened:
        writer = None if dry_run else opened.enter_context(closing(place.writer()))
        known = _known(place)
        importer = Importer(writer or opened.enter_context(closing(Rehearsal(known))), known, said)
        try:
            with bar("importing", sum(file.stat().st_size for file in files if file.exists())) as advance:
                for number, file in enumerate(files):
                    for part in _readable(file, source.parts(number, known)):
                        importer.take(part)
                        advance(part.size)
            importer.finish()
        except OSError as error:
            raise click.ClickException(
                f"{error}. Up to {importer.readings:,} readings are stored. Make room (df -h {place}), and run the "
                "same command again: nothing is doubled by it"
            ) from None
    _report(place, importer, time.monotonic() - began, dry_run=dry_run)


def _readable(file: Path, parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts of a file; one that cannot be read (further) is a mistake, and the others go on."""
    try:
        yield from parts
    except (OSError, ValueError) as error:
        yield Part([], [Mistake(str(file), "a file that cannot be read", str(error))], 0)


def _known(place: Place) -> list[Series]:
    with closing(place.reader()) as reader:
        try:
            return reader.series()
        except StoreAway:
            return []


def _report(place: Place, importer: Importer, seconds: float, *, dry_run: bool) -> None:
    for mistake in importer.shown:
        what = f": {mistake.what!r}" if mistake.what else ""  # escaped: it may be anything
        click.echo(f"{mistake.where}: {mistake.why}{what}", err=True)
    for why, count in importer.mistakes.most_common():
        click.echo(f"set aside {count:,} times: {why}", err=True)
    if not importer.readings:
        raise click.ClickException("no reading was found in the files given")
    verb = "would be imported" if dry_run else "imported"
    click.echo(
        f"{importer.readings:,} readings of {len(importer.series):,} series {verb} into {place} in {seconds:.1f} s"
    )
    if importer.span:
        first, last = (datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds") for at in importer.span)
        click.echo(f"from {first} to {last}")
    for name in importer.series[:SERIES_SHOWN]:
        click.echo(f"  {name}")
    if len(importer.series) > SERIES_SHOWN:
        click.echo(f"  and {len(importer.series) - SERIES_SHOWN:,} more")
