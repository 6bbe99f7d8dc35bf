"""A device that lists its own registers: found by the SunSpec marker, read by the models in its map."""

from collections.abc import Mapping

from heliograph import messages
from services.modbus_poller import reads
from services.modbus_poller.errors import ExceptionResponse, InvalidFrame, NoResponse, UnexpectedResponse
from services.modbus_poller.options import DeviceOptions
from services.modbus_poller.polling import REFUSES_ALL, PolledDevice, PollResult, failure_text, invalid_registers
from services.modbus_poller.reads import ChannelSpan, ReadRequest
from services.modbus_poller.requests import Read
from services.modbus_poller.sunspec import models

READ = 3  # the map is in holding registers
MAX_MODELS = 60
MAX_POINTS = 1000  # a map with more is noise
LAST_ADDRESS = 0xFFFF - 2
NAME_OFFSET, NAME_COUNT = 2, 32  # manufacturer and model, 16 registers each, in the common model


class _PointMap:
    """The points of a map by channel, their addresses, and the scope of the scale factors that belong to them."""

    def __init__(self) -> None:
        self.points: dict[str, models.SunSpecPoint] = {}
        self.scopes: dict[str, str] = {}
        self.addresses: dict[str, int] = {}

    def add(self, model: int, length: int, at: int) -> None:
        """Add the points of a model at an address under unique channels; leave out a model that exceeds MAX_POINTS."""
        points = [point for point in models.points(model, length) if at + point.offset + point.count <= LAST_ADDRESS]
        if len(self.points) + len(points) > MAX_POINTS:
            return
        prefix, number = "", 1
        while any(prefix + point.channel in self.points for point in points if point.type != "sunssf"):
            prefix = f"{models.PREFIXES[model]}{number if number > 1 else ''}_"
            number += 1
        scope = f"{at}:"
        for point in points:
            key = scope + point.name if point.type == "sunssf" else prefix + point.channel
            self.points[key] = point
            self.scopes[key] = scope
            self.addresses[key] = at + point.offset


class SunSpecDevice(PolledDevice):
    """A SunSpec device. The first poll finds its map, which is remembered.

    Scale factors are read in the same poll as the values. A channel is published from its first value on.
    """

    def __init__(self, options: DeviceOptions, *, rtu: bool = False) -> None:
        self._base = 0  # index in BASES of the address of the map, or of the next to try
        self._name = ""
        self._map = _PointMap()
        self._channels: dict[str, messages.Channel] = {}
        super().__init__(options, rtu=rtu)

    def info(self, service: str) -> messages.Info:
        """Return the description that is published: the name in the map, and the channels that have had values."""
        return messages.Info(
            self._name or self.model.header.model, dict(self._channels), self.options.interval, service
        )

    def probe(self, read: Read) -> str:
        """Read the marker at the address of the map, or at the next possible one; return "" if the device responds."""
        failure = super().probe(read)
        if failure:
            self._next_base()
        return failure

    def probe_request(self) -> ReadRequest:
        """Return the request for the marker."""
        return reads.request(READ, models.BASES[self._base], 2)

    def poll(self, read: Read, now: float) -> PollResult:
        """Find the map if it is not known yet, and read its points."""
        if not self._map.points:
            failure = self._discover(read)
            if failure:
                return PollResult(failure=failure)
        result = super().poll(read, now)
        if result.failure == REFUSES_ALL:
            self._map = _PointMap()
        return result

    def _discover(self, read: Read) -> str:
        """Find the map; return "" or why it was not found. A poll ends at the first address without a response."""
        for _ in models.BASES:
            base, has_marker = models.BASES[self._base], False
            try:
                has_marker = read(reads.request(READ, base, 2)) == models.MARKER
                if has_marker:
                    self._walk(read, base + 2)
                    return "" if self._map.points else "its SunSpec map has no model with measurements"
            except (NoResponse, InvalidFrame) as error:
                if not has_marker:
                    self._next_base()
                return failure_text(error)
            except (ExceptionResponse, UnexpectedResponse):
                pass
            self._next_base()
        return "no SunSpec map at " + ", ".join(map(str, models.BASES))

    def _next_base(self) -> None:
        if not self._map.points:
            self._base = (self._base + 1) % len(models.BASES)

    def _walk(self, read: Read, at: int) -> None:
        """Walk through the models to the end of the map, and remember the points of those with measurements."""
        point_map = _PointMap()
        for _ in range(MAX_MODELS):
            if at > LAST_ADDRESS:
                break
            try:
                model, length = read(reads.request(READ, at, 2))
            except ExceptionResponse:  # some devices have no end model
                break
            if model == models.END:
                break
            if model == models.COMMON and length >= NAME_COUNT:
                self._name = _name(read(reads.request(READ, at + NAME_OFFSET, NAME_COUNT)))
            point_map.add(model, length, at)
            at += 2 + length
        self._map = point_map
        self._channels = {name: channel for name, channel in self._channels.items() if name in point_map.points}
        self._plan_all()
        self.revision += 1

    def _spans(self) -> dict[float, list[ChannelSpan]]:
        return {
            0.0: [
                ChannelSpan(READ, self._map.addresses[key], point.count, key) for key, point in self._map.points.items()
            ]
        }

    def _decode(self, registers: Mapping[str, list[int]], result: PollResult) -> None:
        factors: dict[str, dict[str, list[int]]] = {}
        for key, raw in registers.items():
            if self._map.points[key].type == "sunssf":
                factors.setdefault(self._map.scopes[key], {})[self._map.points[key].name] = raw
        for key, raw in registers.items():
            point = self._map.points[key]
            if point.type == "sunssf":
                continue
            try:
                exponent = models.exponent(point, factors.get(self._map.scopes[key], {}))
                value = models.value(point, raw, exponent)
            except ValueError as error:
                result.invalid.append(invalid_registers(error, key, raw))
                continue
            if value is not None:
                result.values[key] = value
                if key not in self._channels:
                    self._channels[key] = point.description
                    self.revision += 1


def _name(words: list[int]) -> str:
    """Return manufacturer and model, of the 16 registers that each has."""
    return f"{models.text(words[:16])} {models.text(words[16:])}".strip()[: messages.TEXT_LIMIT]
