"""A device that lists its own registers: found by the SunSpec marker, read by the models in its map."""

import logging
import math
from collections.abc import Mapping

from heliograph import messages
from heliograph.backoff import Backoff, steady
from services.modbus_poller import reads
from services.modbus_poller.errors import (
    PERMANENT,
    ExceptionResponse,
    InvalidFrame,
    NoResponse,
    ResponsePending,
    UnexpectedResponse,
)
from services.modbus_poller.options import DeviceOptions
from services.modbus_poller.outstanding import Reuse
from services.modbus_poller.polling import (
    REFUSES_ALL,
    InvalidInput,
    PolledDevice,
    PollResult,
    failure_text,
    invalid_registers,
)
from services.modbus_poller.reads import ChannelSpan, ReadRequest
from services.modbus_poller.requests import Read
from services.modbus_poller.sunspec import models
from services.modbus_poller.sunspec.map import READ, ModelMap, walk

log = logging.getLogger(__name__)

FIRST_WALK_SECONDS = 10.0  # after which a map that ended without an end is walked again
LAST_WALK_SECONDS = 86400.0
NO_MODEL = "its SunSpec map has no model with measurements"


class SunSpecDevice(PolledDevice):
    """A SunSpec device. The first poll finds its map, which is remembered.

    Each poll reads the ID and the length in front of each model with the model; where they are not those of the map,
    nothing of it is a reading, and the map is walked again. A map that ended with an exception is walked again after
    10 s, then after growing pauses up to a day, and after `reconnected`. Scale factors are read in the same poll as
    the values. A channel is published from its first value on.
    """

    def __init__(self, options: DeviceOptions, *, rtu: bool = False) -> None:
        self._base = 0  # index in BASES of the address of the map, or of the next to try
        self._map = ModelMap()
        self._channels: dict[str, messages.Channel] = {}
        self._changed = ""  # where the map is another than it was, as of this poll
        self._walk_at = -math.inf
        self._pauses = Backoff(FIRST_WALK_SECONDS, LAST_WALK_SECONDS, steady)
        super().__init__(options, rtu=rtu)

    @property
    def unsupported(self) -> list[str]:
        """The channels that the device refused when it was asked last."""
        return [key for key in super().unsupported if key in self._channels]

    @property
    def notes(self) -> list[str]:
        """Where the map ended without an end."""
        return [self._map.ended] if self._map.ended else []

    def info(self, service: str) -> messages.Info:
        """Return the description that is published: the name in the map, and the channels that have had values."""
        return messages.Info(
            self._map.name or self.model.header.model, dict(self._channels), self.options.interval, service
        )

    def probe(self, read: Read) -> str:
        """Read the marker at the address of the map, or at the next possible one; return "" if the device responds."""
        failure = super().probe(read)
        if failure:
            self._next_base()
        return failure

    def probe_request(self) -> ReadRequest:
        """Return the request for the marker."""
        return ReadRequest(reads.request(READ, models.BASES[self._base], 2).spans, reuse=Reuse.ANY)

    def reconnected(self) -> None:
        """Walk a map again that ended without an end, and ask again for what was refused."""
        super().reconnected()
        if self._map.ended:
            self._pauses.reset()
            self._walk_at = -math.inf

    def poll(self, read: Read, now: float) -> PollResult:
        """Find the map if it is not known, is another now or ended early, and read its points."""
        result = self._poll_map(read, now)
        if not self._changed or result.failure:
            return result
        again = self._poll_map(read, now)
        again.invalid = result.invalid + again.invalid
        again.values = result.values | again.values
        return again

    def _poll_map(self, read: Read, now: float) -> PollResult:
        if not self._map.points or now >= self._walk_at:
            failure = self._discover(read, now)
            if failure:
                return PollResult(failure=failure)
        self._changed = ""
        result = super().poll(read, now)
        if result.failure == REFUSES_ALL:
            self._map = ModelMap(self._map)
        if self._changed:
            self._walk_at = -math.inf
            log.info("%s: %s", self.options.name, self._changed)
            result.invalid.append(InvalidInput("its SunSpec map is another now", self._changed))
        return result

    def _discover(self, read: Read, now: float) -> str:
        """Find the map; return "" or why it was not found. A poll ends at the first address without a response."""
        if not self._map.points:
            self._pauses.reset()
        self._walk_at = now + self._pauses.next()
        for _ in models.BASES:
            base, has_marker = models.BASES[self._base], False
            try:
                has_marker = read(reads.request(READ, base, 2)) == models.MARKER
                if has_marker:
                    walked = walk(read, base + 2, self._map)
                    if walk(read, base + 2, self._map).models != walked.models:
                        return "its SunSpec map changed while it was walked"
                    self._use(walked)
                    return "" if self._map.points else self._map.ended or NO_MODEL
            except (NoResponse, InvalidFrame) as error:
                if not has_marker:
                    self._next_base()
                return failure_text(error)
            except ResponsePending as error:
                return str(error)
            except UnexpectedResponse as error:
                if has_marker or self._map.points:
                    return str(error)
            except ExceptionResponse as error:
                if self._map.points and error.code not in PERMANENT:
                    return str(error)
            self._next_base()
        self._map = ModelMap(self._map)
        return "no SunSpec map at " + ", ".join(map(str, models.BASES))

    def _next_base(self) -> None:
        if not self._map.points:
            self._base = (self._base + 1) % len(models.BASES)

    def _use(self, walked: ModelMap) -> None:
        """Use the map that was walked, unless it is only the beginning of the known one."""
        known = self._map
        if not walked.ended:
            self._pauses.reset()
            self._walk_at = math.inf
        if walked.ended and walked.models == known.models[: len(walked.models)] and not self._changed:
            known.name, known.ended = walked.name, walked.ended
            return
        if walked.models != known.models:
            if known.models:
                self._pauses.reset()
            self._requests.refused.clear()
        self._map = walked
        self._channels = {name: channel for name, channel in self._channels.items() if name in walked.points}
        self._plan_all()
        self.revision += 1

    def _verified(self, read: Read, registers: dict[str, list[int]], result: PollResult) -> dict[str, list[int]]:
        """Return the registers of the models whose ID and length are those of the map, up to the first that is not."""
        wanted = self._map.headers
        if not result.failure:
            for header in self._in_several_requests() & registers.keys():
                # Else its first request read another model, whatever is there now.
                if registers[header] == wanted[header]:
                    registers[header] = self._header(read, header)  # the model may have moved since its first request
        right = set()
        for header, (model, length) in wanted.items():
            words = registers.get(header)
            if words == [model, length]:
                right.add(header)
            elif words or header in self._requests.refused:
                there = f"model {words[0]} of {words[1]} registers" if words else "nothing"
                at = self._map.addresses[header]
                self._changed = f"its SunSpec map has {there} at {at} where model {model} of {length} registers was"
                break  # where the models behind it are depends on it
        return {key: raw for key, raw in registers.items() if self._map.scopes.get(key) in right}

    def _header(self, read: Read, header: str) -> list[int]:
        """Return what a header holds now, nothing if it cannot be read."""
        try:
            return read(reads.request(READ, self._map.addresses[header], 2))
        except (NoResponse, InvalidFrame, ExceptionResponse, UnexpectedResponse, ResponsePending):
            return []

    def _in_several_requests(self) -> set[str]:
        """Return the headers of the models that no single request reads."""
        scopes: set[str] = set()
        for plan in self._requests.plans.values():
            for request in plan.requests:
                keys = set(request.channels)
                scopes |= {self._map.scopes[key] for key in keys} - keys
        return scopes

    def _spans(self) -> dict[float, list[ChannelSpan]]:
        there = self._map
        return {0.0: [ChannelSpan(READ, there.addresses[key], there.count(key), key) for key in there.scopes]}

    def _decode(self, registers: Mapping[str, list[int]], result: PollResult) -> None:
        points = {key: self._map.points[key] for key in registers if key in self._map.points}
        factors: dict[str, dict[str, list[int]]] = {}
        for key, point in points.items():
            if point.type == "sunssf":
                factors.setdefault(self._map.scopes[key], {})[point.name] = registers[key]
        for key, point in points.items():
            if point.type == "sunssf":
                continue
            raw = registers[key]
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
