"""A device at a port or socket: what its readings have shown so far."""

from collections import deque

from heliograph.messages import Channel, Info, Value
from heliograph.names import NameOwners, NameTaken
from services.serial_bridge.parsing.channels import MISSED, guessed
from services.serial_bridge.parsing.readings import Description, NamedValue, NotAReading, ParsedReading

MAX_CHANNELS = 256  # more are noise that looks like names
REMEMBERED_GAPS = 9
NEEDED_GAPS = 4
REGULAR = 1.5  # the middle half of the gaps of a regular device differs by less than this factor


class SerialDevice:
    """Learns the channels, the interval and the lost messages of one device from its readings.

    `last_seen` is the time of the last reading, on the clock of `update`.
    """

    def __init__(self) -> None:
        self.info = Info("", {}, service="serial_bridge")
        self.last_seen = 0.0
        self._channels: dict[str, Channel] = {}
        self._owners = NameOwners(MAX_CHANNELS)
        self._gaps: deque[float] = deque(maxlen=REMEMBERED_GAPS)
        self._last_time: float | None = None
        self._last_message: int | None = None
        self._missed = 0

    def update(self, reading: ParsedReading, now: float) -> dict[str, NotAReading]:
        """Learn from a reading at `now`, in seconds of a monotonic clock.

        Adds `missed` to the values of a device that numbers its messages. Of texts with one name, the one that has had it keeps it. Returns the texts
        whose values were refused, with the reason: those without the name, channels after MAX_CHANNELS, and true and false
        where there have been numbers: the sensor is not there (decision 0020).
        """
        self.last_seen = now
        self._count_missed(reading)
        refused = self._refuse(reading)
        description = reading.description
        for name, value in reading.values.items():
            if name not in self._channels or self._was_a_missing_number(name, value, description):
                self._channels[name] = description.channels.get(name) or guessed(value)
        interval = description.interval or self._learn_interval(now)
        known = (self.info.channels, self.info.interval, self.info.model)
        if known != (self._channels, interval, description.model):
            self.info = Info(description.model, dict(self._channels), interval, self.info.service)
        return refused

    def _refuse(self, reading: ParsedReading) -> dict[str, NotAReading]:
        """Keep the values of texts that have their name; return the others with the reason."""
        refused = {}
        new = 0
        first = [NamedValue(name, reading.texts.get(name, name), value) for name, value in reading.values.items()]
        reading.values.clear()
        for name, text, value in (*first, *reading.duplicates):
            try:
                is_new = name not in self._channels and name not in reading.values
                if is_new and len(self._channels) + new >= MAX_CHANNELS:
                    raise NotAReading("more channels than a device can have")
                if isinstance(value, bool) and self._has_had_numbers(name, reading.description):
                    raise NotAReading("true or false in a channel of numbers is no value", "no_sensor")
                self._owners.claim(name, text)
                reading.values[name] = value
                new += is_new
            except NameTaken as error:
                refused[text] = NotAReading(str(error), "duplicate_names")
            except NotAReading as error:
                refused[text] = error
        return refused

    def _was_a_missing_number(self, name: str, value: Value, description: Description) -> bool:
        """Whether a number comes in a channel that was taken for a switch: it began with false."""
        guessed_state = name not in description.channels and self._channels[name].kind == "state"
        return guessed_state and not isinstance(value, bool | str) and value not in (0, 1)

    def _has_had_numbers(self, name: str, description: Description) -> bool:
        """Whether a channel that the configuration does not describe has had a number."""
        return name not in description.channels and name in self._channels and self._channels[name].kind == "gauge"

    def _learn_interval(self, now: float) -> float:
        """Return the seconds between readings to two digits, 0 until they are regular."""
        if self._last_time is not None and now > self._last_time:
            self._gaps.append(now - self._last_time)
        self._last_time = now
        gaps = sorted(self._gaps)
        known = self.info.interval
        if len(gaps) < NEEDED_GAPS:
            return known
        first, middle, last = (gaps[len(gaps) * part // 4] for part in (1, 2, 3))
        if last > first * REGULAR or known / REGULAR < middle < known * REGULAR:
            return known
        return float(f"{middle:.2g}")

    def _count_missed(self, reading: ParsedReading) -> None:
        """Count the numbers between two messages; a number that is not larger than the last one is a restarted device."""
        message = reading.values.get("msg")
        if not isinstance(message, int) or isinstance(message, bool):
            return
        if self._last_message is not None and message > self._last_message:
            self._missed += message - self._last_message - 1
        self._last_message = message
        reading.values.setdefault("missed", self._missed)
        self._channels.setdefault("missed", MISSED)
