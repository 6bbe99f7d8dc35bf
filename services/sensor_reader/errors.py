"""What can come instead of a value, and how the caller reacts.

* ReadFailed     the driver could not measure this time: read again
* SensorRemoved  the kernel has no such sensor: wait until it is plugged in again
* InvalidValue   the sensor cannot have measured this: set it aside
"""


class ReadFailed(Exception):
    """The driver did not deliver a valid reading; `what` is what it delivered, if anything."""

    def __init__(self, why: str, what: str = "") -> None:
        super().__init__(why)
        self.what = what


class SensorRemoved(Exception):
    """The kernel no longer has the sensor."""


class InvalidValue(Exception):
    """A reading that is not a possible value; `what` shows it."""

    def __init__(self, why: str, what: str) -> None:
        super().__init__(why)
        self.what = what
