"""GPIO lines: the only module that imports gpiod."""

import errno
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import gpiod
from gpiod.line import Bias, Direction
from gpiod.line import Edge as Edges

from heliograph import device_access
from services.sensor_reader.options import CounterOptions
from services.sensor_reader.pulses.edges import Edge

BUFFERED_EDGES = 1024  # that the kernel keeps until they are read
_EDGES = {"rising": Edges.RISING, "falling": Edges.FALLING, "both": Edges.BOTH}
_BIAS = {
    "as-is": Bias.AS_IS,
    "disabled": Bias.DISABLED,
    "pull-up": Bias.PULL_UP,
    "pull-down": Bias.PULL_DOWN,
}


class RequestedLine(Protocol):
    """A line whose edges are reported; every method raises OSError once the line is unavailable."""

    def edges(self, seconds: float) -> list[Edge]:
        """Wait at most `seconds` for an edge; return those that came."""

    def close(self) -> None:
        """Release the line."""


class GpioLine:
    """A line of a GPIO chip, debounced by the kernel; raises OSError if it does not exist or is in use."""

    def __init__(self, counter: CounterOptions, root: Path) -> None:
        chip, line = locate(counter, root)
        settings = gpiod.LineSettings(
            direction=Direction.INPUT,
            edge_detection=_EDGES[counter.edge],
            bias=_BIAS[counter.bias],
            debounce_period=timedelta(seconds=counter.debounce),
        )
        try:
            self._request = gpiod.request_lines(
                str(chip), consumer="heliograph", config={line: settings}, event_buffer_size=BUFFERED_EDGES
            )
        except OSError as error:
            raise OSError(error.errno, device_access.why(error, chip)) from None

    def edges(self, seconds: float) -> list[Edge]:
        """Wait at most `seconds` for an edge; return those that came."""
        if not self._request.wait_edge_events(seconds):
            return []
        return [Edge(event.timestamp_ns, event.line_seqno) for event in self._request.read_edge_events()]

    def close(self) -> None:
        """Release the line."""
        self._request.release()


def locate(counter: CounterOptions, root: Path) -> tuple[Path, int | str]:
    """Return the chip with the line of a counter, and the line on it; raise OSError if no chip has it.

    Without a chip, 17 is the line called GPIO17, as on the header of every Raspberry Pi:
    which chip has it differs between models and kernels.
    """
    if counter.chip:
        return root / "dev" / counter.chip.removeprefix("/dev/"), counter.line
    name = f"GPIO{counter.line}" if isinstance(counter.line, int) else counter.line
    failure = OSError(errno.ENODEV, f"no GPIO chip has a line {name}")
    for path in sorted((root / "dev").glob("gpiochip*")):
        try:
            with gpiod.Chip(str(path)) as chip:
                return path, chip.line_offset_from_id(name)
        except FileNotFoundError:
            continue
        except OSError as error:
            failure = OSError(error.errno, device_access.why(error, path))
    raise failure
