"""Dead letters: rows that a target rejected, kept to be looked at, repaired, and sent again."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from heliograph.messages import Value, is_value
from services.uploader.target import MappedChannel, Row


class DeadLetter(NamedTuple):
    """One rejected row: its id, when it was set aside (s UTC), the reason, and whether it is to be sent again."""

    id: int
    added: float
    reason: str
    row: Row
    retry: bool


class RejectedRow(NamedTuple):
    """A row that a target has just rejected, and the reason; `id` is that of its dead letter, 0 if it is not one yet."""

    row: Row
    reason: str
    id: int = 0


def packed(row: Row) -> bytes:
    """Return a row as JSON; a number that JSON does not have becomes the text nan, inf or -inf."""
    values = [value if is_value(value) else str(value) for value in row.values]
    return msgspec.json.encode((row.time, row.channels, values))


_DECODER: msgspec.json.Decoder[tuple[float, tuple[MappedChannel, ...], tuple[bool | int | float | str, ...]]] = (
    msgspec.json.Decoder(tuple[float, tuple[MappedChannel, ...], tuple[bool | int | float | str, ...]])
)


def unpacked(blob: bytes) -> Row:
    """Return the row that `packed` made JSON of."""
    time, channels, values = _DECODER.decode(blob)
    return Row(
        time,
        channels,
        tuple(
            _number(value) if isinstance(value, str) and mapped.kind != "text" else value
            for mapped, value in zip(channels, values, strict=True)
        ),
    )


def _number(text: str) -> Value:
    """Return nan, inf or -inf, of which `packed` made a text; another text stays one."""
    try:
        return float(text)
    except ValueError:
        return text


def edited(row: Row, values: Mapping[str, Value | None], time: float | None) -> Row:
    """Return a row with other values, by node/device/channel or by the channel's name at the target; None removes one.

    Raises ValueError for a channel that the row does not have, and for what a channel cannot hold.
    """
    changes = dict(values)
    kept: list[tuple[MappedChannel, Value]] = []
    for mapped, value in zip(row.channels, row.values, strict=True):
        key = next((key for key in (mapped.series, mapped.name) if key in changes), None)
        changed = value if key is None else changes.pop(key)
        if changed is None:
            continue
        if key is not None and not is_value(changed):
            raise ValueError(f"values.{key}: {changed!r} is not a finite number, a boolean or a short text")
        if key is not None and isinstance(changed, str) and mapped.kind != "text":
            raise ValueError(f"values.{key}: expected a number or a boolean, found {changed!r:.80}")
        kept.append((mapped, changed))
    if changes:
        raise ValueError(
            f"values: the dead letter has no {next(iter(changes))!r}; it has "
            f"{', '.join(mapped.series for mapped in row.channels)}"
        )
    if not kept:
        raise ValueError("values: nothing is left to send; drop the dead letter instead")
    if time is not None and not math.isfinite(time):
        raise ValueError(f"time: {time!r} is not a time")
    channels = tuple(mapped for mapped, _ in kept)
    return Row(row.time if time is None else time, channels, tuple(value for _, value in kept))


def as_json(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as JSON has it."""
    return {
        "id": letter.id,
        "added": letter.added,
        "reason": letter.reason,
        "retry": letter.retry,
        "time": letter.row.time,
        "values": {
            mapped.series: value if is_value(value) else str(value)
            for mapped, value in zip(letter.row.channels, letter.row.values, strict=True)
        },
    }
