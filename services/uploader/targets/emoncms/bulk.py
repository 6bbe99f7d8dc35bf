"""The items of Emoncms' bulk: [time, node, value 1, value 2, …] or [time, node, {name: value}].

A position without a value would become 0: Emoncms stores null, "" and false as 0 since 11.2.13 (emoncms
Modules/input/input_methods.php, January 2023). So a row with a gap goes by name: the names of positions are "1", "2", ….

Names go as Emoncms keeps them (`kept`): it removes a backslash and what it escapes from a form before it reads the JSON
(param.php, stripslashes), so that a quotation mark in a name would be an error, and it does not decode what is encrypted.
"""

import re
from collections.abc import Iterator

from services.uploader import templates
from services.uploader.target import MappedChannel, Row
from services.uploader.targets.shared.numbers import Number, number

MOST_POSITIONS = 99  # IoTaWatt's names of inputs are 1 to 99
SIGNS = "Emoncms keeps alphanumeric characters, spaces, and _ - ."


def kept(name: str) -> str:
    """Return what Emoncms leaves of the name of a node or an input: alphanumeric characters, spaces, and _ - . (any white space is a space)."""
    return re.sub(r"\s", " ", re.sub(r"[^\w\s.-]", "", name))


def position(name: str) -> int:
    """Return which value of an item a name is, counted from 1; 0 if it is not that kind of name."""
    return int(name) if name.isascii() and name.isdigit() and 1 <= int(name) <= MOST_POSITIONS else 0


class BulkItems:
    """Makes items; keeps which value of a row goes where, for rows with the same channels."""

    def __init__(self, template: str) -> None:
        """`template` is the name of the node, with $node, $device, $channel and $unit."""
        self._template = template
        self._plans: dict[tuple[MappedChannel, ...], dict[str, list[tuple[int, str]]]] = {}

    def node(self, mapped: MappedChannel) -> str:
        """Return the name that the node of a channel has at Emoncms; "" if nothing is left of it."""
        return kept(templates.filled(self._template, mapped._asdict()))

    def mistake(self, row: Row) -> str:
        """Return why Emoncms would not take a row: a bad number there ends the whole bulk; "" if it would."""
        plan = self._plan(row.channels)
        if "" in plan:
            return f"{row.channels[plan[''][0][0]].name}: nothing is left of the node's name; {SIGNS}"
        for members in plan.values():
            for index, name in members:
                if not name:
                    return f"{row.channels[index].name}: nothing is left of this name; {SIGNS}"
        for mapped, value in zip(row.channels, row.values, strict=True):
            try:
                number(value)
            except ValueError as error:
                return f"{mapped.name}: {error}"
        return ""

    def of(self, row: Row, base: int) -> Iterator[list[object]]:
        """Yield one item for each node that a row has values of; times in whole seconds since `base`; no texts."""
        for node, members in self._plan(row.channels).items():
            values_by_name = {
                name: converted for index, name in members if (converted := number(row.values[index])) is not None
            }
            if not values_by_name:
                continue
            if sorted(map(position, values_by_name)) == list(range(1, len(values_by_name) + 1)):
                yield [int(row.time) - base, _node(node), *_positional(values_by_name)]
            else:
                yield [int(row.time) - base, _node(node), values_by_name]

    def _plan(self, channels: tuple[MappedChannel, ...]) -> dict[str, list[tuple[int, str]]]:
        """Return for each node which values go there, and the names of their inputs."""
        plan = self._plans.get(channels)
        if plan is None:
            plan = self._plans[channels] = {}
            for index, mapped in enumerate(channels):
                plan.setdefault(self.node(mapped), []).append((index, kept(mapped.name)))
        return plan


def _node(node: str) -> int | str:
    """Return a node as emonHub sends it: one that is a number as a number."""
    return int(node) if node.isascii() and node.isdigit() and not node.startswith("0") else node


def _positional(values_by_name: dict[str, Number]) -> list[Number]:
    """Return the values by their positions, of which none is missing."""
    return [value for _, value in sorted(values_by_name.items(), key=lambda item: position(item[0]))]
