import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sensor_reader.errors import InvalidValue, ReadFailed, SensorRemoved
from services.sensor_reader.sources import sysfs


@pytest.mark.parametrize(
    ("content", "value"), [("23125\n", "23125"), ("-1250\n", "-1250"), ("98.734121093\n", "98.734121093")]
)
def test_a_number_is_read_exactly(tmp_path: Path, content: str, value: str) -> None:
    (tmp_path / "in").write_text(content)
    assert sysfs.number(tmp_path / "in") == Decimal(value)


@pytest.mark.parametrize("content", ["\n", "23 24\n", "nan\n", "inf\n", "1e400\n", "0x10\n", "²\n", "9" * 31 + "\n"])
def test_text_that_is_not_a_number_is_set_aside(tmp_path: Path, content: str) -> None:
    (tmp_path / "in").write_text(content)
    with pytest.raises(InvalidValue, match="in: not a number"):
        sysfs.number(tmp_path / "in")


@pytest.mark.parametrize("content", ["", "231"])
def test_an_incomplete_line_is_a_failed_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "in").write_text(content)
    with pytest.raises(ReadFailed, match="incomplete"):
        sysfs.number(tmp_path / "in")


def test_a_missing_file_is_a_removed_sensor(tmp_path: Path) -> None:
    with pytest.raises(SensorRemoved):
        sysfs.text(tmp_path / "in")


def test_an_error_of_the_driver_is_a_failed_read(tmp_path: Path) -> None:
    with pytest.raises(ReadFailed, match="Is a directory"):
        sysfs.text(tmp_path)


def test_a_file_without_end_does_not_fill_the_memory() -> None:
    with pytest.raises(InvalidValue, match="longer than 8192 bytes"):
        sysfs.text(Path("/dev/zero"))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_number_or_refused(content: bytes) -> None:
    read, write = os.pipe()
    try:
        os.write(write, content + b"\n")
        os.close(write)
        value = sysfs.number(Path(f"/proc/self/fd/{read}"))
    except (ReadFailed, InvalidValue):
        return
    finally:
        os.close(read)
    assert value.is_finite()
    assert float(value) == float(content.decode())  # of bytes, float does not strip all that is blank
