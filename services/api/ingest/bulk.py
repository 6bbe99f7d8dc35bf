"""emoncms' input/bulk: many readings of many nodes, with times that may be relative. Pure.

An item is `[time, node, value, value, …]`. Its time counts from now minus `sentat`, or now minus `offset`, or `time`; without
any of them, so that the last item is from now.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from heliograph.pending import shown
from services.api import queries
from services.api.errors import Busy, RequestRefused
from services.api.ingest import inputs
from services.api.ingest.naming import PostedNames
from services.api.ingest.options import EmoncmsNode
from services.api.ingest.reports import Report

MILLISECOND = 0.001  # between items of a node with the same second: the same again when the request is repeated
TOLERANCE = 10.0  # a client's clock that is this exact is trusted, so that a repeated request has the same times
MOST_ITEMS = 10_000
CLOCK_SECONDS = 10.0


class BulkContent(NamedTuple):
    """The readings, and the items and values that are not valid: the reason, and the beginning of each."""

    reports: list[Report]
    refused: list[tuple[str, str]]


def parse(
    text: str | bytes,
    parameters: Mapping[str, str],
    nodes: Mapping[str, EmoncmsNode],
    now: float | None,
    names: PostedNames,
) -> BulkContent:
    """Return the readings of `data`; raise RequestRefused if it is not a list. `now` is None before the clock has been set."""
    data = inputs.loads(text)
    if not isinstance(data, list) or len(data) > MOST_ITEMS:
        raise RequestRefused(
            f"data: expected a list of at most {MOST_ITEMS} items such as [1399980731, 10, 100, 200.5]"
        )
    content = BulkContent([], [])
    items = [item for item in data if _is_item(item, content)]
    if not items:
        return content
    reference = _reference(parameters, float(items[-1][0]), now)
    repeated: Counter[tuple[str, float]] = Counter()
    for time, node, *values in items:
        try:
            read = inputs.numbered(values)
            key = inputs.node_key(node)
            report = inputs.report(key, read, round(reference + time, 3), nodes, names)
            content.refused.extend((f"node {key[:40]}: {why}", shown(values)) for why in read.refused)
            if report and report.time is not None:
                again = repeated[report.device, report.time]
                repeated[report.device, report.time] += 1
                content.reports.append(report._replace(time=round(report.time + again * MILLISECOND, 3)))
        except RequestRefused as error:
            content.refused.append((error.detail, shown([time, node, *values[:5]])))
    return content


def _is_item(item: object, content: BulkContent) -> bool:
    if isinstance(item, list) and len(item) >= 3 and isinstance(item[0], int | float) and abs(item[0]) < 1e13:
        return True
    content.refused.append(("an item is not [time, node, value, …]", shown(item)))
    return False


def _reference(parameters: Mapping[str, str], last: float, now: float | None) -> float:
    """Return the seconds to add to the times of the items; raise RequestRefused."""
    for name in ("sentat", "offset"):
        if text := parameters.get(name):
            ahead = _known(now) - _number(name, text)
            # An offset counts from the client's start: it is not a clock.
            return 0.0 if name == "sentat" and abs(ahead) <= TOLERANCE else ahead
    if text := parameters.get("time"):
        return queries.time("time", text)
    return _known(now) - last


def _known(now: float | None) -> float:
    if now is None:
        raise Busy("the clock of this node has not been set yet, and these times count from it", 503, CLOCK_SECONDS)
    return now


def _number(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not abs(seconds) < 1e13:
        raise RequestRefused(f"{name}={text[:40]!r} is not a number of seconds")
    return seconds
