"""Which devices there are, what Home Assistant was told of them, and what it is still to be told."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from heliograph.messages import Info
from services.home_assistant import discovery
from services.home_assistant.identifiers import joined

SETTLE_SECONDS = 1.0  # a device that is just being learnt is told in one message, not in ten
LONGEST_SETTLE_SECONDS = 10.0
DROP_SECONDS = 15.0  # after a removal, Home Assistant is done with it

Tell = Callable[[str, bytes], object]
Device = tuple[str, str]  # node and name


class _Due(NamedTuple):
    first: float
    last: float


class Registry:
    """Keeps Home Assistant's idea of our devices right, by as few messages as possible.

    `tell` publishes the retained discovery message of an identifier. `mirror` returns the topic on which an
    irregular device is repeated. Until `complete` only notes are taken. Not thread-safe; times are seconds
    of a clock that no one sets.
    """

    def __init__(self, tell: Tell, mirror: Callable[[str], str]) -> None:
        self._tell = tell
        self._mirror = mirror
        self._told: dict[str, dict[str, Any]] = {}
        self._infos: dict[Device, Info] = {}
        self._announced: set[Device] = set()
        self._unreadable: set[Device] = set()
        self._due: dict[Device, _Due] = {}
        self._drops: dict[Device, float] = {}
        self._complete = False
        self.published = 0
        self.orphans = 0

    def restart(self) -> None:
        """Begin anew: the broker is there, and tells what it has kept."""
        for notes in (self._told, self._infos, self._announced, self._unreadable, self._due, self._drops):
            notes.clear()
        self._complete = False

    def found(self, identifier: str, message: Mapping[str, Any]) -> None:
        """Take note of a discovery message of ours that the broker has kept."""
        self._told[identifier] = dict(message)

    def described(self, device: Device, info: Info, now: float) -> None:
        """Take note of what a device is."""
        self._unreadable.discard(device)
        if self._infos.get(device) != info:
            self._infos[device] = info
            self._touch(device, now)

    def unreadable(self, device: Device) -> None:
        """Take note of a device that is there, and of which nothing else is known."""
        self._unreadable.add(device)

    def announced(self, device: Device, now: float) -> None:
        """Take note that a device says whether it is there."""
        if device not in self._announced:
            self._announced.add(device)
            if device in self._infos:
                self._touch(device, now)

    def forgotten(self, device: Device) -> None:
        """Take a device away that nobody describes any more."""
        self._infos.pop(device, None)
        self._announced.discard(device)
        self._unreadable.discard(device)
        self._due.pop(device, None)
        self._drops.pop(device, None)
        if self._complete:
            self._remove(joined(*device))

    def complete(self, now: float) -> list[str]:
        """Say everything that is not said yet, and take away what nobody describes; return what was taken away.

        Called when the broker has told all that it kept.
        """
        self._complete = True
        known = {joined(*device) for device in (*self._infos, *self._unreadable)}
        orphans = [identifier for identifier in self._told if identifier not in known]
        for identifier in orphans:
            self.orphans += 1
            self._remove(identifier)
        for device in list(self._infos):
            self._say(device, now)
        return orphans

    def tick(self, now: float) -> None:
        """Say what has settled."""
        if not self._complete:
            return
        for device, due in list(self._due.items()):
            if now - due.last >= SETTLE_SECONDS or now - due.first >= LONGEST_SETTLE_SECONDS:
                self._say(device, now)
        for device, when in list(self._drops.items()):
            if now >= when:
                self._say(device, now)

    def repeat(self) -> None:
        """Say again all that was said."""
        for identifier, message in self._told.items():
            self._tell(identifier, msgspec.json.encode(message))
            self.published += 1

    def is_irregular(self, device: Device) -> bool:
        """Whether nobody knows when a device speaks again."""
        info = self._infos.get(device)
        return info is not None and info.interval <= 0

    def is_known(self, device: Device) -> bool:
        """Whether a device is described at all, however badly."""
        return device in self._infos or device in self._unreadable

    def counters(self) -> dict[str, int]:
        """Return what the status shows."""
        infos = list(self._infos.values())
        return {
            "devices": len(infos),
            "entities": sum(len(info.channels) for info in infos),
            "without_class": sum(map(discovery.refusals, infos)),
            "published": self.published,
            "orphans_removed": self.orphans,
        }

    def _touch(self, device: Device, now: float) -> None:
        due = self._due.get(device)
        self._due[device] = _Due(due.first if due else now, now)

    def _say(self, device: Device, now: float) -> None:
        self._due.pop(device, None)
        self._drops.pop(device, None)
        identifier = joined(*device)
        mirror = self._mirror(identifier) if self.is_irregular(device) else ""
        wanted = discovery.payload(*device, self._infos[device], mirror=mirror, announced=device in self._announced)
        told = self._told.get(identifier, {})
        if gone := discovery.gone(told, wanted):
            wanted["cmps"] |= gone
            self._drops[device] = now + DROP_SECONDS
        if not wanted["cmps"]:
            if told:
                self._remove(identifier)
            return
        if _as_json(wanted) != _as_json(told):
            self._told[identifier] = wanted
            self._tell(identifier, msgspec.json.encode(wanted))
            self.published += 1

    def _remove(self, identifier: str) -> None:
        if self._told.pop(identifier, None) is not None:
            self._tell(identifier, b"")
            self.published += 1


def _as_json(message: Mapping[str, Any]) -> object:
    """Return a message as whoever reads it has it: 1.0 and 1 are the same, lists and tuples are."""
    return msgspec.json.decode(msgspec.json.encode(message))
