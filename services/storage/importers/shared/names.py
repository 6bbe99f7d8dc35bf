"""Names of devices and channels in files as those of series: two texts that would get one name are reported."""

from collections.abc import Iterable

from heliograph import names, names_before
from heliograph.messages import Kind
from heliograph.store.interface import Series


class SeriesNames:
    """Names for one import, which knows the series of the store.

    A series that an earlier import named by the former rule keeps that name.
    """

    def __init__(self, known: Iterable[Series] = ()) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {
            (series.node, series.device, series.channel): series.kind for series in known
        }
        self._devices = {(node, device) for node, device, _ in self._kinds}
        self._texts: dict[tuple[str, ...], str] = {}  # of which text a name is
        self._names: dict[tuple[str, ...], str] = {}
        self._origins: dict[tuple[str, str, str], str] = {}

    def kind(self, node: str, device: str, channel: str) -> Kind | None:
        """Return the kind of a series that the store has, None for a new one."""
        return self._kinds.get((node, device, channel))

    def device(self, node: str, text: str, origin: str = "") -> str:
        """Return the name of the device that a text means; raise ValueError if it has none, or that of another text.

        `origin` tells texts apart that are equal by chance.
        """
        key = (node, origin or text)
        if name := self._names.get(key):
            return name
        name, former = names.device(text), names_before.CUT.device(text)
        if (node, former) in self._devices and (node, name) not in self._devices:
            name = former
        return self._claimed(key, (node, name), origin or text)

    def channel(self, node: str, device: str, text: str) -> str:
        """Return the name of the channel that a text means; raise ValueError if it has none, or that of another text."""
        key = (node, device, text)
        if name := self._names.get(key):
            return name
        name, former = names.channel(text), names_before.CUT.channel(text)
        if (node, device, former) in self._kinds and (node, device, name) not in self._kinds:
            name = former
        return self._claimed(key, (node, device, name), text)

    def claim(self, series: tuple[str, str, str], origin: str, hint: str) -> None:
        """Note where the values of a series come from; raise names.NameTaken, with a hint, if they came from elsewhere before."""
        owner = self._origins.setdefault(series, origin)
        if owner != origin:
            raise names.NameTaken(f"{origin[:200]!r} would be {'/'.join(series)}, as {owner[:200]!r} is; {hint}")

    def _claimed(self, key: tuple[str, ...], name: tuple[str, ...], text: str) -> str:
        owner = self._texts.setdefault(name, text)
        if owner != text:
            raise names.NameTaken(f"{text[:80]!r} would be called {name[-1]}, which is the name of {owner[:80]!r}")
        self._names[key] = name[-1]
        return name[-1]
