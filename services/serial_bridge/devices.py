"""What a device has shown of itself so far."""

from collections import deque

from heliograph.messages import Channel, Info
from heliograph.names import NameOwners, NameTaken
from services.serial_bridge.channels import MISSED, guessed
from services.serial_bridge.readings import NotAReading, Reading

MOST_CHANNELS = 256  # more are noise that looks like names
REMEMBERED_GAPS = 9
NEEDED_GAPS = 4
REGULAR = 1.5  # the middle half of the gaps of a regular device differs by less than this factor


class Device:
    """Learns the channels, the interval and the lost messages of one device from its readings."""

    def __init__(self) -> None:
        self.info = Info("", {}, service="serial_bridge")
        self._channels: dict[str, Channel] = {}
        self.heard = 0.0  # when, on the clock of `take`
        self._gaps: deque[float] = deque(maxlen=REMEMBERED_GAPS)
        self._last: float | None = None
        self._owners = NameOwners(MOST_CHANNELS)
        self._message: int | None = None
        self._missed = 0

    def take(self, reading: Reading, now: float) -> dict[str, NotAReading]:
        """Learn from a reading heard at `now`, seconds of a clock that no one sets.

        Adds `missed` to the values of a device that numbers its messages, and returns the channels that it
        removed, with the reason: those after MOST_CHANNELS, and those with the name of another.
        """
        self.heard = now
        self._count_missed(reading)
        refused = {}
        for name, value in reading.values.items():
            if name not in self._channels and len(self._channels) >= MOST_CHANNELS:
                refused[name] = NotAReading("more channels than a device can have")
                continue
            try:
                self._owners.claim(name, reading.texts.get(name, name))
            except NameTaken as error:
                refused[name] = NotAReading(str(error), "names_taken")
                continue
            if name not in self._channels:
                known = reading.about.channels.get(name)
                self._channels[name] = known or guessed(value)
        for name in refused:
            del reading.values[name]
        interval = reading.about.interval or self._learnt(now)
        so_far = (len(self.info.channels), self.info.interval, self.info.model)
        if so_far != (len(self._channels), interval, reading.about.model):
            self.info = Info(
                reading.about.model,
                dict(self._channels),
                interval,
                self.info.service,
            )
        return refused

    def _learnt(self, now: float) -> float:
        """Return the seconds between readings to two digits, 0 until they are regular."""
        if self._last is not None and now > self._last:
            self._gaps.append(now - self._last)
        self._last = now
        gaps = sorted(self._gaps)
        known = self.info.interval
        if len(gaps) < NEEDED_GAPS:
            return known
        first, middle, last = (gaps[len(gaps) * part // 4] for part in (1, 2, 3))
        if last > first * REGULAR or known / REGULAR < middle < known * REGULAR:
            return known
        return float(f"{middle:.2g}")

    def _count_missed(self, reading: Reading) -> None:
        """A number that is not larger than the last one is a device that started again."""
        message = reading.values.get("msg")
        if not isinstance(message, int) or isinstance(message, bool):
            return
        if self._message is not None and message > self._message:
            self._missed += message - self._message - 1
        self._message = message
        reading.values.setdefault("missed", self._missed)
        self._channels.setdefault("missed", MISSED)
