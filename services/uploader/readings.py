"""Rows that are readings as they arrived; a position is the cursor of an arrival."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

from heliograph.messages import Value
from heliograph.store.interface import Reader
from services.uploader.outgoing import Outlet, Row
from services.uploader.source import Channels, Head, Item, Parcel

LIVE_READINGS = 1_000  # so many arrivals behind the newest one, a backlog begins
MOST_LAYOUTS = 10_000


class Layout(NamedTuple):
    """Which of a reading's values go to the target, and how to get them; no outlets: none do."""

    outlets: tuple[Outlet, ...]
    values: Callable[[dict[str, Value]], tuple[Value, ...]]


class Readings:
    """Follows the store by arrival; what was measured before `start` (s UTC) is passed over."""

    live = float(LIVE_READINGS)

    def __init__(self, reader: Reader, channels: Channels, start: float) -> None:
        self._reader = reader
        self._channels = channels
        self._head = Head(reader)
        self._start = start
        self._layouts: dict[tuple[str, ...], Layout] = {}

    def head(self, _now: float) -> float:
        """Return the newest cursor."""
        return self._head.cursor()

    def parcel(self, after: float, upto: float, limit: int) -> Parcel:
        """Return the rows of at most `limit` arrivals."""
        arrivals = self._reader.since(int(after), limit)
        items: list[Item] = []
        for cursor, node, device, time, values in arrivals:
            if cursor > upto:
                return Parcel(after, upto, items)
            layout = self._layouts.get((node, device, *values)) or self._layout(node, device, values)
            if layout.outlets and time >= self._start:
                items.append(Item(cursor, Row(time, layout.outlets, layout.values(values))))
        return Parcel(after, arrivals[-1].cursor if arrivals else after, items)

    def beginning(self, _start: float) -> float:
        """Return 0: what was measured lately may be found anywhere."""
        return 0

    def newest(self) -> Row | None:
        """Return the newest value of the device that was heard last."""
        outlets = self._channels.outlets()
        points = self._reader.latest(list(outlets))
        if not points:
            return None
        time, last = max((point.time, sid) for sid, point in points.items())
        chosen = [
            (outlet, points[sid].value)
            for sid, outlet in outlets.items()
            if sid in points and points[sid].time == time and outlet[:2] == outlets[last][:2]
        ]
        return Row(time, tuple(outlet for outlet, _ in chosen), tuple(value for _, value in chosen))

    def late(self, _done: float) -> list[float]:
        """Return none: what is late arrives like anything else."""
        return []

    def _layout(self, node: str, device: str, values: dict[str, Value]) -> Layout:
        found = {channel: self._channels.outlet(node, device, channel) for channel in values}
        chosen = {channel: outlet for channel, outlet in found.items() if outlet is not None}
        layout = Layout(tuple(chosen.values()), _getter(tuple(chosen), len(values)))
        if len(self._layouts) >= MOST_LAYOUTS:
            self._layouts.clear()
        self._layouts[(node, device, *values)] = layout
        return layout


def _getter(channels: tuple[str, ...], of: int) -> Callable[[dict[str, Value]], tuple[Value, ...]]:
    if len(channels) == of:
        return _all
    if len(channels) > 1:
        get: Callable[[dict[str, Any]], tuple[Value, ...]] = itemgetter(*channels)
        return get
    return lambda values: tuple(values[channel] for channel in channels)


def _all(values: dict[str, Value]) -> tuple[Value, ...]:
    return tuple(values.values())
