"""Feeds of emoncms, which are called by their numbers: what its two engines have in common."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import click

from heliograph import topics
from services.storage.importers.shared.options import channel_metadata, device_options, metadata_options
from services.storage.importers.shared.parts import ImportFile, ImportPlan, Part


class Feed(NamedTuple):
    """A feed's number, and where its values are."""

    id: int
    path: Path


ReadFeed = Callable[[Feed, str, str, str], Iterator[Part]]  # of node, device and channel


def feed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options with which feeds are imported."""
    feed = click.option(
        "--feed",
        "named",
        multiple=True,
        metavar="ID=CHANNEL",
        help="Import this feed, under this name.  [default: every feed, as feed_ID]",
    )
    return device_options(feed(metadata_options(command)))


def plan_feeds(
    feeds: Sequence[Feed], read: ReadFeed, *, node: str, device: str, named: Iterable[str], **options: Any
) -> ImportPlan:
    """Return the import of the feeds that the options name, of all if they name none."""
    channels: dict[int, str] = {}
    for name in named:
        number, equals, channel = name.partition("=")
        if not equals or not number.isdecimal() or not topics.is_channel(channel):
            raise click.BadParameter(f"{name!r} is not ID=CHANNEL, as in 12=power", param_hint="--feed")
        channels[int(number)] = channel
    if len(set(channels.values())) < len(channels):
        raise click.BadParameter("two feeds would have the same name", param_hint="--feed")
    missing = set(channels) - {feed.id for feed in feeds}
    if missing or not feeds:
        raise click.ClickException(f"no feed {', '.join(map(str, sorted(missing))) or 'at all'} in the files given")

    def file(feed: Feed) -> ImportFile:
        channel = channels.get(feed.id, f"feed_{feed.id}")
        return ImportFile(feed.path, lambda names: read(feed, node, device, channel))

    chosen = [feed for feed in feeds if not channels or feed.id in channels]
    for one, other in pairwise(sorted(chosen)):
        if one.id == other.id:
            raise click.ClickException(
                f"{one.path} and {other.path} are both feed {one.id}: import one of them at a time"
            )
    metadata = channel_metadata(options)
    taken = {channels.get(feed.id, f"feed_{feed.id}") for feed in chosen}
    if unknown := {*metadata.units, *metadata.kinds} - taken:
        raise click.ClickException(
            f"--unit, --counter, --state or --text: no feed is called {', '.join(sorted(unknown))}; "
            f"there are: {', '.join(sorted(taken))[:300]}"
        )
    return ImportPlan([file(feed) for feed in chosen], metadata)
