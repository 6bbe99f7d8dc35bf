"""What a line can turn out to be."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from heliograph.messages import Channel, Value


class NotAReading(ValueError):
    """A line that nothing can be read from: set it aside, and count it under `counter`."""

    def __init__(self, why: str, counter: str = "noise_lines") -> None:
        super().__init__(why)
        self.counter = counter


class About(NamedTuple):
    """What the configuration says of a device: `interval` 0 is to be learnt, absent channels are to be guessed."""

    model: str
    interval: float
    channels: Mapping[str, Channel]


class Reading(NamedTuple):
    """What a device said; `at` is its own time in seconds since 1970 UTC, None if it was read just now.

    `no_sensor` counts the values that only said that there is no sensor; `refused` shows
    the ones that no channel can have. Neither are in `values`.
    """

    device: str
    values: dict[str, Value]
    about: About
    at: float | None = None
    no_sensor: int = 0
    refused: tuple[str, ...] = ()


class Remark(NamedTuple):
    """A line that is no reading and no mistake; `settings` are those of a radio receiver."""

    counter: str
    settings: str = ""


class Format(Protocol):
    """How lines of one kind are read."""

    def __call__(self, line: str) -> Reading | Remark:
        """Return what a line without its end says; raise NotAReading, and nothing else."""
