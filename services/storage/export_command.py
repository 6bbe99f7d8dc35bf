"""`heliograph-store export`: what is asked for, and where it goes."""

import gzip
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import click

from heliograph.store.buckets import edges, zone
from heliograph.store.interface import FUNCTIONS, Function, Reader, Series
from services.storage import exporting
from services.storage.bars import bar
from services.storage.place import Place, store_options
from services.storage.times import Times

AFTER_LAST = 0.001  # the times of a store are whole milliseconds, and the end of a range is outside of it
SLACK = 60  # steps of the progress bar are minutes


@click.command("export")
@store_options
@click.argument("patterns", nargs=-1)
@click.option("--format", "form", type=click.Choice(["csv", "jsonl", "line"]), default="csv", show_default=True)
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
    help="ISO 8601 (without an offset: in --tz), or seconds since 1970 UTC.  [default: the oldest value]",
)
@click.option("--to", "end", default="", help="The same; itself not included.  [default: the newest value]")
@click.option(
    "--tz", default="UTC", show_default=True, help="Time zone of --from, --to, the buckets and the times in CSV."
)
@click.option("--bucket", default="", help="One value per 5m, 1h, 1d, 1w, 1mo, 1y …  [default: every value]")
@click.option(
    "--function",
    "functions",
    type=click.Choice(FUNCTIONS),
    multiple=True,
    help="Of a bucket, several times: these.  [default: mean]",
)
@click.option(
    "--layout",
    type=click.Choice(["wide", "long"]),
    default="wide",
    show_default=True,
    help="CSV: a column per series, or a row per value.",
)
def export_command(place: Place, patterns: tuple[str, ...], **options: Any) -> None:
    """Write series out: roof/meter/power, or patterns like 'roof/*/power' and 'roof/*/*'; all without a pattern.

    Storage may run meanwhile. What it writes, `heliograph-store import csv` and `import line` read again.
    """
    reader = place.reader()
    try:
        _export(reader, patterns, **options)
    finally:
        reader.close()


def _export(
    reader: Reader,
    patterns: tuple[str, ...],
    *,
    form: str,
    output: Path,
    start: str,
    end: str,
    tz: str,
    bucket: str,
    functions: tuple[Function, ...],
    layout: str,
) -> None:
    if functions and not bucket:
        raise click.UsageError("--function says what becomes of a bucket: say --bucket too")
    chosen = _chosen(reader, patterns)
    extent = reader.extent()
    if not chosen or extent is None:
        raise click.ClickException("no series matches; `heliograph-store info` lists them")
    times = Times("auto", zone(tz))
    first = _time(times, start, "--from") if start else extent[0]
    last = _time(times, end, "--to") if end else extent[1] + AFTER_LAST
    if first >= last:
        raise click.BadParameter("it is not before --to", param_hint="--from")
    if bucket:
        asked: tuple[Function, ...] = functions or ("mean",)
        moments = exporting.buckets(reader, chosen, edges(first, last, bucket, tz), asked)
    else:
        asked = ()
        moments = exporting.raw(reader, chosen, first, last)
    with _opened(output) as file, bar("exporting", int((last - first) // SLACK) + 1) as advance:
        for text in _lines(_format(form, layout, chosen, asked, tz), _advancing(moments, first, advance)):
            file.write(text)
            file.write("\n")


def _chosen(reader: Reader, patterns: tuple[str, ...]) -> list[Series]:
    try:
        return exporting.matching(reader.series(), patterns or ("*/*/*",))
    except KeyError as error:
        raise click.ClickException(f"no series {error.args[0]}; `heliograph-store info` lists them") from None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="PATTERNS") from None


def _format(form: str, layout: str, chosen: list[Series], asked: tuple[Function, ...], tz: str) -> exporting.Format:
    if form == "csv":
        return (exporting.LongCsv if layout == "long" else exporting.Csv)(chosen, asked, zone(tz))
    return exporting.FORMATS[form](chosen, asked)


def _lines(form: exporting.Format, moments: Iterable[exporting.Moment]) -> Iterator[str]:
    yield from form.head()
    for moment in moments:
        yield from form.lines(moment)


def _advancing(moments: Iterable[exporting.Moment], start: float, advance: Any) -> Iterator[exporting.Moment]:
    said = 0
    for moment in moments:
        yield moment
        reached = int((moment.time - start) // SLACK)
        if reached > said:
            advance(reached - said)
            said = reached


def _time(times: Times, text: str, option: str) -> float:
    try:
        return times.seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """Open where it goes; a file gets its name when it is complete."""
    if str(path) == "-":
        yield sys.stdout
        return
    partial = path.with_name(path.name + ".partial")
    try:
        with ExitStack() as opened:
            file: IO[bytes] = opened.enter_context(partial.open("wb"))
            if path.suffix == ".gz":
                file = cast("IO[bytes]", opened.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0)))
            text = opened.enter_context(io.TextIOWrapper(file, encoding="utf-8", newline="\n"))
            yield text
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
