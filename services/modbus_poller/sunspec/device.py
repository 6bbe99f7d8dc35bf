"""A device that says itself what it has: found by the SunSpec marker, read by the models that it lists."""

from collections.abc import Mapping

from heliograph import messages
from services.modbus_poller import reads
from services.modbus_poller.errors import Garbled, Mismatched, Refused, Silent
from services.modbus_poller.options import Device
from services.modbus_poller.polling import Polled, Read, Result, no_value, said
from services.modbus_poller.reads import Block, Span
from services.modbus_poller.sunspec import models

READ = 3  # the map is in holding registers
MOST_MODELS = 60
MOST_POINTS = 1000  # more are noise that looks like models
LAST_ADDRESS = 0xFFFF - 2
NAME_OFFSET, NAME_COUNT = 2, 32  # manufacturer and model, 16 registers each, in the common model


class _Layout:
    """The points of a map by channel, their addresses, and whose scale factors are theirs."""

    def __init__(self) -> None:
        self.points: dict[str, models.Point] = {}
        self.scopes: dict[str, str] = {}
        self.addresses: dict[str, int] = {}

    def place(self, model: int, length: int, at: int) -> None:
        """Give each point of a model at an address a channel that no other has; leave out a model that is too much."""
        found = [point for point in models.points(model, length) if at + point.offset + point.count <= LAST_ADDRESS]
        if len(self.points) + len(found) > MOST_POINTS:
            return
        prefix, number = "", 1
        while any(prefix + point.channel in self.points for point in found if point.type != "sunssf"):
            prefix = f"{models.FAMILIES[model]}{number if number > 1 else ''}_"
            number += 1
        scope = f"{at}:"
        for point in found:
            key = scope + point.name if point.type == "sunssf" else prefix + point.channel
            self.points[key] = point
            self.scopes[key] = scope
            self.addresses[key] = at + point.offset


class SunSpec(Polled):
    """A SunSpec device. Where its map begins and what is in it is found at the first poll, and remembered.

    Scale factors are read with the values, in the same poll. A channel is known from the first value it has.
    """

    def __init__(self, device: Device) -> None:
        self._base = 0  # index in BASES of the one to try next, or that it was found at
        self._name = ""
        self._layout = _Layout()
        self._known: dict[str, messages.Channel] = {}
        super().__init__(device)

    def info(self, service: str) -> messages.Info:
        """Return what others are told about the device: its own name, and the channels that have had values."""
        return messages.Info(self._name or self.model.header.model, dict(self._known), self.device.interval, service)

    def probe(self, read: Read) -> str:
        """Ask for the marker where it was found, or where to look next; return "" if something answers."""
        silence = super().probe(read)
        if silence:
            self._next_base()
        return silence

    def question(self) -> Block:
        """Return where the marker is, or may be."""
        return reads.request(READ, models.BASES[self._base], 2)

    def poll(self, read: Read, now: float) -> Result:
        """Find the map if it is not known yet, and read it."""
        if not self._layout.points:
            failure = self._discover(read)
            if failure:
                return Result(failure=failure)
        result = super().poll(read, now)
        if result.failure == "refuses every request":
            self._layout = _Layout()
        return result

    def _discover(self, read: Read) -> str:
        """Look for the map; return "" if it was found, else why not. Each base that is silent costs a poll of its own."""
        for _ in models.BASES:
            base, here = models.BASES[self._base], False
            try:
                here = read(reads.request(READ, base, 2)) == models.MARKER
                if here:
                    self._walk(read, base + 2)
                    return "" if self._layout.points else "its SunSpec map has no model that measures"
            except (Silent, Garbled) as silence:
                if not here:
                    self._next_base()
                return said(silence)
            except (Refused, Mismatched):
                pass
            self._next_base()
        return "no SunSpec map at " + ", ".join(map(str, models.BASES))

    def _next_base(self) -> None:
        if not self._layout.points:
            self._base = (self._base + 1) % len(models.BASES)

    def _walk(self, read: Read, at: int) -> None:
        """Go from model to model to the end of the map, and remember the points of those that measure."""
        layout = _Layout()
        for _ in range(MOST_MODELS):
            if at > LAST_ADDRESS:
                break
            try:
                model, length = read(reads.request(READ, at, 2))
            except Refused:  # some have no end model
                break
            if model == models.END:
                break
            if model == models.COMMON and length >= NAME_COUNT:
                self._name = _name(read(reads.request(READ, at + NAME_OFFSET, NAME_COUNT)))
            layout.place(model, length, at)
            at += 2 + length
        self._layout = layout
        self._known = {name: channel for name, channel in self._known.items() if name in layout.points}
        self._forget_refusals()
        self.revision += 1

    def _spans(self) -> dict[float, list[Span]]:
        return {
            0.0: [
                Span(READ, self._layout.addresses[key], point.count, key) for key, point in self._layout.points.items()
            ]
        }

    def _decode(self, words: Mapping[str, list[int]], result: Result) -> None:
        factors: dict[str, dict[str, list[int]]] = {}
        for key, raw in words.items():
            if self._layout.points[key].type == "sunssf":
                factors.setdefault(self._layout.scopes[key], {})[self._layout.points[key].name] = raw
        for key, raw in words.items():
            point = self._layout.points[key]
            if point.type == "sunssf":
                continue
            try:
                exponent = models.exponent(point, factors.get(self._layout.scopes[key], {}))
                value = models.value(point, raw, exponent)
            except ValueError as error:
                result.bad.append(no_value(error, key, raw))
                continue
            if value is not None:
                result.values[key] = value
                if key not in self._known:
                    self._known[key] = point.meaning
                    self.revision += 1


def _name(words: list[int]) -> str:
    """Return manufacturer and model, of the 16 registers that each has."""
    return f"{models.text(words[:16])} {models.text(words[16:])}".strip()[: messages.TEXT_LIMIT]
