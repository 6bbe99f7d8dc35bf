"""What travels over the bus, and how it is written as JSON."""

import math
import sys
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from heliograph.errors import MessageError

Value = float | int | bool | str
Kind = Literal["gauge", "counter", "state", "text"]
Availability = Literal["online", "offline", "asleep"]
T = TypeVar("T")

LARGEST = sys.float_info.max
LARGEST_COUNT = 1 << 62  # what SQLite can hold
Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_COUNT)]
Sequence = Annotated[
    int, msgspec.Meta(ge=0, le=1 << 53)
]  # far from what a producer reaches, and from the largest count
LARGEST_INTEGER = (1 << 63) - 1  # what a database column and most JSON readers hold
TEXT_LIMIT = 255  # characters of a text state; longer ones are not states


class Channel(Struct, frozen=True, omit_defaults=True):
    """What one value of a device means; `unit` as Home Assistant spells it, see units.py.

    `rollover` is the value, in `unit`, at which the register of a counter begins again at
    zero: 2**32 of its steps for two Modbus registers; 0 when it is unknown. `writable` is
    the lowest and the highest value that `set` takes; a state from 0 to 1 is a switch.
    """

    unit: str = ""
    kind: Kind = "gauge"
    label: str = ""
    rollover: float = 0.0
    writable: tuple[float, float] | None = None


class Info(Struct, frozen=True, omit_defaults=True):
    """What a device is: retained, so that everyone who connects knows it."""

    model: str
    channels: dict[str, Channel]
    interval: float = 0.0  # seconds expected between readings; 0: irregular
    service: str = ""


class Reading(Struct, frozen=True, omit_defaults=True):
    """What one device measured at one moment: the payload of `state`."""

    time: float  # seconds since 1970 UTC, when it was read
    values: dict[str, Value]
    clock: str = (
        ""  # "unsynced" while the time is not to be trusted; "ahead" if it was in the future, and is that of arrival
    )


class Block(Struct, frozen=True, omit_defaults=True):
    """Readings of one device that have the same channels: row = [time, value, value, …]."""

    device: str = field(name="d")
    channels: tuple[str, ...] = field(name="k")
    rows: list[list[Any]] = field(name="r")


class Frame(Struct, frozen=True, omit_defaults=True):
    """What a producer hands to storage: one, or a list of them, is the payload of `journal` and `replay`.

    `epoch` is empty for a publisher without an outbox, whose frames carry no sequence.
    `base` is the lowest sequence the producer still holds; `unstamped` counts readings
    whose time could never be known and which are therefore not in the frame.
    """

    blocks: list[Block] = field(name="i", default_factory=list)
    epoch: Annotated[str, msgspec.Meta(max_length=64)] = field(name="e", default="")
    sequence: Sequence = field(name="q", default=0)
    base: Sequence = field(name="b", default=0)
    unstamped: Count = field(name="x", default=0)


class Watermark(Struct, frozen=True, omit_defaults=True):
    """Storage's progress with one producer: the payload of `committed`.

    Everything up to `committed` is durable; `wanted` is the next sequence storage
    will take; `gap` says that frames before the ones that arrive are missing;
    `storage` identifies storage's database and start; `seconds` is its commit interval.
    """

    epoch: str = field(name="e")
    committed: Count = field(name="w")
    wanted: Count = field(name="n")
    storage: str = field(name="s")
    seconds: float = field(name="c")
    gap: bool = field(name="g", default=False)


class SetAside(Struct, frozen=True):
    """One bad input: when, where and why it was not used, and how it began."""

    time: float
    where: str
    why: str
    what: str


class Status(Struct, frozen=True, omit_defaults=True):
    """The report of a service: retained; `state` is "offline" in its last will."""

    state: Literal["online", "offline"]
    time: float = 0.0
    version: str = ""
    started: float = 0.0
    clock: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    set_aside: list[SetAside] = field(default_factory=list)


def encode(message: Struct) -> bytes:
    """Return a message as JSON."""
    return msgspec.json.encode(message)


_FRAMES: msgspec.json.Decoder[Frame | list[Frame]] = msgspec.json.Decoder(Frame | list[Frame])


def frames(payload: bytes) -> list[Frame]:
    """Return the frames of a `journal` or `replay` message, which is one or a list; raise MessageError if it is neither."""
    try:
        decoded = _FRAMES.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"not a list of frames: {error}") from None
    return decoded if isinstance(decoded, list) else [decoded]


_DECODERS: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def decode(kind: type[T], payload: bytes) -> T:
    """Return the message that a payload holds; raise MessageError if it is not of this kind."""
    decoder: msgspec.json.Decoder[T] | None = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"not a {kind.__name__}: {error}") from None


def finite(value: float) -> float:
    """Return a number, as a float if it is too large an integer; raise ValueError if it is not finite."""
    if isinstance(value, int):
        if -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
            return value
        try:
            return float(value)
        except OverflowError:
            raise ValueError("too large a number") from None
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def one_line(text: str) -> str:
    """Return a text as it is; raise ValueError if no channel can have it as a value."""
    if len(text) > TEXT_LIMIT or not text.isprintable():
        raise ValueError(f"not a text of one line and {TEXT_LIMIT} characters")
    return text


def is_value(value: object) -> bool:
    """Whether a channel can have this value: a finite number, a boolean, or a short text."""
    if isinstance(value, str):
        return len(value) <= TEXT_LIMIT
    return isinstance(value, int | float) and -LARGEST <= value <= LARGEST
