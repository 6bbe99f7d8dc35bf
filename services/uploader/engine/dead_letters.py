"""Dead letters: rows that a target refused, kept to be looked at, repaired, and sent again."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from heliograph.messages import Value, is_value
from services.uploader.target import MappedChannel, Row


class DeadLetter(NamedTuple):
    """One refused row: its number, when it was set aside (s UTC), the reason, and whether it is to be sent again."""

    id: int
    added: float
    reason: str
    row: Row
    retry: bool


class Rejected(NamedTuple):
    """A row that a target refused just now, and the reason; `number` if it was a dead letter already."""

    row: Row
    reason: str
    number: int = 0


def packed(row: Row) -> bytes:
    """Return a row as JSON; a number that JSON does not have becomes the text nan, inf or -inf."""
    values = [value if is_value(value) else str(value) for value in row.values]
    return msgspec.json.encode((row.time, row.outlets, values))


_DECODER: msgspec.json.Decoder[tuple[float, tuple[MappedChannel, ...], tuple[bool | int | float | str, ...]]] = (
    msgspec.json.Decoder(tuple[float, tuple[MappedChannel, ...], tuple[bool | int | float | str, ...]])
)


def unpacked(blob: bytes) -> Row:
    """Return the row that JSON holds."""
    time, outlets, values = _DECODER.decode(blob)
    return Row(
        time,
        outlets,
        tuple(
            float(value) if isinstance(value, str) and outlet.kind != "text" else value
            for outlet, value in zip(outlets, values, strict=True)
        ),
    )


def edited(row: Row, values: Mapping[str, Value | None], time: float | None) -> Row:
    """Return a row with other values, by node/device/channel or what the channel is called there; None leaves one out.

    Raises ValueError for a channel that the row does not have, and what a channel cannot hold.
    """
    wanted = dict(values)
    kept: list[tuple[MappedChannel, Value]] = []
    for outlet, value in zip(row.outlets, row.values, strict=True):
        key = next((key for key in (outlet.series, outlet.name) if key in wanted), None)
        changed = value if key is None else wanted.pop(key)
        if changed is None:
            continue
        if key is not None and not is_value(changed):
            raise ValueError(f"values.{key}: {changed!r} is not a finite number, a boolean or a short text")
        kept.append((outlet, changed))
    if wanted:
        raise ValueError(
            f"values: the dead letter has no {next(iter(wanted))!r}; it has {', '.join(one.series for one in row.outlets)}"
        )
    if not kept:
        raise ValueError("values: nothing is left to send; drop the dead letter instead")
    if time is not None and not math.isfinite(time):
        raise ValueError(f"time: {time!r} is not a time")
    outlets = tuple(outlet for outlet, _ in kept)
    return Row(row.time if time is None else time, outlets, tuple(value for _, value in kept))


def told(letter: DeadLetter) -> dict[str, Any]:
    """Return a letter as JSON has it."""
    return {
        "id": letter.id,
        "added": letter.added,
        "reason": letter.reason,
        "retry": letter.retry,
        "time": letter.row.time,
        "values": {
            outlet.series: value if is_value(value) else str(value)
            for outlet, value in zip(letter.row.outlets, letter.row.values, strict=True)
        },
    }
