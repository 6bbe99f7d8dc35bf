import errno
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import gpiod
import pytest
from gpiod.line import Bias, Direction
from gpiod.line import Edge as Edges

from services.sensor_reader.options import CounterOptions
from services.sensor_reader.pulses import gpio
from services.sensor_reader.pulses.edges import Edge


class Chip:
    """A stand-in for gpiod.Chip: what each of the two chips of a Pi 5 calls its lines."""

    LINES: ClassVar = {"gpiochip0": {"ID_SDA": 0}, "gpiochip4": {"GPIO17": 17, "GPIO4": 4}}
    refused: tuple[str, ...] = ()

    def __init__(self, path: str) -> None:
        self._name = Path(path).name
        if self._name in self.refused:
            raise PermissionError(errno.EACCES, "Permission denied")

    def __enter__(self) -> "Chip":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def line_offset_from_id(self, name: str) -> int:
        try:
            return self.LINES[self._name][name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory") from None


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dev").mkdir()
    for name in Chip.LINES:
        (tmp_path / "dev" / name).touch()
    monkeypatch.setattr(gpiod, "Chip", Chip)
    return tmp_path


def test_a_line_is_found_on_the_chip_that_has_it(root: Path) -> None:
    expected = (root / "dev/gpiochip4", 17)
    assert gpio.locate(CounterOptions(name="gas", line=17), root) == expected
    assert gpio.locate(CounterOptions(name="gas", line="GPIO17"), root) == expected


def test_on_a_chip_that_is_named_a_number_is_that_of_the_line(root: Path) -> None:
    counter = CounterOptions(name="gas", line=17, chip="/dev/gpiochip0")
    assert gpio.locate(counter, root) == (root / "dev/gpiochip0", 17)


def test_a_line_that_no_chip_has_is_an_error(root: Path) -> None:
    with pytest.raises(OSError, match="no GPIO chip has a line GPIO99"):
        gpio.locate(CounterOptions(name="gas", line=99), root)


def test_a_chip_that_may_not_be_opened_is_the_reason(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chip, "refused", ("gpiochip4",))
    with pytest.raises(PermissionError):
        gpio.locate(CounterOptions(name="gas", line=17), root)


class Request:
    """A stand-in for gpiod's request: two edges wait, then none."""

    class Event:
        def __init__(self, number: int) -> None:
            self.timestamp_ns = number * 1000
            self.line_seqno = number

    def __init__(self) -> None:
        self.waiting = [self.Event(1), self.Event(2)]
        self.released = False

    def wait_edge_events(self, seconds: float) -> bool:
        return bool(self.waiting)

    def read_edge_events(self) -> list[Any]:
        events, self.waiting = self.waiting, []
        return events

    def release(self) -> None:
        self.released = True


def test_a_line_is_requested_as_configured_and_reports_its_edges(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: dict[str, Any] = {}
    request = Request()

    def request_lines(path: str, **options: Any) -> Request:
        requested.update(options, path=path)
        return request

    monkeypatch.setattr(gpiod, "request_lines", request_lines)
    counter = CounterOptions(name="gas", line=17, edge="rising", bias="pull-down", debounce=0.01)
    line = gpio.GpioLine(counter, root)
    assert line.edges(0.1) == [Edge(1000, 1), Edge(2000, 2)]
    assert line.edges(0.1) == []
    line.close()
    assert request.released
    assert requested["path"] == str(root / "dev/gpiochip4")
    settings = requested["config"][17]
    assert settings.direction is Direction.INPUT
    assert settings.edge_detection is Edges.RISING
    assert settings.bias is Bias.PULL_DOWN
    assert settings.debounce_period == timedelta(milliseconds=10)


@pytest.mark.parametrize("make", [Path.touch, lambda path: None])
def test_the_real_library_refuses_a_file_that_is_not_a_chip(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "dev").mkdir()
    make(tmp_path / "dev/gpiochip0")
    with pytest.raises(OSError, match=r"."):
        gpio.GpioLine(CounterOptions(name="gas", line=17, chip="gpiochip0"), tmp_path)
    with pytest.raises(OSError, match=r"."):
        gpio.GpioLine(CounterOptions(name="gas", line=17), tmp_path)
