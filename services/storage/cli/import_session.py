"""One run of an import: the store opened, every file read, and what is reported at the end."""

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import click

from heliograph.errors import StoreAway
from heliograph.store.interface import Series
from heliograph.store.readings import LATEST
from services.storage.importers.shared.channels import SeriesName
from services.storage.importers.shared.dry_run import DryRunStore
from services.storage.importers.shared.importer import Importer
from services.storage.importers.shared.names import SeriesNames
from services.storage.importers.shared.parts import ImportPlan, Mistake, Part
from services.storage.location import StoreAccess
from services.storage.progress_bar import bar

SERIES_SHOWN = 20


def run(store: StoreAccess, plan: ImportPlan, *, dry_run: bool) -> None:
    """Import everything; raise click.ClickException if there was nothing, if a write fails, or if options name no channel."""
    began = time.monotonic()
    if not dry_run:
        _check_given(plan, store)
    with ExitStack() as opened:
        writer = None if dry_run else opened.enter_context(closing(store.writer()))
        if writer:
            writer.by_stored_names()  # that is how files call them: what a device's channels are called is another matter
        known = _known(store)
        counts = opened.enter_context(closing(_PointCounts(store, known)))
        importer = Importer(writer or opened.enter_context(closing(DryRunStore(known))), known, plan.metadata)
        try:
            names = SeriesNames(known)
            size = sum(file.size or file.path.stat().st_size for file in plan.files if file.size or file.path.exists())
            with bar("importing", size) as advance:
                for file in plan.files:
                    for part in _readable(file.path, file.read(names)):
                        counts.note(part)
                        importer.take(part if part.source else part._replace(source=str(file.path)))
                        advance(part.size)
            importer.finish()
        except OSError as error:
            raise click.ClickException(
                f"{error}. Up to {importer.readings:,} readings are stored. Make room (df -h {store}), and run the "
                "same command again: nothing is stored twice"
            ) from None
        replaced = None if dry_run else sum(importer.values.values()) - counts.added(importer.values)
    _show_mistakes(importer)
    refused = [f"nothing of {name} was imported: {why}" for name, why in importer.refused.items()]
    complaints = [*plan.complaints(), *refused, *_unknown(plan, importer.channels)]
    if not importer.readings:
        raise click.ClickException("\n".join(["no reading was found in the files given", *complaints]))
    _report(store, importer, time.monotonic() - began, dry_run=dry_run, replaced=replaced, known=known)
    if complaints:
        raise click.ClickException("\n".join(complaints))


class _PointCounts:
    """Counts the points of series in the store, before and after an import."""

    def __init__(self, store: StoreAccess, known: Iterable[Series]) -> None:
        self._reader = store.reader()
        self._ids = {(one.node, one.device, one.channel): one.id for one in known}
        self._before: dict[SeriesName, int] = {}

    def note(self, part: Part) -> None:
        """Remember how many points the series of a part have, before the first of them is imported."""
        for node, block in part.readings:
            for channel in block.channels:
                name = (node, block.device, channel)
                if name not in self._before:
                    self._before[name] = self._points(self._ids[name]) if name in self._ids else 0

    def added(self, names: Iterable[SeriesName]) -> int:
        """Return how many points more these series have now."""
        ids = {(one.node, one.device, one.channel): one.id for one in self._reader.series()} if names else {}
        return sum(self._points(ids[name]) - self._before[name] for name in names if name in ids)

    def close(self) -> None:
        """Close the store."""
        self._reader.close()

    def _points(self, series: int) -> int:
        [count] = self._reader.aggregate(series, (0.0, LATEST), ("n",))["n"]
        return int(count or 0)


def _readable(file: Path, parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts of a file; one that cannot be read (further) is a mistake, and the others follow."""
    try:
        yield from parts
    except (OSError, ValueError) as error:
        yield Part([], [Mistake(str(file), "a file that cannot be read", str(error).removeprefix(f"{file}: "))], 0)


def _known(store: StoreAccess) -> list[Series]:
    with closing(store.reader()) as reader:
        try:
            return reader.series()
        except StoreAway:
            return []


def _check_given(plan: ImportPlan, store: StoreAccess) -> None:
    """Raise click.ClickException, before anything is stored, if options name a channel that no file has.

    The files are read until all are seen: in most of them that is their first part. What cannot be read twice, or is
    not downloaded yet, is judged after the import.
    """
    given = {*plan.given.units, *plan.given.kinds}
    if not given or not all(file.path.is_file() for file in plan.files):
        return
    names = SeriesNames(_known(store))
    channels: set[str] = set()
    for file in plan.files:
        for part in _readable(file.path, file.read(names)):
            channels.update(channel for _, block in part.readings for channel in block.channels)
            if given <= channels:
                return
    if unknown := _unknown(plan, channels):
        raise click.ClickException("\n".join([*unknown, "nothing was imported"]))


def _unknown(plan: ImportPlan, channels: Collection[str]) -> list[str]:
    """Return a sentence for each channel that an option names and no file has; none if the files have no channel at all."""
    there = ", ".join(sorted(channels))[:300]
    return [
        f"--unit, --counter, --state or --text: there was no value of a channel {name!r}; there are: {there}"
        for name in dict.fromkeys((*plan.given.units, *plan.given.kinds))
        if channels and name not in channels
    ]


def _show_mistakes(importer: Importer) -> None:
    for mistake in importer.shown:
        what = f": {mistake.what!r}" if mistake.what else ""  # escaped: it may be anything
        click.echo(f"{mistake.where}: {mistake.why}{what}", err=True)
    for why, count in importer.mistakes.most_common():
        click.echo(f"set aside {count:,} times: {why}", err=True)
    if importer.rounded:
        click.echo(
            f"{importer.rounded:,} whole numbers beyond 2^53 were rounded: a store keeps 15 digits of a number",
            err=True,
        )


def _report(
    store: StoreAccess,
    importer: Importer,
    seconds: float,
    *,
    dry_run: bool,
    replaced: int | None,
    known: Iterable[Series],
) -> None:
    verb = "would be imported" if dry_run else "imported"
    series = importer.series
    click.echo(f"{importer.readings:,} readings of {len(series):,} series {verb} into {store} in {seconds:.1f} s")
    if replaced:
        new = sum(importer.values.values()) - replaced
        click.echo(f"{new:,} values are new, {replaced:,} replaced another one of the same series and moment")
    if importer.span:
        first, last = (datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds") for at in importer.span)
        click.echo(f"from {first} to {last}")
    before = {one.name for one in known}
    for name, channel in list(series.items())[:SERIES_SHOWN]:
        unit = f", {channel.unit}" if channel.unit else ""
        click.echo(f"  {name}  {channel.kind}{unit}{' (continued: the store had it before)' if name in before else ''}")
    if len(series) > SERIES_SHOWN:
        click.echo(f"  and {len(series) - SERIES_SHOWN:,} more")
