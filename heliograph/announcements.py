"""What a producer has said of its devices, and says again whenever the broker may have forgotten it."""

from heliograph import topics
from heliograph.bus import Bus
from heliograph.messages import Availability, Info, encode


class Announcements:
    """The retained facts about the devices of one node; said at once, and once more by `repeat`."""

    def __init__(self, bus: Bus, node: str) -> None:
        self._bus = bus
        self._node = node
        self._infos: dict[str, Info] = {}
        self._availability: dict[str, Availability] = {}

    def __contains__(self, device: str) -> bool:
        """Whether a device has been declared."""
        return device in self._infos

    def declare(self, device: str, info: Info) -> None:
        """Say what a device is."""
        if self._infos.get(device) != info:
            self._infos[device] = info
            self._describe(device, info)

    def availability(self, device: str, state: Availability) -> None:
        """Say whether a device answers."""
        if self._availability.get(device) != state:
            self._availability[device] = state
            self._announce(device, state)

    def repeat(self) -> None:
        """Say everything again."""
        for device, info in list(self._infos.items()):
            self._describe(device, info)
        for device, state in list(self._availability.items()):
            self._announce(device, state)

    def goodbye(self) -> None:
        """Say that all devices are offline: nobody reads them any more."""
        for device in {**self._infos, **self._availability}:
            self._announce(device, "offline")

    def _describe(self, device: str, info: Info) -> None:
        self._bus.publish(topics.device(self._node, device, "info"), encode(info), qos=1, retain=True)

    def _announce(self, device: str, state: Availability) -> None:
        self._bus.publish(topics.device(self._node, device, "availability"), state.encode(), qos=1, retain=True)
