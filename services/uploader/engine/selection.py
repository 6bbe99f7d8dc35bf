"""Which channels a target gets, and their names there."""

from collections.abc import Iterable

from heliograph.series_patterns import matches
from heliograph.store.interface import Series
from services.uploader import templates
from services.uploader.options import TargetOptions
from services.uploader.target import MappedChannel


class Selection:
    """Chooses and names channels as the options of a target say; remembers what it decided."""

    def __init__(self, options: TargetOptions) -> None:
        self._options = options
        self._decided: dict[Series, MappedChannel | None] = {}

    def mapped(self, series: Series) -> MappedChannel | None:
        """Return a channel as this target gets it, None if it does not get it."""
        if series not in self._decided:
            self._decided[series] = self._decide(series)
        return self._decided[series]

    def chosen(self, every: Iterable[Series]) -> dict[int, MappedChannel]:
        """Return the channels that this target gets, by id of the series, in the order in which they appeared: a device's own."""
        return {series.id: mapped for series in sorted(every) if (mapped := self.mapped(series))}

    def _decide(self, series: Series) -> MappedChannel | None:
        options = self._options
        if not any(matches(pattern, series.name) for pattern in options.channels):
            return None
        if any(matches(pattern, series.name) for pattern in options.exclude):
            return None
        template = next(
            (name for pattern, name in options.names.items() if matches(pattern, series.name)), options.name_template
        )
        name = templates.filled(template, series._asdict())
        return MappedChannel(series.node, series.device, series.channel, series.unit, series.kind, name)
