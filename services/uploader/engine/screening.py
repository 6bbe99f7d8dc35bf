"""Rows that are settled before they are sent: not finite, too old, or late for a target that needs order. Pure."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from services.uploader.engine.batch import Batch
from services.uploader.engine.dead_letters import RejectedRow
from services.uploader.engine.result import BatchResult
from services.uploader.target import Limits, Row


def screened(batch: Batch, limits: Limits, newest_by_device: Mapping[str, float], now: float) -> BatchResult:
    """Return a new batch, of one piece, without the rows that cannot be sent; `now` is in s UTC."""
    if not batch.pieces or (batch.is_finite and not limits.age and not limits.ordered):
        return BatchResult(batch)
    kept: list[Row] = []
    rejected: list[RejectedRow] = []
    skipped = 0
    for row in batch.pieces[0]:
        if limits.age and row.time < now - limits.age:
            skipped += 1
            if batch.kind == "dead_letters":
                rejected.append(batch.rejected(row, "too old for the target by now"))
        elif limits.ordered and batch.kind == "range" and row.time < _newest(row, newest_by_device, now):
            rejected.append(batch.rejected(row, "it arrived after newer rows, which the target does not accept"))
        elif _is_finite(row):
            kept.append(row)
        elif batch.kind == "dead_letters":
            rejected.append(batch.rejected(row, "not a finite number"))
        else:
            finite = [_is_number(value) for value in row.values]
            rejected.append(batch.rejected(only(row, [not is_finite for is_finite in finite]), "not a finite number"))
            if any(finite):
                kept.append(only(row, finite))
    rest = batch._replace(pieces=(kept,) if kept else (), is_finite=True)
    return BatchResult(rest, rejected=tuple(rejected), skipped=skipped)


def only(row: Row, chosen: list[bool]) -> Row:
    """Return a row with the chosen ones of its values."""
    kept = [index for index, is_chosen in enumerate(chosen) if is_chosen]
    channels = tuple(row.channels[index] for index in kept)
    return Row(row.time, channels, tuple(row.values[index] for index in kept), row.position)


def devices_of(row: Row) -> set[str]:
    """Return the devices, node/device, that a row has values of."""
    return {f"{mapped.node}/{mapped.device}" for mapped in row.channels}


def _newest(row: Row, newest_by_device: Mapping[str, float], now: float) -> float:
    """Return the time of the newest row that was sent of the row's devices; one from the future makes no other row late."""
    times = [newest_by_device.get(device, 0.0) for device in devices_of(row)]
    return max((time for time in times if time <= now or not now), default=0.0)


def _is_finite(row: Row) -> bool:
    values: Any = row.values
    try:
        return isfinite(sum(values)) or all(map(_is_number, values))
    except TypeError:
        return all(map(_is_number, row.values))


def _is_number(value: object) -> bool:
    return not isinstance(value, float) or isfinite(value)
