"""What is in a store, and whether all of it can be read."""

import time
from datetime import UTC, datetime

import msgspec

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.store import buckets, integrity, inventory, recovery, schema
from heliograph.store.interface import Reader, Series
from services.storage.location import StoreAccess
from services.storage.maintenance import files
from services.storage.progress_bar import bar

MINUTE = 60
HOUR = 3600


class StoreFile(msgspec.Struct, frozen=True):
    """One file of an embedded store: bytes with its journal, and the version of its format; 0 if that is unreadable."""

    name: str
    bytes: int
    format: int


class SeriesSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """One series: its newest time in seconds since 1970 UTC, and its values per year if they were counted."""

    name: str
    unit: str
    kind: str
    newest: float | None = None
    points: dict[str, int] = {}


class Summary(msgspec.Struct, frozen=True):
    """What `info` reports; times in seconds since 1970 UTC."""

    store: str
    engine: str  # the program that keeps it, and its version
    files: list[StoreFile]
    nodes: int
    devices: int
    series: list[SeriesSummary]
    oldest: float | None
    newest: float | None
    problems: list[str]


def summary(store: StoreAccess, reader: Reader, *, points: bool) -> Summary:
    """Look at a store; raise StoreAway if there is none."""
    series = reader.series()
    latest = reader.latest([one.id for one in series])
    extent = reader.extent()
    rows = [
        SeriesSummary(
            one.name,
            one.unit,
            one.kind,
            latest[one.id].time if one.id in latest else None,
            _points(reader, one, extent) if points and extent else {},
        )
        for one in series
    ]
    return Summary(
        str(store),
        reader.engine,
        []
        if store.url
        else [
            StoreFile(path.name, files.size(path), _format(store, path.name))
            for path in files.store_files(store.folder)
        ],
        len({one.node for one in series}),
        len({(one.node, one.device) for one in series}),
        rows,
        extent[0] if extent else None,
        extent[1] if extent else None,
        reader.problems(),
    )


def _points(reader: Reader, series: Series, extent: tuple[float, float]) -> dict[str, int]:
    edges = buckets.edges(extent[0], extent[1] + 0.001, "1y", "UTC")
    counts = reader.aggregate(series.id, edges, ["n"])["n"]
    years = (str(datetime.fromtimestamp(edge + MINUTE, UTC).year) for edge in edges)
    return {year: int(count) for year, count in zip(years, counts, strict=False) if count}


def _format(store: StoreAccess, name: str) -> int:
    try:
        with files.read_only(store.folder / name) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key='format'").fetchone()
    except (OSError, StoreDamaged):
        return 0
    return int(row[0]) if row else 0


def as_lines(summary: Summary) -> list[str]:
    """Return a summary as lines for people."""
    lines = [f"{summary.store}, {summary.engine}"]
    lines += [
        f"  {file.name:<18} {file.bytes:>15,} bytes  format {file.format or 'unreadable'}" for file in summary.files
    ]
    if summary.oldest is not None and summary.newest is not None:
        lines.append(f"from {moment(summary.oldest)} to {moment(summary.newest)}")
    lines.append(f"{summary.nodes} nodes, {summary.devices} devices, {len(summary.series)} series")
    width = max((len(row.name) for row in summary.series), default=0)
    for row in summary.series:
        newest = moment(row.newest) if row.newest is not None else "no values"
        lines.append(f"  {row.name:<{width}}  {row.kind:<7}  {row.unit:<5}  {newest}")
        lines += [f"  {'':<{width}}  {year}: {count:>13,}" for year, count in row.points.items()]
    return lines + [f"PROBLEM: {problem}" for problem in summary.problems]


def moment(time: float) -> str:
    """Return a time for people, to the second, in UTC."""
    return datetime.fromtimestamp(time, UTC).isoformat(" ", "seconds").replace("+00:00", "Z")


def damage(store: StoreAccess, *, quick: bool) -> list[str]:
    """Check the structure of every file and, unless quick, decode all of history; return what is wrong, a sentence each.

    There is nothing to check in a database.
    """
    paths = [] if store.url else files.store_files(store.folder)
    damages = [] if store.url else recovery.disagreements(store.folder)
    with bar("checking", sum(map(files.size, paths))) as advance:
        for path in paths:
            try:
                errors = files.integrity_errors(path, quick=quick)
                if not errors and not quick and path.match(files.HISTORY):
                    errors = [sentence for some in integrity.year(path) for sentence in some]
                damages += errors
                advance(files.size(path))
            except (OSError, StoreDamaged) as error:
                damages.append(str(error))
    return damages


def problems(reader: Reader) -> list[str]:
    """Return what a reader cannot read, a sentence each."""
    try:
        return reader.problems()
    except (StoreAway, StoreDamaged) as error:
        return [str(error)]


def losses(store: StoreAccess) -> list[str]:
    """Return what was lost in the last days with damaged files, as storage noted it, a sentence each."""
    if store.url:
        return []
    try:
        with files.read_only(schema.catalog_file(store.folder)) as catalog:
            return inventory.losses(catalog, time.time())
    except (OSError, StoreDamaged):
        return []


def read_everything(reader: Reader) -> tuple[int, list[str]]:
    """Read every value, which decodes every chunk; return how many there are, and what cannot be read, a sentence each."""
    values = 0
    try:
        extent = reader.extent()
        if extent:
            hour, steps = int(extent[0] // HOUR), int((extent[1] - extent[0]) // HOUR) + 1
            with bar("reading", steps) as advance:
                for time, _, _ in reader.export([one.id for one in reader.series()], extent[0], extent[1] + 0.001):
                    values += 1
                    if (reached := int(time // HOUR)) > hour:
                        advance(reached - hour)
                        hour = reached
        return values, reader.problems()
    except (StoreAway, StoreDamaged) as error:
        return values, [str(error)]
