"""The discovery messages that Home Assistant has, and those that it should have."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from heliograph.messages import Info
from heliograph.renames import Renames
from services.home_assistant import discovery
from services.home_assistant.identifiers import join, split

SETTLE_SECONDS = 1.0  # a device whose channels are just being learnt gets one message, not ten
MAX_SETTLE_SECONDS = 10.0
REMOVAL_SECONDS = 15.0  # after which Home Assistant has removed an entity
# unloads a device's entities and keeps all that is known of them (home-assistant.io/integrations/mqtt, "Migration")
UNLOAD = b'{"migrate_discovery": true}'

PublishDiscovery = Callable[[str, bytes], object]
DeviceKey = tuple[str, str]  # node and name


class _Change(NamedTuple):
    first: float
    last: float


class Registry:
    """Keeps Home Assistant's devices as ours are, with as few messages as possible.

    `publish` publishes the retained discovery message of an identifier. `mirror` returns the topic of an irregular
    device's retained states. Nothing is published before `reconcile`. Not thread-safe; times are seconds
    of a monotonic clock.
    """

    def __init__(
        self,
        publish: PublishDiscovery,
        mirror: Callable[[str], str],
        *,
        removal_seconds: float = REMOVAL_SECONDS,
        renames: Renames = discovery.NO_RENAMES,
    ) -> None:
        self._publish = publish
        self._mirror = mirror
        self._removal_seconds = removal_seconds
        self._renames = renames
        self._messages: dict[str, dict[str, Any]] = {}
        self._infos: dict[DeviceKey, Info] = {}
        self._with_availability: set[DeviceKey] = set()
        self._unreadable: set[DeviceKey] = set()
        self._changes: dict[DeviceKey, _Change] = {}
        self._removals: dict[DeviceKey, float] = {}
        self._reconciled = False
        self.published = 0
        self.orphans = 0

    def restart(self) -> None:
        """Forget everything: a new connection to the broker begins with what it has retained."""
        for notes in (
            self._messages, self._infos, self._with_availability, self._unreadable, self._changes, self._removals
        ):  # fmt: skip
            notes.clear()
        self._reconciled = False

    def restore(self, identifier: str, message: Mapping[str, Any]) -> None:
        """Note a discovery message of ours that the broker has retained."""
        self._messages[identifier] = dict(message)

    def describe(self, device: DeviceKey, info: Info, now: float) -> None:
        """Note the description of a device."""
        self._unreadable.discard(device)
        if self._infos.get(device) != info:
            self._infos[device] = info
            self._schedule(device, now)

    def note_unreadable(self, device: DeviceKey) -> None:
        """Note that a device has a description that cannot be read: its entities stay as they are."""
        self._unreadable.add(device)

    def note_availability(self, device: DeviceKey, now: float) -> None:
        """Note that a device publishes its availability."""
        if device not in self._with_availability:
            self._with_availability.add(device)
            if device in self._infos:
                self._schedule(device, now)

    def forget(self, device: DeviceKey) -> None:
        """Remove a device whose description is gone."""
        self._infos.pop(device, None)
        self._with_availability.discard(device)
        self._unreadable.discard(device)
        self._changes.pop(device, None)
        self._removals.pop(device, None)
        if self._reconciled:
            self._remove(join(*device))

    def reconcile(self, now: float) -> None:
        """Publish all messages that Home Assistant lacks.

        Called once everything that the broker has retained was received.
        """
        self._reconciled = True
        for device in list(self._infos):
            self._update(device, now)

    def remove_orphans(self) -> list[str]:
        """Remove devices without a description; return their identifiers.

        Called once the producers have had the time to announce what the broker has not retained.
        """
        known = {join(*device) for device in (*self._infos, *self._unreadable)}
        orphans = [identifier for identifier in self._messages if identifier not in known]
        for identifier in orphans:
            self.orphans += 1
            name = "/".join(split(identifier))
            if self._renames.present(name) != name:
                self._publish(identifier, UNLOAD)  # it may still come under its new name
            self._remove(identifier)
        return orphans

    def tick(self, now: float) -> None:
        """Publish the devices that have settled, and those whose removed entities are gone."""
        if not self._reconciled:
            return
        for device, change in list(self._changes.items()):
            if now - change.last >= SETTLE_SECONDS or now - change.first >= MAX_SETTLE_SECONDS:
                self._update(device, now)
        for device, due in list(self._removals.items()):
            if now >= due:
                self._update(device, now)

    def republish(self) -> None:
        """Publish all messages again."""
        for identifier, message in self._messages.items():
            self._publish(identifier, msgspec.json.encode(message))
            self.published += 1

    def is_irregular(self, device: DeviceKey) -> bool:
        """Whether a device publishes without an interval."""
        info = self._infos.get(device)
        return info is not None and info.interval <= 0

    def is_known(self, device: DeviceKey) -> bool:
        """Whether a device has a description, readable or not."""
        return device in self._infos or device in self._unreadable

    def counters(self) -> dict[str, int]:
        """Return the counters for the status."""
        infos = list(self._infos.values())
        return {
            "devices": len(infos),
            "entities": sum(len(info.channels) for info in infos),
            "without_class": sum(map(discovery.rejected_classes, infos)),
            "published": self.published,
            "orphans_removed": self.orphans,
        }

    def _schedule(self, device: DeviceKey, now: float) -> None:
        change = self._changes.get(device)
        self._changes[device] = _Change(change.first if change else now, now)

    def _update(self, device: DeviceKey, now: float) -> None:
        """Publish the message of a device if it differs from the one that Home Assistant has."""
        self._changes.pop(device, None)
        self._removals.pop(device, None)
        identifier = join(*device)
        mirror = self._mirror(identifier) if self.is_irregular(device) else ""
        has_availability = device in self._with_availability
        message = discovery.message(
            *device, self._infos[device], mirror=mirror, has_availability=has_availability, renames=self._renames
        )
        if self._gave_up(device, message):
            self._schedule(device, now)
            return
        before = self._messages.get(identifier, {})
        if removals := discovery.removals(before, message):
            message["cmps"] |= removals
            self._removals[device] = now + self._removal_seconds
        if not message["cmps"]:
            if before:
                self._remove(identifier)
            return
        if _as_json(message) != _as_json(before):
            self._messages[identifier] = message
            self._publish(identifier, msgspec.json.encode(message))
            self.published += 1

    def _gave_up(self, device: DeviceKey, message: Mapping[str, Any]) -> bool:
        """Have Home Assistant unload what has entities of a device under former names; return whether there was any.

        The entities then continue with the device's next message: their unique ids stay the same.
        """
        identifier = join(*device)
        described = {join(*other) for other in self._infos}
        former = {join(*name.split("/")) for name in self._renames.former("/".join(device))} - described
        unloaded = [one for one in sorted(former) if one in self._messages]
        before = self._messages.get(identifier, {})
        if discovery.moved(before, message):
            unloaded.append(identifier)
        removed = [identifier] if discovery.replaced(before, message) and identifier not in unloaded else []
        for one in unloaded:
            self._publish(one, UNLOAD)
        for one in (*unloaded, *removed):
            self._remove(one)
        return bool(unloaded or removed)

    def _remove(self, identifier: str) -> None:
        if self._messages.pop(identifier, None) is not None:
            self._publish(identifier, b"")
            self.published += 1


def _as_json(message: Mapping[str, Any]) -> object:
    """Return a message as its receiver decodes it: 1.0 equals 1, and a tuple a list."""
    return msgspec.json.decode(msgspec.json.encode(message))
