"""Feeds of an Emoncms server, over its API: for those who do not have its files.

Each feed's file is downloaded as the server's own module for synchronisation does it (`feed/export`), and then read as
a file of its engine is: so values and times are those that the server stored. `feed/data` gives at most 8,928 points a request,
and of PHPTimeSeries only the first point of each interval that it is asked for.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from heliograph import topics, units
from services.storage.importers import phpfina, phptimeseries
from services.storage.importers.shared.emoncms_client import (
    ENGINES,
    PHPFINA,
    PHPTIMESERIES,
    EmoncmsClient,
    EmoncmsError,
    RemoteFeed,
)
from services.storage.importers.shared.feeds import Feed
from services.storage.importers.shared.names import SeriesNames
from services.storage.importers.shared.options import channel_metadata, checked_name, metadata_options
from services.storage.importers.shared.parts import ChannelMetadata, ImportFile, ImportPlan, Mistake, Part

ARGUMENT = click.argument("server", metavar="URL")


@click.option("--key", required=True, envvar="EMONCMS_KEY", help="A read key of the server.  [or in EMONCMS_KEY]")
@click.option("--node", required=True, callback=checked_name, help="The node the feeds belong to.")
@click.option("--device", callback=checked_name, default="", help="One device for all.  [default: each feed's tag]")
@click.option(
    "--feed",
    "named",
    multiple=True,
    metavar="ID[=CHANNEL]",
    help="Import this feed, under this name.  [default: every feed, as it is called there]",
)
@click.option(
    "--download",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the files are kept, so that a repeated import only asks for the rest.  [default: a temporary folder]",
)
@click.option("--pause", type=click.FloatRange(0, 60), default=1.0, show_default=True, help="Seconds between requests.")
@metadata_options
def plan(
    server: str,
    *,
    key: str,
    node: str,
    device: str,
    named: Sequence[str],
    download: Path | None,
    pause: float,
    **options: Any,
) -> ImportPlan:
    """Feeds of the Emoncms server at URL (https://emoncms.org), with their names and units.

    The files of the feeds are downloaded, one at a time, and then imported. If that is interrupted, repeat the command: what is
    there is not downloaded again.
    """
    if not server.startswith(("http://", "https://")):
        raise click.BadParameter("write http://… or https://…", param_hint="URL")
    metadata = channel_metadata(options)
    channels = _named(named)
    client = EmoncmsClient(server, key, pause=pause)
    try:
        feeds = client.feeds()
    except EmoncmsError as error:
        raise click.ClickException(f"{server}: {error}") from None
    if missing := channels.keys() - {feed.id for feed in feeds}:
        raise click.ClickException(f"there is no feed {', '.join(map(str, sorted(missing)))} at {server}")
    folder = download or _temporary(server)
    folder.mkdir(parents=True, exist_ok=True)
    units_by_name = dict(metadata.units)

    def file(feed: RemoteFeed) -> ImportFile:
        def read(names: SeriesNames) -> Iterator[Part]:
            named_device = device or names.device(node, feed.tag or "emoncms")
            channel = channels.get(feed.id) or names.channel(node, named_device, feed.name)
            names.claim(
                (node, named_device, channel),
                f"feed {feed.id} ({feed.tag}:{feed.name})",
                "give one another name with --feed ID=CHANNEL",
            )
            if unit := _unit(feed):
                units_by_name.setdefault(f"{node}/{named_device}/{channel}", unit)
            elif feed.unit:
                yield Part([], [Mistake(f"feed {feed.id}", "a unit that is not known here", feed.unit)], 0)
            yield from _read(client, feed, folder, node, named_device, channel)

        return ImportFile(Path(f"feed {feed.id} ({feed.tag}:{feed.name})"), read, 2 * feed.size)

    chosen = [feed for feed in feeds if not channels or feed.id in channels]
    if not chosen:
        raise click.ClickException(f"there are no feeds at {server}")
    return ImportPlan([file(feed) for feed in chosen], ChannelMetadata(units_by_name, metadata.kinds), given=metadata)


def _named(named: Sequence[str]) -> dict[int, str]:
    channels: dict[int, str] = {}
    for name in named:
        number, equals, channel = name.partition("=")
        if not number.isdecimal() or (equals and not topics.is_channel(channel)):
            raise click.BadParameter(f"{name!r} is not ID=CHANNEL, as in 12=power, nor ID", param_hint="--feed")
        channels[int(number)] = channel
    return channels


def _temporary(url: str) -> Path:
    """Return a folder for what is downloaded from a server, the same for each import, which no other user writes to."""
    name = hashlib.sha256(url.encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"heliograph-emoncms-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise click.ClickException(f"{folder} belongs to somebody else: give --download")
    return folder


def _unit(feed: RemoteFeed) -> str:
    try:
        return units.spelled(feed.unit)
    except ValueError:
        return ""


def _read(
    client: EmoncmsClient, feed: RemoteFeed, folder: Path, node: str, device: str, channel: str
) -> Iterator[Part]:
    """Download a feed, and yield its readings; what the server does not give is a mistake."""
    where = f"feed {feed.id} ({feed.tag}:{feed.name})"
    try:
        if feed.engine == PHPFINA:
            path = folder / f"{feed.id}.dat"
            yield from _download(client, feed, path, phpfina.VALUE_SIZE, overlap=phpfina.VALUE_SIZE)
            yield from phpfina.read(Feed(feed.id, path), node, device, channel)
        elif feed.engine == PHPTIMESERIES:
            path = folder / f"feed_{feed.id}.MYD"
            yield from _download(client, feed, path, phptimeseries.RECORD.size, overlap=0)
            yield from phptimeseries.read(Feed(feed.id, path), node, device, channel)
        else:
            engine = ENGINES.get(feed.engine, f"engine {feed.engine}")
            yield Part([], [Mistake(where, "a feed that has no file to download", engine)], 2 * feed.size)
    except EmoncmsError as error:
        why = "a feed that was not downloaded completely; repeat the import, it continues there"
        yield Part([], [Mistake(where, why, str(error))], 0)


def _download(client: EmoncmsClient, feed: RemoteFeed, path: Path, record: int, *, overlap: int) -> Iterator[Part]:
    """Bring a file up to date; the server sends `overlap` bytes before those that it is asked for, unless it is asked for all.

    Raises EmoncmsError if less arrives than the server has.
    """
    meta = client.meta(feed)
    if feed.engine == PHPFINA:
        described = phpfina.META.pack(0, 0, meta.interval, meta.start)
        description = path.with_suffix(".meta")
        if not description.exists() or description.read_bytes() != described:  # trimmed or cleared: another file
            path.unlink(missing_ok=True)
            description.write_bytes(described)
    path.touch()
    size = path.stat().st_size // record * record
    with path.open("r+b") as file:
        file.seek(max(0, size - overlap))
        yield Part([], [], size)
        for chunk in client.content(feed, size):
            file.write(chunk)
            yield Part([], [], len(chunk))
        file.truncate()
    size = path.stat().st_size
    if size < meta.points * record:
        raise EmoncmsError(f"{size:,} bytes of {meta.points * record:,} arrived")
