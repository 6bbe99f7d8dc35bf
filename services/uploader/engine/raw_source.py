"""Rows that are readings as they arrived; a position is the cursor of an arrival."""

from collections.abc import Callable
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from heliograph.messages import Value
from heliograph.store.interface import Reader
from services.uploader.engine.source import ChannelMap, NewestCursor, Parcel
from services.uploader.target import MappedChannel, Row

LIVE_READINGS = 1_000  # so many arrivals behind the newest one, a backlog begins
MOST_LAYOUTS = 10_000

Values = tuple[Value, ...]
_row = partial(tuple.__new__, Row)  # two thirds of the time of Row(…), and there are millions


class Layout(NamedTuple):
    """Which of a reading's values go to the target, and how to get them; no outlets: none do."""

    outlets: tuple[MappedChannel, ...]
    choose: Callable[[Values], Values]


class RawSource:
    """Follows the store by arrival; what was measured before `start` (s UTC) is passed over."""

    live = float(LIVE_READINGS)

    def __init__(self, reader: Reader, channels: ChannelMap, start: float) -> None:
        self._reader = reader
        self._channels = channels
        self._head = NewestCursor(reader)
        self._start = start
        self._layouts: dict[tuple[str, str, tuple[str, ...]], Layout] = {}

    def head(self, _now: float) -> float:
        """Return the newest cursor."""
        return self._head.cursor()

    def parcel(self, after: float, upto: float, limit: int) -> Parcel:
        """Return the rows of at most `limit` arrivals."""
        arrivals = self._reader.since(int(after), limit)
        rows: list[Row] = []
        for (node, device, channels), alike in groupby(arrivals, itemgetter(1, 2, 4)):
            outlets, choose = self._layouts.get((node, device, channels)) or self._layout(node, device, channels)
            if outlets:
                rows += [
                    _row((time, outlets, choose(row), cursor))
                    for cursor, _, _, time, _, row in alike
                    if time >= self._start
                ]
        if arrivals and arrivals[-1].cursor > upto:
            return Parcel(after, upto, [row for row in rows if row.position <= upto])
        return Parcel(after, arrivals[-1].cursor if arrivals else after, rows)

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

    def _layout(self, node: str, device: str, channels: tuple[str, ...]) -> Layout:
        found = [self._channels.outlet(node, device, channel) for channel in channels]
        chosen = [place for place, outlet in enumerate(found) if outlet is not None]
        layout = Layout(tuple(outlet for outlet in found if outlet is not None), _chooser(chosen, len(channels)))
        if len(self._layouts) >= MOST_LAYOUTS:
            self._layouts.clear()
        self._layouts[(node, device, channels)] = layout
        return layout


def _chooser(places: list[int], of: int) -> Callable[[Values], Values]:
    if len(places) == of:
        return tuple  # of a tuple, it is the same one
    if len(places) > 1:
        get: Callable[[Values], Values] = itemgetter(*places)
        return get
    return lambda values: tuple(values[place] for place in places)
