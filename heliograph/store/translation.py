"""The numbers of a file that was moved aside, as the catalog gives them: by name, because a number may stand for something else now."""

import math
import struct
from typing import NamedTuple, cast

from heliograph.messages import Kind
from heliograph.store import copied_names, names, rescalings
from heliograph.store.catalog import Catalog
from heliograph.store.copied_names import CopiedNames
from heliograph.store.rescalings import Log


class Series(NamedTuple):
    """A series as the catalog has it."""

    number: int
    device: int
    kind: str
    rescalings: Log = ()  # that the values of the file have not had

    @property
    def text(self) -> bool:
        """Whether its values are numbers of texts."""
        return self.kind == "text"

    @property
    def needs_area(self) -> bool:
        """Whether its cells have the time integral of the values."""
        return self.kind != "counter"


class _Layout(NamedTuple):
    """A layout of the catalog, the positions of its values in the old payload, with their series."""

    number: int
    width: int
    series: dict[int, Series]
    as_they_are: bool  # whether every value stays what it is


class Translation:
    """Finds or creates the names of one file in the catalog.

    What the file itself no longer says is taken from the catalog, if nothing in the file contradicts that; what
    no file tells any more gets a name such as unknown/device_12/series_34: its values are not lost.
    """

    def __init__(self, copies: CopiedNames, rescaled: Log | None, catalog: Catalog) -> None:
        """Take the names of the file, and the rescalings that its values have had, None if they cannot be read."""
        self._catalog = catalog
        self._theirs = copies
        self._rescaled = rescaled
        self._rescalings = catalog.rescalings()
        self.untold: list[str] = []  # series whose values cannot be stored: the file does not tell their unit
        ours = catalog.copies()
        self.agrees = not copied_names.contradiction(ours, copies)
        self._ours = ours if self.agrees else CopiedNames()
        self._series: dict[int, Series | None] = {}
        self._layouts: dict[int, _Layout | None] = {}
        self._words: dict[int, int] = {}

    def series(self, number: int, device: int | None = None) -> Series | None:
        """Return a series; `device` is the file's number of its device, if that is known.

        None if its kind is another one, or the unit of its values is not known.
        """
        if number not in self._series:
            self._series[number] = self._find(number, device)
        return self._series[number]

    def word(self, number: float) -> float:
        """Return the number of a text."""
        key = int(number)
        if key not in self._words:
            row = self._theirs.word.get(key) or self._ours.word.get(key) or (f"unknown text {key}",)
            self._words[key] = self._catalog.word(row[0])
        return float(self._words[key])

    def frame(self, layout: int, payload: bytes) -> tuple[int, bytes] | None:
        """Return layout and payload of a reading; None if no file tells what it consists of."""
        if layout not in self._layouts:
            self._layouts[layout] = self._find_layout(layout)
        known = self._layouts[layout]
        if known is None or len(payload) != known.width * 8:
            return None
        if known.number == layout and known.as_they_are:
            return layout, payload
        values = struct.unpack(f"<{known.width}d", payload)
        chosen = [self.value(series, values[position]) for position, series in known.series.items()]
        return known.number, struct.pack(f"<{len(chosen)}d", *chosen)

    def value(self, series: Series, value: float) -> float:
        """Return a value of the file as the catalog has it: the number of its text, or in the unit that the series has now."""
        if not math.isfinite(value):
            return value
        return self.word(value) if series.text else rescalings.converted(series.rescalings, value)

    def _find(self, number: int, device: int | None) -> Series | None:
        own = self._theirs.series.get(number)
        row = own or self._ours.series.get(number)
        if row is None:
            if device is None:
                return None
            row = (device, f"series_{number}", "", "gauge", 0.0)
        owner, channel, unit, kind, rollover = row
        new = self._device(owner)
        known = self._catalog.number(new, channel)
        rest: Log | None = ()
        if known is not None:
            rest = rescalings.not_had(self._rescalings, self._rescaled, known, own[2] or "" if own else None)
        if rest is None:
            self.untold.append(channel)
            return None
        if rest:
            unit, rollover = rest[-1].change.unit, rest[-1].rollover
        sid = self._catalog.series(new, channel, unit or "", cast(Kind, kind or "gauge"), float(rollover or 0))
        return None if sid is None else Series(sid, new, kind or "gauge", rest)

    def _device(self, number: int) -> int:
        row = self._theirs.device.get(number) or self._ours.device.get(number) or (f"unknown/device_{number}",)
        return self._catalog.device(row[0])

    def _find_layout(self, number: int) -> _Layout | None:
        row = self._theirs.layout.get(number) or self._ours.layout.get(number)
        if row is None or len(row[1]) % 4:
            return None
        device, blob = row
        series_ = [self.series(sid, device) for sid in names.unpacked(blob)]
        there = {position: series for position, series in enumerate(series_) if series is not None}
        if not there:
            return None
        owner = next(iter(there.values())).device
        number = self._catalog.layout_of(owner, [series.number for series in there.values()])
        changed = any(series.text or series.rescalings for series in there.values())
        return _Layout(number, len(series_), there, not changed and len(there) == len(series_))
