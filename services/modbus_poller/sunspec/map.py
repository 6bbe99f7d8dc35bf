"""The map of a SunSpec device: its models, one behind the other, and where their points are."""

from heliograph import messages
from services.modbus_poller import reads
from services.modbus_poller.errors import ExceptionResponse, exception_text
from services.modbus_poller.requests import Read
from services.modbus_poller.sunspec import models

READ = 3  # the map is in holding registers
MAX_MODELS = 60
MAX_POINTS = 1000  # a map with more is noise
LAST_ADDRESS = 0xFFFF - 2
NAME_OFFSET, NAME_COUNT = 2, 32  # manufacturer and model, 16 registers each, in the common model
HEADER_COUNT = 2  # the ID of a model, and its length


class ModelMap:
    """The models of a map, and the points of those with measurements by channel.

    A channel that belonged to a model of a `known` map, the first meter for example, goes to no other kind of model.
    The scope of a point is the key of the header of its model, whose scale factors belong to it; `headers` are the ID
    and the length that the registers of each header hold. `ended` says where and why the map ends without an end.
    """

    def __init__(self, known: "ModelMap | None" = None) -> None:
        self.name: str = known.name if known else ""
        self._owners: dict[str, tuple[str, int]] = dict(known._owners) if known else {}
        self.ended = ""
        self.models: list[tuple[int, int, int]] = []  # address, ID, length
        self.points: dict[str, models.SunSpecPoint] = {}
        self.headers: dict[str, list[int]] = {}
        self.scopes: dict[str, str] = {}
        self.addresses: dict[str, int] = {}

    def count(self, key: str) -> int:
        """Return the number of registers of a point or a header."""
        return HEADER_COUNT if key in self.headers else self.points[key].count

    def add(self, model: int, length: int, at: int) -> None:
        """Add the points of a model at an address under unique channels; leave out a model that exceeds MAX_POINTS."""
        self.models.append((at, model, length))
        points = [point for point in models.points(model, length) if at + point.offset + point.count <= LAST_ADDRESS]
        if len(self.points) + len(points) > MAX_POINTS:
            return
        kind = models.PREFIXES.get(model, "")
        owner = (kind, sum(models.PREFIXES.get(other) == kind for _, other, _ in self.models))
        channels = [point.channel for point in points if point.type != "sunssf"]
        prefix, number = "", 1
        while any(self._owners.get(prefix + channel, owner) != owner for channel in channels):
            prefix = f"{kind}{number if number > 1 else ''}_"
            number += 1
        self._owners |= dict.fromkeys((prefix + channel for channel in channels), owner)
        scope = f"{at}:"
        if points or model == models.END:
            self.headers[scope] = [model, length]
            self.scopes[scope] = scope
            self.addresses[scope] = at
        for point in points:
            key = scope + point.name if point.type == "sunssf" else prefix + point.channel
            self.points[key] = point
            self.scopes[key] = scope
            self.addresses[key] = at + point.offset


def walk(read: Read, at: int, known: ModelMap) -> ModelMap:
    """Return the map whose first model is at an address, which was `known`; raise what `read` raises, but for exceptions.

    The first common model names the device; those behind it are of meters and batteries. An exception ends the map,
    because some devices have no end model.
    """
    walked = ModelMap(known)
    for _ in range(MAX_MODELS):
        if at > LAST_ADDRESS:
            break
        try:
            model, length = read(reads.request(READ, at, HEADER_COUNT))
            if model == models.COMMON and length >= NAME_COUNT and not walked.models:
                walked.name = _name(read(reads.request(READ, at + NAME_OFFSET, NAME_COUNT)))
        except ExceptionResponse as error:
            walked.ended = f"its SunSpec map ends at {at} with {exception_text(error.code)}; it is walked again later"
            break
        walked.add(model, length, at)
        if model == models.END:
            break
        at += HEADER_COUNT + length
    return walked


def _name(words: list[int]) -> str:
    """Return manufacturer and model, of the 16 registers that each has."""
    return f"{models.text(words[:16])} {models.text(words[16:])}".strip()[: messages.TEXT_LIMIT]
