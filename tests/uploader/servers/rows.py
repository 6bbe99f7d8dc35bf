"""Rows as the engine makes them."""

from collections.abc import Sequence
from pathlib import Path

from heliograph.messages import Kind, Value
from services.uploader.target import MappedChannel, Refused, Row, Target, TargetContext, TryLater

START = 1_763_632_800.0  # 2025-11-20 10:00 UTC


def mapped(name: str, unit: str = "W", device: str = "meter", kind: Kind = "gauge", channel: str = "") -> MappedChannel:
    return MappedChannel("house", device, channel or name, unit, kind, name)


def row(time: float, channels: Sequence[MappedChannel], *values: Value) -> Row:
    return Row(time, tuple(channels), values)


def context(*channels: MappedChannel, folder: Path = Path("/nonexistent")) -> TargetContext:
    return TargetContext("house", folder, lambda: channels)


def delivered(target: Target, rows: Sequence[Row], patience: int = 20) -> dict[float, str]:
    """Send rows as an engine does, bisecting what is refused without saying which; return those set aside, by time."""
    aside: dict[float, str] = {}
    left = [list(rows)]
    while left:
        batch = left.pop(0)
        if not batch:
            continue
        size = target.limits.rows or len(batch)
        if len(batch) > size:
            left[:0] = [batch[at : at + size] for at in range(0, len(batch), size)]
            continue
        try:
            target.upload(batch)
        except TryLater as error:
            patience -= 1
            if not patience:
                raise
            rest = batch[error.done :]
            left[:0] = [rest[: len(rest) // 2], rest[len(rest) // 2 :]] if error.smaller else [rest]
        except Refused as error:
            if error.rows:
                aside.update({batch[index].time: why for index, why in error.rows.items()})
                if error.later:
                    left.insert(0, batch[error.later.done :])
            elif len(batch) == 1:
                aside[batch[0].time] = str(error)
            else:
                left[:0] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
    return aside
