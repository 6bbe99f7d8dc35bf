"""emoncms' input/bulk: many readings of many nodes, with times that may be relative. Pure.

An item is `[time, node, value, value, …]`. The times count from: now minus `sentat`, or now
minus `offset`, or `time`, or else so that the last item is now.
"""

from collections.abc import Mapping
from typing import NamedTuple

from heliograph.pending import shown
from services.api import queries
from services.api.errors import Busy, Refused
from services.api.ingest import inputs
from services.api.ingest.intake import Report
from services.api.ingest.options import Node

TOLERANCE = 10.0  # a sender's clock that is this right is believed, so that what it repeats has the same times
MOST_ITEMS = 10_000
CLOCK_SECONDS = 10.0


class Bulk(NamedTuple):
    """The readings, and what is wrong with items and values that are not among them: why and how it began."""

    reports: list[Report]
    refused: list[tuple[str, str]]


def parse(text: str | bytes, parameters: Mapping[str, str], nodes: Mapping[str, Node], now: float | None) -> Bulk:
    """Return the readings of `data`; raise Refused if there is no list. `now` is None before the clock has been set."""
    items = inputs.loads(text)
    if not isinstance(items, list) or len(items) > MOST_ITEMS:
        raise Refused(f"data: expected a list of at most {MOST_ITEMS} items such as [1399980731, 10, 100, 200.5]")
    found = Bulk([], [])
    good = [item for item in items if _is_item(item, found)]
    if not good:
        return found
    reference = _reference(parameters, float(good[-1][0]), now)
    for time, node, *values in good:
        try:
            read = inputs.numbered(values)
            key = inputs.node_key(node)
            report = inputs.report(key, read, round(reference + time, 3), nodes)
            found.refused.extend((f"node {key[:40]}: {why}", shown(values)) for why in read.refused)
            if report:
                found.reports.append(report)
        except Refused as error:
            found.refused.append((error.detail, shown([time, node, *values[:5]])))
    return found


def _is_item(item: object, found: Bulk) -> bool:
    if isinstance(item, list) and len(item) >= 3 and isinstance(item[0], int | float) and abs(item[0]) < 1e13:
        return True
    found.refused.append(("an item is not [time, node, value, …]", shown(item)))
    return False


def _reference(parameters: Mapping[str, str], last: float, now: float | None) -> float:
    """Return what is added to the times of the items; raise Refused."""
    for name in ("sentat", "offset"):
        if text := parameters.get(name):
            ahead = _set(now) - _number(name, text)
            # An offset counts from the sender's start: it is no clock.
            return 0.0 if name == "sentat" and abs(ahead) <= TOLERANCE else ahead
    if text := parameters.get("time"):
        return queries.time("time", text)
    return _set(now) - last


def _set(now: float | None) -> float:
    if now is None:
        raise Busy("the clock of this node has not been set yet, and these times count from it", 503, CLOCK_SECONDS)
    return now


def _number(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not abs(seconds) < 1e13:
        raise Refused(f"{name}={text[:40]!r} is not a number of seconds")
    return seconds
