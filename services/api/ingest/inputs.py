"""The content of emoncms' input API: nodes with named or numbered inputs, in four spellings. Pure.

Facts: emoncms' Modules/input/input_methods.php and EmonHubEmoncmsHTTPInterfacer.py. Inputs
without a name are named by their position, from 1, as emoncms does.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from heliograph import tolerant_json, units
from heliograph.messages import Channel, Value, is_value
from heliograph.names import NamingRule
from heliograph.pending import shown
from services.api.errors import RequestRefused
from services.api.ingest.naming import PostedNames
from services.api.ingest.options import EmoncmsNode
from services.api.ingest.reports import Report

RSSI = "rssi"  # emonHub sends it after the last value
_DIGITS = re.compile(r"[0-9]{1,9}(\.0+)?")
_POSITION = re.compile(r"[1-9][0-9]{0,3}")
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*")
_WRAPPING = "{}[]\"' \t\r\n"
_RSSI = Channel("dBm")
MOST_NUMBERED = 10_000


class Inputs(NamedTuple):
    """The inputs of one node by the names that were sent, why others are not valid, and which have no value (null, NaN)."""

    values: dict[str, Value]
    refused: list[str]
    missing: list[str]


class NumberedChannels:
    """Knows which channels have had numbers: for them, false is no value, as OpenEVSE writes a sensor that is not there.

    For all others true is 1 and false is 0, as emoncms takes them: a contact. 0 and 1 are no numbers here. `newest`
    returns the newest known value of a device's channel.
    """

    def __init__(self, newest: Callable[[str, str], Value | None]) -> None:
        self._newest = newest
        self._numbered: set[tuple[str, str]] = set()

    def numbers(self, report: Report) -> Report:
        """Return a report with numbers instead of true and false."""
        values: dict[str, Value] = {}
        for channel, value in report.values.items():
            if not isinstance(value, bool):
                values[channel] = value
                if value not in (0, 1) and len(self._numbered) < MOST_NUMBERED:
                    self._numbered.add((report.device, channel))
            elif not self._has_had_numbers(report.device, channel):
                values[channel] = int(value)
        missing = report.missing + len(report.values) - len(values)
        return report._replace(values=values, missing=missing)

    def _has_had_numbers(self, device: str, channel: str) -> bool:
        newest = self._newest(device, channel)
        return (device, channel) in self._numbered or (newest is not None and newest not in (0, 1))


def node_key(node: object) -> str:
    """Return a node as the configuration names it, 15 and 15.0 as "15"; raise RequestRefused."""
    if isinstance(node, bool) or not isinstance(node, str | int | float):
        raise RequestRefused(f"node: {shown(node)[:40]} is neither a number nor a name")
    text = node.strip() if isinstance(node, str) else f"{node:.15g}" if is_value(node) else ""
    if not text or len(text) > 100:
        raise RequestRefused(f"node: {shown(node)[:40]} is neither a number nor a name")
    return str(int(text.partition(".")[0])) if _DIGITS.fullmatch(text) else text


def device(key: str, nodes: Mapping[str, EmoncmsNode], rule: NamingRule) -> str:
    """Return the device of a node: the configured one, `node15`, or its name made valid for topics."""
    if key in nodes and nodes[key].device:
        return nodes[key].device
    try:
        return f"node{key}" if key.isdecimal() else rule.device(key)
    except ValueError as error:
        raise RequestRefused(f"node: {error}") from None


def report(
    key: str, inputs: Inputs, time: float | None, nodes: Mapping[str, EmoncmsNode], names: PostedNames
) -> Report | None:
    """Return a node's inputs as a reading, without values if the sender has none, None if no input is valid; raise RequestRefused.

    Adds to `inputs.refused` what cannot be the name of a channel, or is there already.
    """
    node = nodes.get(key, EmoncmsNode())
    device_name = names.claim_device(device(key, nodes, names.rule), key)
    values: dict[str, Value] = {}
    channels: dict[str, Channel] = {}
    last = max((_position(name) for name in inputs.values), default=0)
    for name, value in inputs.values.items():
        try:
            channel = _channel(name, node, last, names.rule)
            # whose name the configuration gives is one input, by position and by name
            names.claim_channel(device_name, channel, channel if channel in node.names else name)
        except ValueError as error:
            inputs.refused.append(str(error))
            continue
        if channel in values:
            inputs.refused.append(
                f"{channel}: {shown(values[channel])[:40]}: a later value of the same input was taken"
            )
        values[channel] = value
        if channel in node.names[: len(node.units)]:
            channels[channel] = Channel(units.spelled(node.units[node.names.index(channel)]))
        elif channel == RSSI:
            channels[channel] = _RSSI
    if not (values or inputs.missing):
        return None
    return Report(device_name, values, time, channels, "emoncms input", missing=len(inputs.missing))


def fulljson(text: str) -> tuple[Inputs, object]:
    """Return the inputs of a JSON object, and its `time` if there is one; raise RequestRefused if it is not an object."""
    content = loads(text)
    if not isinstance(content, dict):
        raise RequestRefused('fulljson: expected an object such as {"power": 100}')
    if "time" in content and content["time"] is None:
        raise RequestRefused("time: it has no value, or comes twice")
    moment = content.pop("time", None)
    return named(content), moment


def loose(text: str) -> Inputs:
    """Return the inputs of `{power1:100,power2:200}`, quoted or not; those without a name are named by their position among themselves."""
    inputs = Inputs({}, [], [])
    position = 0
    for pair in text.strip(_WRAPPING).split(","):
        name, colon, value = pair.rpartition(":")
        if not colon:
            position += 1
        _add(inputs, name.strip(_WRAPPING) if colon else str(position), value.strip(_WRAPPING))
    return inputs


def csv(text: str) -> Inputs:
    """Return the inputs of `100,200.5`, by position; emoncms takes `power:100`, too."""
    return loose(text) if ":" in text else numbered(part.strip() or None for part in text.split(","))


def data(text: str) -> Inputs:
    """Return the inputs of `data`, which is JSON, loose JSON or CSV."""
    stripped = text.strip()
    if stripped.startswith("{"):
        try:
            return fulljson(stripped)[0]
        except RequestRefused:
            return loose(stripped)
    return csv(stripped)


def named(content: Mapping[str, object]) -> Inputs:
    """Return the inputs of an object."""
    inputs = Inputs({}, [], [])
    for name, value in content.items():
        _add(inputs, name, value)
    return inputs


def numbered(values: Iterable[object]) -> Inputs:
    """Return inputs by position, from 1; objects among them are named inputs and take no position, None skips one."""
    inputs = Inputs({}, [], [])
    position = 0
    for value in values:
        if isinstance(value, dict):
            for name, inner in value.items():
                _add(inputs, name, inner)
        else:
            position += 1
            _add(inputs, str(position), value)
    return inputs


def loads(text: str | bytes) -> Any:
    """Return JSON, with None for NaN, which emonHub writes, and the like (tolerant_json); raise RequestRefused."""
    try:
        return tolerant_json.decode(text)
    except ValueError as error:
        raise RequestRefused(f"not JSON: {str(error)[:100]}") from None


def _add(inputs: Inputs, name: str, value: object) -> None:
    if isinstance(value, str) and _NUMBER.fullmatch(value[:400]):
        value = float(value)
    if value is None:
        inputs.missing.append(name)
        return
    if not isinstance(value, int | float) or not is_value(value):
        inputs.refused.append(f"{name[:40]}: {shown(value)[:40]} is not a number")
        return
    if name in inputs.values:
        inputs.refused.append(
            f"{name[:40]}: {shown(inputs.values[name])[:40]}: a later value of the same input was taken"
        )
    inputs.values[name] = value


def _position(name: str) -> int:
    return int(name) if _POSITION.fullmatch(name) else 0


def _channel(name: str, node: EmoncmsNode, last: int, rule: NamingRule) -> str:
    position = _position(name)
    if not position:
        return rule.channel(name)
    if position <= len(node.names):
        return node.names[position - 1]
    return RSSI if node.names and position == last == len(node.names) + 1 else str(position)
