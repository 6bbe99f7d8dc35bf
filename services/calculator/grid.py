"""One calculated device: what its channels are at every multiple of its interval. Pure; knows no clock.

At a time T of the grid every input has the newest value of T or before, unless it is older than max_age: then it has none. So a
result depends on nothing but readings and their times, and comes out the same however often and in whatever order they arrive.
T is calculated as soon as no input can be expected to have anything more to say about it: all have been heard at T or
later, or one of them `wait` seconds later. A reading that comes later still changes the results that it would have changed.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from heliograph.formula import Name
from heliograph.messages import Value
from services.calculator.history import MOST, History
from services.calculator.options import Device, order

DIGITS = 12  # of a result: enough for every meter, and none of the traces of binary fractions


class Source(NamedTuple):
    """A channel of a device of a node."""

    node: str
    device: str
    channel: str


class Result(NamedTuple):
    """What came out at a time of the grid, in milliseconds: only channels that are new or other than before."""

    at: int
    values: dict[str, Value]


class Grid:
    """Calculates a device; `histories` are those of all sources and grow elsewhere."""

    def __init__(self, name: str, options: Device, node: str, histories: dict[Source, History]) -> None:
        self.name = name
        self.interval = round(options.interval * 1000)
        self.max_age = round(options.max_age * 1000)
        self._wait = round(options.wait * 1000)
        self._formulas = {channel: options.channels[channel].parsed for channel in order(name, options)}
        self._kinds = {channel: derived.kind for channel, derived in options.channels.items()}
        asked = {one for formula in self._formulas.values() for one in formula.names}
        self.inputs: dict[str, Source] = {
            str(one): _source(one, node) for one in asked if (one.node, one.device) != ("", name)
        }
        self._histories = {
            text: histories.setdefault(source, History()) for text, source in sorted(self.inputs.items())
        }
        self.next: int | None = None  # the number of the first time of the grid that has not been calculated
        self._late: set[int] = set()
        self._said: dict[int, dict[str, Value]] = {}
        self.missing: list[str] = []  # inputs without a value at the last time that was calculated
        self.is_fresh = False  # whether anything came out then
        self.calculated = self.revised = self.without_value = 0

    @property
    def open(self) -> int | None:
        """The number of the first time of the grid that is still to be calculated, or again; None before the first reading."""
        return None if self.next is None else min(self.next, *self._late, self.next)

    def changed(self, source: Source, at: int) -> None:
        """Note a new value of a source: what has been calculated with an older one is not right any more."""
        first = -(-at // self.interval)
        if self.next is None:
            self.next = first
        for text, known in self.inputs.items():
            if known != source:
                continue
            following = self._histories[text].after(at)
            end = at + self.max_age if following is None else min(at + self.max_age, following - 1)
            self._late.update(range(first, min(self.next - 1, end // self.interval) + 1))

    def results(self) -> Iterator[Result]:
        """Calculate what has become possible or wrong."""
        if self.next is None:
            return
        last = self._ripe() // self.interval
        late = sorted(number for number in self._late if number <= last)
        self._late.difference_update(late)
        for number in late:
            if (found := self._at(number)) and (result := self._result(number, found)):
                self.revised += 1
                yield result
        while self.next <= last:
            found = self._at(self.next)
            if found is None:
                self._leap(last)
                continue
            self.is_fresh = bool(found)
            result = self._result(self.next, found)
            self.next += 1
            if result:
                self.calculated += 1
                yield result

    def _ripe(self) -> int:
        """Return up to when no more is to be expected."""
        newest = [history.newest for history in self._histories.values()]
        heard = [at for at in newest if at is not None]
        if not heard:
            return 0
        return max(max(heard) - self._wait, min(heard) if len(heard) == len(newest) else 0)

    def _leap(self, last: int) -> None:
        """Go to where an input has a value again."""
        assert self.next is not None
        at = self.next * self.interval
        coming = [then for history in self._histories.values() if (then := history.after(at)) is not None]
        self.next = min(last + 1, max(self.next + 1, -(-min(coming) // self.interval))) if coming else last + 1
        self.is_fresh = False

    def _at(self, number: int) -> dict[str, Value] | None:
        """Return the results at a time of the grid; None if no input has a value there."""
        at = number * self.interval
        values: dict[str, float] = {}
        missing = []
        for text, history in self._histories.items():
            value = history.as_of(at, self.max_age)
            if value is None:
                missing.append(text)
            else:
                values[text] = value
        if number == self.next:
            self.missing = missing
        if not values:
            return None
        found: dict[str, Value] = {}
        for channel, formula in self._formulas.items():
            value = formula.evaluate(values)
            if value is None:
                self.without_value += 1
                continue
            value = float(f"{float(value):.{DIGITS}g}")
            values[f"{self.name}.{channel}"] = value
            found[channel] = value != 0 if self._kinds[channel] == "state" else value
        return found

    def _result(self, number: int, found: Mapping[str, Value]) -> Result | None:
        """Return what is new in the results of a time of the grid; None if nothing is."""
        said = self._said.get(number, {})
        news = {channel: value for channel, value in found.items() if said.get(channel) != value}
        if not news:
            return None
        self._said[number] = {**said, **news}
        while len(self._said) > MOST:
            del self._said[next(iter(self._said))]
        return Result(number * self.interval, news)


def _source(name: Name, node: str) -> Source:
    return Source(name.node or node, name.device, name.channel)
