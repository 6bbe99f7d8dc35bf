"""The channels of one import: their kinds and units, and which of them the store cannot take."""

from collections.abc import Iterable, Sequence
from typing import Any

from heliograph.messages import Channel, Kind, Value
from heliograph.store.interface import Series
from services.storage.importers.shared.parts import ChannelMetadata

SeriesName = tuple[str, str, str]  # node, device, channel


class ImportedChannels:
    """Remembers what each series of an import is, which the store knows, the options state, or its first values show."""

    def __init__(self, known: Iterable[Series], metadata: ChannelMetadata) -> None:
        self._metadata = metadata
        self._known = {
            (series.node, series.device, series.channel): Channel(series.unit, series.kind, rollover=series.rollover)
            for series in known
        }
        self.declared: dict[SeriesName, Channel] = {}
        self.refused: dict[SeriesName, str] = {}  # why

    def is_stated(self, name: SeriesName) -> bool:
        """Whether an option states the kind of a series."""
        return name[2] in self._metadata.kinds

    def declare(self, names: Sequence[SeriesName], rows: Sequence[Sequence[Any]]) -> dict[str, Channel]:
        """Return the channels that are new to this import, or not as the store knows them; what it knows stays unless options differ.

        `rows` have a time and then a value for each of the names.
        """
        changed = {}
        for index, name in enumerate(names, 1):
            if name in self.declared or name in self.refused:
                continue
            values = [row[index] for row in rows if len(row) > index and row[index] is not None]
            if not values:
                continue
            known, units = self._known.get(name), self._metadata.units
            kind = self._metadata.kinds.get(name[2]) or (known.kind if known else _kind(values))
            unit = units.get(name[2], units.get("/".join(name), known.unit if known else ""))
            why = ""
            if known and (kind == "text") != (known.kind == "text"):
                holds, given = ("texts", "numbers") if known.kind == "text" else ("numbers", "texts")
                why = f"the store has {holds} of {'/'.join(name)}, not {given}, and a series cannot change between them"
            elif known and known.unit and unit != known.unit:
                series = "/".join(name)
                if name[2] in units:
                    way = f"or convert what is stored, heliograph store rescale {series} --to {unit or 'UNIT'}"
                else:
                    way = f"or, if its values are in {known.unit} in spite of it, --unit {name[2]}={known.unit}"
                says = f"--unit says {unit or 'none'}" if name[2] in units else f"the header says {unit or 'none'}"
                why = f"the store has {series} in {known.unit}, and {says}: give it another name, {way}"
            if why:
                self.refused[name] = why
                continue
            channel = self.declared[name] = Channel(unit, kind, rollover=known.rollover if known else 0.0)
            if channel != known:
                changed[name[2]] = channel
        return changed


def _kind(values: Sequence[Value]) -> Kind:
    """Return the kind of an undeclared channel, by the values that it begins with."""
    texts = sum(isinstance(value, str) for value in values)
    if 2 * texts > len(values):
        return "text"
    numbers = [value for value in values if not isinstance(value, str)]
    return "state" if all(isinstance(value, bool) for value in numbers) else "gauge"
