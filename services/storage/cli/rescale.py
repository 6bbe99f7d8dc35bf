"""`heliograph store rescale`: another unit for all values of a series, those of the past included."""

from contextlib import closing

import click

from heliograph import conversion, units
from heliograph import store as stores
from heliograph.conversion import Conversion
from heliograph.renames import Rename
from heliograph.store.interface import Series
from heliograph.store.rescaling import CannotRescale, refuse_kind
from heliograph.store.rescalings import Rescaling
from services.storage.location import StoreAccess, store_options
from services.storage.maintenance.check import moment


@click.command("rescale")
@store_options
@click.argument("name", metavar="SERIES")
@click.option("--to", "unit", required=True, help="The unit that all values are to have.")
@click.option("--from", "old", help="The unit that they have, if the store has none or a wrong one.")
@click.option("--factor", type=float, help="What to multiply values with, for units that are not known.")
@click.option("--offset", type=float, default=0.0, help="What to add after that.")
@click.option(
    "--join",
    "other",
    metavar="SERIES",
    help="The series with the new values, roof/meter/energy_kwh: the two become one.",
)
@click.option(
    "--again",
    metavar="N",
    type=int,
    default=0,
    help="Do once more what was the last rescaling of this series, with the number N that the command tells then.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done; storage may run.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rescale_command(
    store: StoreAccess,
    name: str,
    unit: str,
    old: str | None,
    factor: float | None,
    offset: float,
    other: str | None,
    again: int,
    dry_run: bool,
    yes: bool,
) -> None:
    """Convert all values of a series into another unit.

    SERIES is `roof/meter/energy`. After the unit of a channel has changed, its new values are another series, as energy_kwh: with
    --join the two become one again, under the name of the channel. Storage must be stopped, except for --dry-run. If it is interrupted,
    run it again: nothing is converted twice. Numbers of arrival stay, so nothing is uploaded once more, and what was uploaded stays as it is.
    """
    try:
        unit = units.spelled(unit)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    with closing(store.reader()) as reader:
        by_name = {one.name: one for one in reader.series()}
        series, newer = _named(by_name, name), None if other is None else _named(by_name, other)
        refuse_kind(series.kind, name)
        point = reader.latest([series.id]).get(series.id)
    is_done = series.unit == unit and factor is None and old is None
    change = None if is_done else _conversion(series, unit, old, factor, offset)
    if newer is not None and (newer.unit, newer.kind) != (unit, series.kind):
        raise click.ClickException(f"{other} is a {newer.kind} in {newer.unit!r}: it cannot be joined")
    if change is None and newer is None:
        click.echo(f"{name} has the unit {unit} already")
        return
    if change is not None and point is not None:
        shown, value = moment(point.time), float(point.value)
        click.echo(f"{name}: {value:.12g} {old or series.unit} at {shown} becomes {change.of(value):.12g} {unit}")
    if newer is not None:
        click.echo(f"{other} becomes a part of {name}")
    if dry_run:
        click.echo("nothing was changed (--dry-run)")
        return
    if not yes:
        click.confirm("Convert all values of this series for good? A backup is the only way back", abort=True)
    if change is not None:
        done = stores.rescale(store.data, Rescaling(series.id, unit, change), url=store.url, again=again)
        if done is not None:
            click.echo(
                f"{name} was converted like this at {moment(done.at)} already, and is not once more; if it is to be: --again {done.number}"
            )
    if newer is not None:
        stores.rename(store.data, Rename(newer.name, name), url=store.url)
    click.echo(f"{name} has the unit {unit} now")


def _named(by_name: dict[str, Series], name: str) -> Series:
    if name not in by_name:
        raise click.ClickException(f"there is no series {name}; `heliograph store info` lists them")
    return by_name[name]


def _conversion(series: Series, unit: str, old: str | None, factor: float | None, offset: float) -> Conversion:
    if factor is not None:
        if not factor > 0:
            raise click.BadParameter(f"{factor} is not a positive number", param_hint="--factor")
        return Conversion(multiply=factor, after=offset)
    if offset:
        raise click.UsageError("--offset needs --factor")
    try:
        return conversion.between(old or series.unit, unit)
    except ValueError as error:
        raise CannotRescale(f"{series.name}: {error}") from None
