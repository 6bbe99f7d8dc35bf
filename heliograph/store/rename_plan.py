"""What a rename of a node, device or channel does to the numbers of a store: the same for files and databases. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from heliograph import renames
from heliograph.errors import HeliographError
from heliograph.renames import Rename, Renames
from heliograph.store.copied_names import CopiedNames
from heliograph.store.interface import Progress


class CannotRename(HeliographError):
    """The old name does not exist, or what has the new one is of another kind."""


class NothingToRename(CannotRename):
    """The old name does not exist."""


class Renaming(NamedTuple):
    """The new names of devices and series, by number; and for those that are joined, the numbers that stay.

    `unit_of` has pairs: a channel of which one of two that are joined has no unit, and the unit that the values of both have now.
    """

    devices: dict[int, str]
    series: dict[int, str]
    joined_devices: dict[int, int]
    joined_series: dict[int, int]
    unit_of: tuple[tuple[str, str], ...] = ()


def plan(known: CopiedNames, old: str, new: str) -> Renaming:
    """Return which numbers of devices and series a rename concerns; raise CannotRename."""
    parts = old.count("/")
    if parts != new.count("/") or old == new:
        raise CannotRename(f"{old} cannot become {new}: both are nodes, devices (node/device) or channels")
    by_name = {name: number for number, (name,) in known.device.items()}
    devices: dict[int, str] = {}
    series: dict[int, str] = {}
    if parts < 2:
        for number, (name,) in known.device.items():
            if name == old:
                devices[number] = new
            elif parts == 0 and name.startswith(f"{old}/"):
                devices[number] = f"{new}/{name.partition('/')[2]}"
    else:
        device, _, channel = old.rpartition("/")
        if device != new.rpartition("/")[0]:
            raise CannotRename(f"{old} cannot become {new}: a channel stays with its device")
        owner = by_name.get(device)
        series = {sid: new.rpartition("/")[2] for sid, row in known.series.items() if row[:2] == (owner, channel)}
    if not devices and not series:
        raise NothingToRename(f"there is no {old} in the store; `heliograph store info` lists the series")
    joined_devices = {number: by_name[name] for number, name in devices.items() if name in by_name}
    moved = {sid: (joined_devices[row[0]], row[1]) for sid, row in known.series.items() if row[0] in joined_devices}
    moved |= {sid: (known.series[sid][0], name) for sid, name in series.items()}
    there = {row[:2]: sid for sid, row in known.series.items()}
    joined_series = {sid: there[key] for sid, key in moved.items() if key in there}
    for sid, other in joined_series.items():
        _refuse_difference(known, sid, other)
    return Renaming(devices, series, joined_devices, joined_series, _units_given(known, joined_series))


def was_done(known: CopiedNames, noted: Renames, entry: Rename) -> bool:
    """Whether this was the last rename, and nothing has the old name any more."""
    devices = {number: name for number, (name,) in known.device.items()}
    channels = [f"{devices[row[0]]}/{row[1]}" for row in known.series.values() if row[0] in devices]
    is_there = any(renames.renamed(name, entry.old, entry.new) != name for name in (*devices.values(), *channels))
    return noted.entries[-1:] == (entry,) and not is_there


def _refuse_difference(known: CopiedNames, one: int, other: int) -> None:
    """Refuse to join series of different units or kinds: the values of one would be wrong."""
    for what, index in (("unit", 2), ("kind", 3)):
        mine, theirs = known.series[one][index], known.series[other][index]
        if mine != theirs and (what == "kind" or (mine and theirs)):
            raise CannotRename(
                f"the channel {known.series[one][1]} has the {what} {mine!r} under the old name and {theirs!r} under the new one: "
                "they cannot be joined"
            )


def _units_given(known: CopiedNames, joined: dict[int, int]) -> tuple[tuple[str, str], ...]:
    pairs = [(known.series[one], known.series[other]) for one, other in joined.items()]
    return tuple((one[1], one[2] or other[2]) for one, other in pairs if one[2] != other[2])


class Moved(NamedTuple):
    """The progress of one epoch of a producer (node/service) under the new name of its node."""

    old: str
    new: str
    epoch: str
    progress: Progress


def moved_progress(known: Iterable[tuple[str, str, Progress]], entry: Rename) -> Iterator[Moved]:
    """Yield what becomes of the progress, (producer, epoch, progress), of the producers of a node that is renamed.

    Where a producer has continued under the new name before, it declared all frames before as lost; those that were stored under the
    old name are not.
    """
    there = {(producer, epoch): progress for producer, epoch, progress in known}
    for (producer, epoch), mine in there.items():
        new = renames.renamed(producer, entry.old, entry.new)
        if new == producer:
            continue
        theirs = there.get((new, epoch), mine)
        stored = mine.last - mine.lost
        has_continued = theirs.last > mine.last and theirs.lost >= stored
        lost = theirs.lost - stored if has_continued else max(mine.lost, theirs.lost)
        yield Moved(producer, new, epoch, Progress(max(mine.last, theirs.last), lost))
