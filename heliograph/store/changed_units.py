"""Channels whose unit has changed: their values go into a series of their own, because the values of the past keep their unit.

Decision 0023. Which channels that are is kept with the catalog: readings may come before the next description.
"""

import logging
import re
from collections.abc import Callable, Container, Mapping

import msgspec
from anyascii import anyascii

from heliograph.messages import Info

log = logging.getLogger(__name__)

KEY = "changed_units"  # in the table meta
WORDS = {"%": "percent"}

Stored = dict[str, dict[str, str]]  # node/device → channel → the channel under which it is stored


class ChangedUnits:
    """Knows under which channel a device's channel is stored."""

    def __init__(self, text: str | None, keep: Callable[[str], None]) -> None:
        """Continue from the text that `keep` was last given to make durable."""
        self._keep = keep
        self._applies = True
        self._stored = msgspec.json.decode(text or "{}", type=Stored)

    def declared(self, node: str, device: str, info: Info, unit_of: Callable[[str], str | None]) -> Info:
        """Return a description with its channels as they are stored.

        `unit_of` returns the unit of a stored channel of the device, None if there is none. Raises what `keep` raises.
        """
        if not self._applies:
            return info
        name = f"{node}/{device}"
        before = self._stored.get(name, {})
        after = {}
        channels = {}
        for channel, declared in info.channels.items():
            known = unit_of(channel)
            if known and not declared.unit:  # no unit is no other unit
                target = before.get(channel, channel)
                declared = msgspec.structs.replace(declared, unit=unit_of(target) or "")
            elif not known or known == declared.unit:
                target = channel
            else:
                target = free_name(channel, declared.unit, info.channels, unit_of)
            channels[target] = declared
            if target != channel:
                after[channel] = target
        after |= {channel: target for channel, target in before.items() if channel not in info.channels}
        for channel, target in after.items():
            if before.get(channel) != target:
                log.warning(
                    "%s/%s has the unit %r now: it is stored as %s",
                    name,
                    channel,
                    channels[target].unit if target in channels else "",
                    target,
                )
        if after != before:
            self._stored = {**self._stored, name: after}
            self._keep(msgspec.json.encode({one: some for one, some in self._stored.items() if some}).decode())
        return msgspec.structs.replace(info, channels=channels)

    def stored(self, node: str, device: str, channels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the channels under which a device's channels are stored."""
        if not self._applies:
            return channels
        changed = self._stored.get(f"{node}/{device}", {})
        return tuple(changed.get(name, name) for name in channels)

    def by_stored_names(self) -> None:
        """From now on, channels are called as they are stored; what is kept stays as it is."""
        self._applies = False

    def problems(self) -> list[str]:
        """Return which channels have another unit now, and how they become one series again, a sentence each."""
        return [
            f"{device}/{channel} has another unit than its values in the store: new ones are stored as {device}/{target}. "
            f"To have one series: heliograph store rescale {device}/{channel} --to UNIT --join {device}/{target}"
            for device, changed in self._stored.items()
            for channel, target in changed.items()
        ]


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Return what was kept with other names of devices (node/device)."""
    stored = msgspec.json.decode(text, type=Stored)
    merged: Stored = {}
    for name, changed in stored.items():
        merged.setdefault(names.get(name, name), {}).update(changed)
    return msgspec.json.encode(merged).decode()


def channel_renamed(text: str, old: str, new: str) -> str:
    """Return what was kept after a rename of a channel (node/device/channel): one that is stored under its own name is not kept."""
    stored = msgspec.json.decode(text, type=Stored)
    device, _, channel = old.rpartition("/")
    name = new.rpartition("/")[2]
    changed = {key: name if target == channel else target for key, target in stored.get(device, {}).items()}
    stored[device] = {key: target for key, target in changed.items() if key != target}
    return msgspec.json.encode({key: some for key, some in stored.items() if some}).decode()


def free_name(channel: str, unit: str, taken: Container[str], unit_of: Callable[[str], str | None]) -> str:
    """Return the name for values of a unit, which no other channel has."""
    word = WORDS.get(unit) or re.sub(r"[^a-z0-9]+", "_", anyascii(unit).lower()).strip("_") or "other"
    name, number = f"{channel}_{word}", 2
    while name in taken or unit_of(name) not in (None, unit):
        name, number = f"{channel}_{word}_{number}", number + 1
    return name
