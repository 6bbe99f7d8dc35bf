"""The state of a target follows renames: what it knows of a device it knows under the device's name in uploads."""

from heliograph.renames import Renames, renamed
from services.uploader.engine.dead_letters import DeadLetter
from services.uploader.engine.delivery_state import DeliveryState
from services.uploader.engine.source import ChannelMap
from services.uploader.engine.state import StateFile
from services.uploader.target import MappedChannel


def follow_renames(file: StateFile, name: str, state: DeliveryState, renames: Renames, channels: ChannelMap) -> None:
    """Bring a target's state and its dead letters to the present names, and save both together; raise StateAway, StoreAway.

    Positions are numbers of arrival, or times, and stay. A store that has fewer renames than the state is another one.
    """
    if state.renames == len(renames):
        return
    newer_than, newest = state.newer_than, state.newest_by_device
    dead_letters = file.every_dead_letter(name)
    for count in range(state.renames, len(renames)):
        newer_than, newest = _followed(newer_than, renames, count), _followed(newest, renames, count)
        dead_letters = [_renamed_letter(letter, renames, count) for letter in dead_letters]
    state.newer_than, state.newest_by_device, state.renames = newer_than, newest, len(renames)
    file.follow(name, state, [_named(letter, channels) for letter in dead_letters])


def _followed(times: dict[str, float], renames: Renames, count: int) -> dict[str, float]:
    """Return times by device after one more rename than `count`; of two devices that became one the later time."""
    after: dict[str, float] = {}
    for name, time in times.items():
        new = _uploaded(name, renames, count)
        after[new] = max(time, after.get(new, time))
    return after


def _uploaded(name: str, renames: Renames, count: int) -> str:
    """Return what a name in uploads is after one more rename than `count`."""
    entry = renames.entries[count]
    before = Renames(renames.entries[:count])
    present = before.present(name)
    if before.in_uploads(present) != name:
        present = name
    new = renamed(present, entry.old, entry.new)
    return name if new == present or entry.uploads == "old" else new


def _renamed_letter(letter: DeadLetter, renames: Renames, count: int) -> DeadLetter:
    channels = []
    for mapped in letter.row.channels:
        node, device, channel = _uploaded(mapped.series, renames, count).split("/")
        channels.append(mapped._replace(node=node, device=device, channel=channel))
    return letter._replace(row=letter.row._replace(channels=tuple(channels)))


def _named(letter: DeadLetter, channels: ChannelMap) -> DeadLetter:
    """Return a dead letter whose channels are called as the target calls them now, as far as it still gets them."""

    def named(mapped: MappedChannel) -> MappedChannel:
        present = channels.mapped(mapped.node, mapped.device, mapped.channel)
        return mapped if present is None else mapped._replace(name=present.name)

    return letter._replace(row=letter.row._replace(channels=tuple(map(named, letter.row.channels))))
