"""`heliograph store meter-replaced`: from when on a counter is that of another meter."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise

import click

from heliograph.store.buckets import zone
from heliograph.store.interface import Point, Reader, Series
from heliograph.store.readings import LATEST
from services.storage.importers.shared.times import TimeParser
from services.storage.location import StoreAccess, store_options
from services.storage.maintenance.check import moment

AROUND_SECONDS = (3_600.0, 86_400.0, 10 * 86_400.0)  # in which the rises are that a jump is compared with
ENOUGH = 10  # of them
SEARCHED_SECONDS = 7 * 86_400.0
PAGE = 10_000
USUAL = 3.0  # times the largest rise of those around


@click.command("meter-replaced")
@store_options
@click.argument("name", metavar="SERIES")
@click.option(
    "--at", "at", required=True, help="When: ISO 8601 (without an offset: in --tz), or seconds since 1970 UTC."
)
@click.option("--tz", default="UTC", show_default=True, help="Time zone of --at.")
@click.option("--yes", is_flag=True, help="Note it even if nothing in the readings shows another meter.")
def meter_replaced_command(store: StoreAccess, name: str, at: str, tz: str, yes: bool) -> None:
    """Note that the meter behind a counter was replaced, so that its jump is not counted.

    SERIES is roof/meter/energy. The values stay as they are; totals are right from now on.
    """
    try:
        seconds = TimeParser("auto", zone(tz)).only(at)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from None
    with closing(store.writer()) as writer:
        with closing(store.reader()) as reader:
            series = _counter(reader, name)
            seen = _seen(reader, series, seconds, yes=yes)
        writer.replaced(series.id, seconds)
    click.echo(f"{name}: replaced at {moment(seconds)}; {seen}")


def _counter(reader: Reader, name: str) -> Series:
    for one in reader.series():
        if one.name == name:
            if one.kind != "counter":
                raise click.ClickException(
                    f"{name} is a {one.kind}: only counters have totals that a replacement changes"
                )
            return one
    raise click.ClickException(f"there is no series {name}; `heliograph store info` lists them")


def _seen(reader: Reader, series: Series, at: float, *, yes: bool) -> str:
    """Return what no longer counts; raise click.ClickException for a moment at which no meter can have been replaced, or where, without `yes`, none seems to have been."""
    if at > time.time():
        raise click.BadParameter(f"{moment(at)} is in the future: the new meter has no reading yet", param_hint="--at")
    before = reader.latest([series.id], at - 0.001).get(series.id)
    after = next(_points(reader, series, at, LATEST, 1), None)
    if before is None:
        first = f"the first one is of {moment(after.time)}" if after else "there is none at all"
        raise click.BadParameter(
            f"{series.name} has no reading before {moment(at)}, of an old meter: {first}", param_hint="--at"
        )
    if after is None:
        return f"the newest reading, {_shown(before, series)}, is the old meter's, and the next one the new meter's"
    seen = f"from {_shown(before, series)} to {_shown(after, series)}"
    if not yes and _is_usual(reader, series, before, after):
        fall = _nearest_fall(reader, series, at)
        nearest = (
            f"falls from {_shown(fall[0], series)} to {_shown(fall[1], series)}" if fall else "does not fall in 7 days"
        )
        raise click.ClickException(
            f"{series.name} rises {seen} there, as it does around: that is no other meter. It {nearest}. "
            "Name the time of the new meter's first reading; --yes notes this one all the same. Nothing was noted"
        )
    return f"the difference {seen} no longer counts"


def _is_usual(reader: Reader, series: Series, before: Point, after: Point) -> bool:
    """Whether a counter rises between two readings as it does around them."""
    rise = float(after.value) - float(before.value)
    rises: list[float] = []
    for seconds in AROUND_SECONDS:
        points = _points(reader, series, before.time - seconds, after.time + seconds, PAGE)
        rises = [float(two.value) - float(one.value) for one, two in pairwise(points) if two.time != after.time]
        if len(rises) >= ENOUGH:
            break
    return bool(rises) and 0 <= rise <= USUAL * max(rises)


def _nearest_fall(reader: Reader, series: Series, at: float) -> tuple[Point, Point] | None:
    points = _points(reader, series, at - SEARCHED_SECONDS, at + SEARCHED_SECONDS, sys.maxsize)
    falls = ((one, two) for one, two in pairwise(points) if float(two.value) < float(one.value))
    return min(falls, key=lambda fall: abs(fall[1].time - at), default=None)


def _points(reader: Reader, series: Series, start: float, end: float, most: int) -> Iterator[Point]:
    """Yield at most so many points of [start, end), the oldest first."""
    after: float | None = None
    while most > 0:
        page = reader.raw(series.id, start, end, limit=min(most, PAGE), after=after)
        yield from map(Point, page.times, page.values)
        most -= len(page.times)
        after = page.next
        if after is None:
            return


def _shown(point: Point, series: Series) -> str:
    return f"{float(point.value):.12g} {series.unit} at {moment(point.time)}".replace("  ", " ")
