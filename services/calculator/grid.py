"""One calculated device: the values of its channels at every multiple of its interval. Pure; reads no clock.

At every grid time, each input has its newest value of that time or before, unless the value is older than max_age: then it has none. So
results depend on nothing but readings and their times, and are the same however often and in whatever order readings arrive.
A grid time is calculated as soon as no input can be expected to have more to contribute: all inputs have a reading at that time or
later, or one of them has one `wait` seconds later. A reading that comes later still changes the results that it would have changed.

A step is the number of a grid time: the time divided by the interval.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from heliograph.formula import Name
from heliograph.messages import Value
from services.calculator.history import MAX_POINTS, InputHistory
from services.calculator.options import CalculatedDevice, evaluation_order

DIGITS = 12  # of a result: enough for every meter, and without the traces of binary fractions


class InputChannel(NamedTuple):
    """A channel of a device of a node that a formula uses."""

    node: str
    device: str
    channel: str


class StepResult(NamedTuple):
    """The new or changed channels at a grid time, which is in milliseconds since 1970 UTC."""

    at: int
    values: dict[str, Value]


class Grid:
    """Calculates a device; `histories` are those of all inputs, and are filled elsewhere."""

    def __init__(
        self, name: str, options: CalculatedDevice, node: str, histories: dict[InputChannel, InputHistory]
    ) -> None:
        self.name = name
        self.interval = round(options.interval * 1000)
        self.max_age = round(options.max_age * 1000)
        self._wait = round(options.wait * 1000)
        self._formulas = {channel: options.channels[channel].parsed for channel in evaluation_order(name, options)}
        self._kinds = {channel: calculated.kind for channel, calculated in options.channels.items()}
        used = {one for formula in self._formulas.values() for one in formula.names}
        self.inputs: dict[str, InputChannel] = {
            str(one): _input(one, node) for one in used if (one.node, one.device) != ("", name)
        }
        self._histories = {
            text: histories.setdefault(channel, InputHistory()) for text, channel in sorted(self.inputs.items())
        }
        self.next_step: int | None = None  # the first step that has not been calculated
        self._outdated: set[int] = set()  # steps before it to be calculated again
        self._published: dict[int, dict[str, Value]] = {}
        self.missing_inputs: list[str] = []  # at the last step that was calculated
        self.is_fresh = False  # whether that step had a result
        self.calculated = self.revised = self.without_value = 0

    @property
    def first_open_step(self) -> int | None:
        """The first step that is still to be calculated, or again; None before the first reading."""
        return None if self.next_step is None else min(self.next_step, *self._outdated, self.next_step)

    def begin_at(self, step: int) -> None:
        """Calculate from a step on, once more what was calculated already; not where inputs were discarded."""
        floors = [history.floor for history in self._histories.values() if history.floor is not None]
        step = max([step, *(-(-floor // self.interval) for floor in floors)])
        self.next_step = step if self.next_step is None else min(self.next_step, step)

    def input_changed(self, channel: InputChannel, at: int) -> None:
        """Note a new value of an input: steps that were calculated with an older value are outdated."""
        first = -(-at // self.interval)
        if self.next_step is None:
            self.next_step = first
        for text, known in self.inputs.items():
            if known != channel:
                continue
            following = self._histories[text].after(at)
            end = at + self.max_age if following is None else min(at + self.max_age, following - 1)
            self._outdated.update(range(first, min(self.next_step - 1, end // self.interval) + 1))

    def drop_after(self, at: int) -> bool:
        """Begin again with the next value if steps were calculated that are later than a time; return whether there were any.

        The values of the inputs after that time are dropped by their histories.
        """
        if self.next_step is None or (self.next_step - 1) * self.interval <= at:
            return False
        self.next_step = None
        self._outdated.clear()
        self._published.clear()
        self.is_fresh = False
        return True

    def results(self) -> Iterator[StepResult]:
        """Calculate the steps that have become complete, and the outdated ones again."""
        if self.next_step is None:
            return
        last = self._complete_until() // self.interval
        outdated = sorted(step for step in self._outdated if step <= last)
        self._outdated.difference_update(outdated)
        for step in outdated:
            if (values := self._evaluated(step)) and (result := self._changes(step, values)):
                self.revised += 1
                yield result
        while self.next_step <= last:
            values = self._evaluated(self.next_step)
            if values is None:
                self._skip_gap(last)
                continue
            self.is_fresh = bool(values)
            result = self._changes(self.next_step, values)
            self.next_step += 1
            if result:
                self.calculated += 1
                yield result

    def _complete_until(self) -> int:
        """Return the time until which no more readings are to be expected."""
        newest = [history.newest for history in self._histories.values()]
        times = [at for at in newest if at is not None]
        if not times:
            return 0
        return max(max(times) - self._wait, min(times) if len(times) == len(newest) else 0)

    def _skip_gap(self, last: int) -> None:
        """Continue at the next step at which an input has a value."""
        assert self.next_step is not None
        at = self.next_step * self.interval
        following = [then for history in self._histories.values() if (then := history.after(at)) is not None]
        if following:
            self.next_step = min(last + 1, max(self.next_step + 1, -(-min(following) // self.interval)))
        else:
            self.next_step = last + 1
        self.is_fresh = False

    def _evaluated(self, step: int) -> dict[str, Value] | None:
        """Return the values of the channels at a step; None if no input has a value there."""
        at = step * self.interval
        values: dict[str, float] = {}
        missing = []
        for text, history in self._histories.items():
            value = history.as_of(at, self.max_age)
            if value is None:
                missing.append(text)
            else:
                values[text] = value
        if step == self.next_step:
            self.missing_inputs = missing
        if not values:
            return None
        evaluated: dict[str, Value] = {}
        for channel, formula in self._formulas.items():
            value = formula.evaluate(values)
            if value is None:
                self.without_value += 1
                continue
            value = float(f"{float(value):.{DIGITS}g}")
            values[f"{self.name}.{channel}"] = value
            evaluated[channel] = value != 0 if self._kinds[channel] == "state" else value
        return evaluated

    def _changes(self, step: int, values: Mapping[str, Value]) -> StepResult | None:
        """Return the values of a step that were not published yet, None if all were; remember them as published."""
        published = self._published.get(step, {})
        changed = {channel: value for channel, value in values.items() if published.get(channel) != value}
        if not changed:
            return None
        self._published[step] = {**published, **changed}
        while len(self._published) > MAX_POINTS:
            del self._published[next(iter(self._published))]
        return StepResult(step * self.interval, changed)


def _input(name: Name, node: str) -> InputChannel:
    return InputChannel(name.node or node, name.device, name.channel)
