"""Rows that are readings as they arrived; a position is the cursor of an arrival."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from heliograph.messages import Value
from heliograph.store.interface import Reader
from services.uploader.engine.source import ChannelMap, NewestCursor, RowPage, newer_than
from services.uploader.target import MappedChannel, Row

LIVE_READINGS = 1_000  # so many arrivals behind the newest one, the backlog ends
MOST_MAPPINGS = 10_000
MOST_COUNTED = 1_000  # arrivals; the share that the target gets of them is taken for that of the rest

Values = tuple[Value, ...]
_row = partial(tuple.__new__, Row)  # two thirds of the time of Row(…), and there are millions


class ReadingMapping(NamedTuple):
    """Which of a reading's values the target gets, and how to get them; without channels it gets none."""

    channels: tuple[MappedChannel, ...]
    choose: Callable[[Values], Values]


class RawSource:
    """Follows the store by arrival; readings from before `start` (s UTC) are left out."""

    def __init__(self, reader: Reader, channels: ChannelMap, start: float, newer: Mapping[str, float]) -> None:
        """Leave out as well what is older than the time of its device in `newer` (s UTC), and count it."""
        self._reader = reader
        self._channels = channels
        self._head = NewestCursor(reader)
        self._start = start
        self._newer = newer
        self._mappings: dict[tuple[str, str, tuple[str, ...]], ReadingMapping] = {}

    def head(self, _now: float) -> float:
        """Return the newest cursor."""
        return self._head.cursor()

    def live_from(self, head: float) -> float:
        """Return the position at which the backlog ends and live data begin."""
        return head - LIVE_READINGS

    def read(self, after: float, upto: float, limit: int) -> RowPage:
        """Return the rows of at most `limit` arrivals."""
        arrivals = self._reader.since(int(after), limit)
        rows: list[Row] = []
        passed_over = 0
        for (node, device, names), alike in groupby(arrivals, itemgetter(1, 2, 4)):
            channels, choose = self._mappings.get((node, device, names)) or self._mapping(node, device, names)
            if channels:
                wanted = [
                    _row((time, channels, choose(values), cursor))
                    for cursor, _, _, time, _, values in alike
                    if time >= self._start and cursor <= upto
                ]
                newer = newer_than(self._newer, channels[0].node, channels[0].device)
                sent = [row for row in wanted if row.time >= newer] if newer > self._start else wanted
                passed_over += len(wanted) - len(sent)
                rows += sent
        end = min(upto, arrivals[-1].cursor) if arrivals else after
        return RowPage(after, end, rows, passed_over)

    def count(self, after: float, upto: float) -> tuple[int, float | None]:
        """Return how many rows there are between two positions, and the time of the first."""
        page = self.read(after, upto, MOST_COUNTED)
        count = len(page.rows)
        if page.upto > after:
            count += round((upto - page.upto) * count / MOST_COUNTED)
        return count, page.rows[0].time if page.rows else None

    def newest(self) -> Row | None:
        """Return the newest values of the device that has reported last."""
        channels = self._channels.selected()
        points = self._reader.latest(list(channels))
        if not points:
            return None
        time, last = max((point.time, sid) for sid, point in points.items())
        chosen = [
            (mapped, points[sid].value)
            for sid, mapped in channels.items()
            if sid in points and points[sid].time == time and mapped[:2] == channels[last][:2]
        ]
        return Row(time, tuple(mapped for mapped, _ in chosen), tuple(value for _, value in chosen))

    def _mapping(self, node: str, device: str, names: tuple[str, ...]) -> ReadingMapping:
        every = [self._channels.mapped(node, device, name) for name in names]
        chosen = [index for index, mapped in enumerate(every) if mapped is not None]
        mapping = ReadingMapping(tuple(mapped for mapped in every if mapped is not None), _chooser(chosen, len(names)))
        if len(self._mappings) >= MOST_MAPPINGS:
            self._mappings.clear()
        self._mappings[(node, device, names)] = mapping
        return mapping


def _chooser(indexes: list[int], of: int) -> Callable[[Values], Values]:
    if len(indexes) == of:
        return tuple  # of a tuple, it is the same one
    if len(indexes) > 1:
        get: Callable[[Values], Values] = itemgetter(*indexes)
        return get
    return lambda values: tuple(values[index] for index in indexes)
