"""`heliograph store export`: what is exported, and where to."""

import gzip
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import dropwhile, islice
from pathlib import Path
from typing import IO, Any, cast

import click

from heliograph import export_formats, series_patterns
from heliograph.export_formats import ExportFormat, Row
from heliograph.store.buckets import automatic, edges, zone
from heliograph.store.interface import FUNCTIONS, Function, Reader, Series
from services.storage.importers.shared.times import TimeParser
from services.storage.location import StoreAccess, store_options
from services.storage.progress_bar import bar

AFTER_LAST = 0.001  # the times of a store are whole milliseconds, and the end of a range is outside of it
STEP_SECONDS = 60  # of the progress bar
ROWS = 1_000  # written at a time
BUCKETS = 1_000  # asked for at a time


@click.command("export")
@store_options
@click.argument("patterns", nargs=-1)
@click.option("--format", "form", type=click.Choice(export_formats.NAMES), default="csv", show_default=True)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    help="A file; one that ends in .gz is compressed.  [default: standard output]",
)
@click.option(
    "--from",
    "start",
    default="",
    help="ISO 8601 (without an offset: in --tz), or seconds since 1970 UTC.  [default: the oldest value of these series]",
)
@click.option("--to", "end", default="", help="The same; exclusive.  [default: their newest value]")
@click.option(
    "--tz", default="UTC", show_default=True, help="Time zone of --from, --to, the buckets and the times in CSV."
)
@click.option("--bucket", default="", help="One value per 5m, 1h, 1d, 1w, 1mo, 3mo, 1y …  [default: every value]")
@click.option(
    "--function",
    "functions",
    type=click.Choice(FUNCTIONS),
    multiple=True,
    help="What to compute for a bucket; may be repeated.  [default: mean]",
)
@click.option(
    "--layout",
    type=click.Choice(tuple(export_formats.CSV_LAYOUTS)),
    help="CSV: a column per series, or a line per value.  [default: wide]",
)
def export_command(store: StoreAccess, patterns: tuple[str, ...], **options: Any) -> None:
    """Write series out: roof/meter/power, or patterns like 'roof/*/power' and 'roof/*/*'; all without a pattern.

    A name without * must exist. Storage may run meanwhile. The files are those of the API's /export, and
    `heliograph store import csv`, `jsonl` and `line` read them again: nothing is changed by that.
    """
    reader = store.reader()
    try:
        _export(reader, patterns, **options)
    finally:
        reader.close()


def _export(
    reader: Reader,
    patterns: tuple[str, ...],
    *,
    form: export_formats.Name,
    output: Path,
    start: str,
    end: str,
    tz: str,
    bucket: str,
    functions: tuple[Function, ...],
    layout: str | None,
) -> None:
    if functions and not bucket:
        raise click.UsageError("--function needs --bucket")
    if layout and form != "csv":
        raise click.UsageError("--layout needs --format csv")
    chosen = _chosen(reader, patterns)
    extent = reader.extent()
    if not chosen or extent is None:
        raise click.ClickException("no series matches; `heliograph store info` lists them")
    times = TimeParser("auto", zone(tz))
    first = _time(times, start, "--from") if start else _oldest(reader, chosen, extent) if bucket else extent[0]
    last = _time(times, end, "--to") if end else _newest(reader, chosen, extent[1]) + AFTER_LAST
    if first >= last:
        raise click.BadParameter("it is not before --to", param_hint="--from")
    if bucket == "auto":
        bucket = automatic(first, last)
    chosen_functions = [name for name in FUNCTIONS if name in (functions or ("mean",))] if bucket else []
    if bucket:
        rows = _bucket_rows(reader, chosen, chosen_functions, bucket, tz, first, last)
        if not start:
            counts = [name == "n" for name in chosen_functions] * len(chosen)
            rows = dropwhile(lambda row: _is_empty(row, counts), rows)
    else:
        rows = export_formats.raw_rows(reader.export([one.id for one in chosen], first, last), chosen)
    kind: type[ExportFormat] = export_formats.CSV_LAYOUTS[layout] if layout else export_formats.FORMATS[form]
    file_format = kind(export_formats.columns(chosen, chosen_functions), zone(tz))
    with _opened(output) as file, bar("exporting", int((last - first) // STEP_SECONDS) + 1) as advance:
        file.write(file_format.head())
        reached = 0
        while part := list(islice(rows, ROWS)):
            file.write(file_format.rows(part))
            step = max(reached, int((part[-1][0] - first) // STEP_SECONDS))
            advance(step - reached)
            reached = step
    if damaged := reader.damaged([one.id for one in chosen], 0.0 if "delta" in chosen_functions else first, last):
        raise click.ClickException(f"not all could be read, and the rest is written: {'; '.join(damaged)}")


def _bucket_rows(
    reader: Reader,
    chosen: Sequence[Series],
    functions: Sequence[Function],
    bucket: str,
    tz: str,
    start: float,
    end: float,
) -> Iterator[Row]:
    first, second = edges(start, start + AFTER_LAST, bucket, tz)[:2]
    while start < end:
        bounds = edges(start, min(start + BUCKETS * (second - first), end), bucket, tz)
        yield from export_formats.bucket_rows(reader, chosen, bounds, functions)
        start = bounds[-1]


def _oldest(reader: Reader, chosen: Sequence[Series], extent: tuple[float, float]) -> float:
    """Return a time before the oldest value of these series, by less than an hour; values of which only cells are kept count."""
    first, last = extent[0], extent[1] + AFTER_LAST
    ids = [one.id for one in chosen]
    for step in ("1y", "1mo", "1d", "1h"):
        bounds = edges(first, last, step, "UTC")
        counts = {sid: reader.aggregate(sid, bounds, ["n"])["n"] for sid in ids}
        index = next((number for number, row in enumerate(zip(*counts.values(), strict=True)) if any(row)), None)
        if index is None:
            return first
        ids = [sid for sid in ids if counts[sid][index]]
        first, last = max(first, bounds[index]), min(last, bounds[index + 1])
    return first


def _is_empty(row: Row, counts: Sequence[bool]) -> bool:
    """Whether a bucket has no reading: 0 of those columns that count them, and no value in the others."""
    return not any(value if is_count else value is not None for value, is_count in zip(row[1], counts, strict=True))


def _newest(reader: Reader, chosen: Sequence[Series], otherwise: float) -> float:
    """Return the time of the newest value of these series; `otherwise` if it is not kept."""
    points = reader.latest([one.id for one in chosen])
    return max((point.time for point in points.values()), default=otherwise)


def matching(series: Sequence[Series], patterns: Sequence[str]) -> list[Series]:
    """Return the series that the patterns match, in order of their names.

    Raises ValueError for anything that is not a pattern, KeyError for a full name that does not exist.
    """
    known = {one.name: one for one in series}
    return [known[name] for name in series_patterns.select(map(series_patterns.check, patterns), known)]


def _chosen(reader: Reader, patterns: tuple[str, ...]) -> list[Series]:
    try:
        return matching(reader.series(), patterns or ("*/*/*",))
    except KeyError as error:
        raise click.ClickException(f"no series {error.args[0]}; `heliograph store info` lists them") from None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="PATTERNS") from None


def _time(times: TimeParser, text: str, option: str) -> float:
    try:
        return times.only(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open where it goes; a file gets its name when it is complete."""
    if str(path) == "-":
        yield sys.stdout.buffer
        return
    partial = path.with_name(path.name + ".partial")
    try:
        with ExitStack() as opened:
            file: IO[bytes] = opened.enter_context(partial.open("wb"))
            if path.suffix == ".gz":
                file = cast("IO[bytes]", opened.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0)))
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
