"""Which channels go to a target, and what they are called there."""

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

    def outlet(self, series: Series) -> MappedChannel | None:
        """Return a channel on its way to this target, None if it is not meant to go there."""
        if series not in self._decided:
            self._decided[series] = self._decide(series)
        return self._decided[series]

    def chosen(self, every: Iterable[Series]) -> dict[int, MappedChannel]:
        """Return those of many series that go to this target, by id, in order of their names."""
        found = {series.id: outlet for series in every if (outlet := self.outlet(series))}
        return dict(sorted(found.items(), key=lambda item: item[1][:3]))

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
