"""The newest values of devices that speak irregularly, retained.

`state` is not retained, and Home Assistant forgets what sensors without an expiry said when it
starts again: a door, a plug, a gas meter that speaks once an hour would be unknown until they speak.
Devices with an interval do without: they speak soon.
"""

from collections.abc import Callable

import msgspec

from heliograph.errors import MessageError
from heliograph.messages import Reading, decode, encode

Publish = Callable[[str, bytes], object]


class Mirror:
    """Puts together what devices say, and repeats it on topics of ours. Not thread-safe."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._newest: dict[str, Reading] = {}

    def repeat(self, topic: str, reading: Reading) -> None:
        """Publish a reading with the values that it does not have, as they were."""
        before = self._newest.get(topic)
        if before is None:
            merged = reading
        else:
            merged = msgspec.structs.replace(reading, values={**before.values, **reading.values})
        self._newest[topic] = merged
        self._publish(topic, encode(merged))

    def remember(self, topic: str, payload: bytes) -> None:
        """Take up what an earlier life of this service has left with the broker."""
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
