"""Which channels a target gets, and their names there."""

from collections.abc import Collection, Iterable

from heliograph.renames import Renames
from heliograph.series_patterns import matches
from heliograph.store.interface import Series
from services.uploader import templates
from services.uploader.options import TargetOptions
from services.uploader.target import MappedChannel


class Selection:
    """Chooses and names channels as the options of a target say; remembers what it decided.

    A pattern that names a channel as it was called before fits, too: nothing stops to be uploaded because of a rename.
    """

    def __init__(self, options: TargetOptions) -> None:
        self._options = options
        self._decided: dict[Series, MappedChannel | None] = {}
        self._renames = Renames()
        self._names: Collection[str] = ()

    def follow(self, renames: Renames, names: Collection[str]) -> None:
        """Note the renames, and the names of all series: a former name that another one has by now is no former name."""
        self._renames, self._names = renames, names
        self._decided.clear()

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
        former = [name for name in self._renames.former(series.name) if name not in self._names]
        names = [series.name, *former]
        if not _fit(options.channels, names) or _fit(options.exclude, names):
            return None
        template = next(
            (template for pattern, template in options.names.items() if _fit([pattern], names)), options.name_template
        )
        uploaded = self._renames.in_uploads(series.name)
        if uploaded in former:
            node, device, channel = uploaded.split("/")
            series = series._replace(node=node, device=device, channel=channel)
        name = templates.filled(template, series._asdict())
        return MappedChannel(series.node, series.device, series.channel, series.unit, series.kind, name)


def _fit(patterns: Iterable[str], names: Iterable[str]) -> bool:
    return any(matches(pattern, name) for pattern in patterns for name in names)
