"""`heliograph store delete`: which values are taken out."""

from contextlib import closing

import click

from heliograph import series_patterns
from heliograph.store.buckets import zone
from heliograph.store.interface import Reader, Series
from services.storage.importers.shared.times import TimeParser
from services.storage.location import StoreAccess, store_options
from services.storage.maintenance.check import moment


@click.command("delete")
@store_options
@click.argument("patterns", nargs=-1, required=True)
@click.option(
    "--from", "start", required=True, help="ISO 8601 (without an offset: in --tz), or seconds since 1970 UTC."
)
@click.option("--to", "end", required=True, help="The same; exclusive.")
@click.option("--tz", default="UTC", show_default=True, help="Time zone of --from and --to.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing; storage may run.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_command(
    store: StoreAccess, patterns: tuple[str, ...], start: str, end: str, tz: str, dry_run: bool, yes: bool
) -> None:
    """Delete values for good: readings of a time that cannot be, of a test, of a broken sensor.

    PATTERNS are names of series: roof/meter/power, 'roof/*/power', '*/*/*'. Storage must be stopped, except for
    --dry-run. Afterwards everything is as if these values had never been stored; what was uploaded stays where it is.
    """
    parser = TimeParser("auto", zone(tz))
    begin, stop = _time(parser, start, "--from"), _time(parser, end, "--to")
    try:
        for pattern in patterns:
            series_patterns.check(pattern)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if begin >= stop:
        raise click.UsageError("--from is not before --to")
    if dry_run:
        with closing(store.reader()) as reader:
            _show(reader, patterns, begin, stop)
        click.echo("nothing was deleted (--dry-run)")
        return
    with closing(store.writer()) as writer:
        with closing(store.reader()) as reader:
            chosen = _show(reader, patterns, begin, stop)
        if not chosen:
            return
        if not yes:
            click.confirm("Delete these values for good? A backup is the only way back", abort=True)
        try:
            deleted = writer.delete([one.id for one in chosen], begin, stop)
            writer.settle()
        except ValueError as error:
            raise click.ClickException(f"{error}. Nothing was deleted") from None
    click.echo(f"{deleted:,} values deleted")


def _time(parser: TimeParser, text: str, option: str) -> float:
    try:
        return parser.only(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint=option) from None


def _show(reader: Reader, patterns: tuple[str, ...], begin: float, stop: float) -> list[Series]:
    """Print what there is of each series; return those that have something."""
    by_name = {one.name: one for one in reader.series()}
    try:
        names = series_patterns.select(patterns, by_name)
    except KeyError as error:
        raise click.ClickException(f"there is no series {error.args[0]}; `heliograph store info` lists them") from None
    chosen = []
    for name in names:
        columns = reader.aggregate(by_name[name].id, [begin, stop], ["n"])
        count = int(columns["n"][0] or 0)
        page = reader.raw(by_name[name].id, begin, stop, limit=1)
        first = f", the first at {moment(page.times[0])}" if page.times else ""
        if count or page.times:
            chosen.append(by_name[name])
            click.echo(f"{name}: {count:,} values{first}")
    if not chosen:
        click.echo(f"no value of {len(names)} series from {moment(begin)} to {moment(stop)}")
    return chosen
