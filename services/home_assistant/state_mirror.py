"""The newest values of devices that publish irregularly, retained.

`state` is not retained, and Home Assistant forgets the values of sensors without an expiry when it
restarts: a door, a plug, a gas meter that publishes once an hour would be unknown until its next message.
Devices with an interval need no mirror: their next message comes soon.
"""

from collections.abc import Callable

import msgspec

from heliograph.errors import MessageError
from heliograph.messages import Reading, decode, encode

Publish = Callable[[str, bytes], object]


class StateMirror:
    """Merges the readings of each device, and publishes them on topics of ours. Not thread-safe."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._newest: dict[str, Reading] = {}

    def update(self, topic: str, reading: Reading) -> None:
        """Publish a reading together with the last values of the channels that it does not have."""
        before = self._newest.get(topic)
        if before is None:
            merged = reading
        else:
            merged = msgspec.structs.replace(reading, values={**before.values, **reading.values})
        self._newest[topic] = merged
        self._publish(topic, encode(merged))

    def restore(self, topic: str, payload: bytes) -> None:
        """Continue from what this service published before its restart, as the broker has retained it."""
        if topic in self._newest:
            return
        try:
            self._newest[topic] = decode(Reading, payload)
        except MessageError:
            return  # the next reading replaces it

    def clear(self, topic: str) -> None:
        """Forget a device, here and at the broker."""
        self._newest.pop(topic, None)
        self._publish(topic, b"")
