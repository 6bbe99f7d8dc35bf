import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sensor_reader.errors import Disturbed, Gone, NotAValue
from services.sensor_reader.sources import sysfs


@pytest.mark.parametrize(
    ("said", "value"), [("23125\n", "23125"), ("-1250\n", "-1250"), ("98.734121093\n", "98.734121093")]
)
def test_a_number_is_read_exactly(tmp_path: Path, said: str, value: str) -> None:
    (tmp_path / "in").write_text(said)
    assert sysfs.number(tmp_path / "in") == Decimal(value)


@pytest.mark.parametrize("said", ["\n", "23 24\n", "nan\n", "inf\n", "1e400\n", "0x10\n", "²\n", "9" * 31 + "\n"])
def test_what_is_no_number_is_set_aside(tmp_path: Path, said: str) -> None:
    (tmp_path / "in").write_text(said)
    with pytest.raises(NotAValue, match="in: not a number"):
        sysfs.number(tmp_path / "in")


@pytest.mark.parametrize("said", ["", "231"])
def test_a_part_of_a_line_is_asked_for_again(tmp_path: Path, said: str) -> None:
    (tmp_path / "in").write_text(said)
    with pytest.raises(Disturbed, match="only a part"):
        sysfs.number(tmp_path / "in")


def test_a_file_that_is_not_there_is_a_sensor_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Gone):
        sysfs.text(tmp_path / "in")


def test_a_driver_that_fails_is_asked_again(tmp_path: Path) -> None:
    with pytest.raises(Disturbed, match="Is a directory"):
        sysfs.text(tmp_path)


def test_a_file_without_end_does_not_fill_the_memory() -> None:
    with pytest.raises(NotAValue, match="longer than any attribute"):
        sysfs.text(Path("/dev/zero"))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_number_or_refused(content: bytes) -> None:
    read, write = os.pipe()
    try:
        os.write(write, content + b"\n")
        os.close(write)
        value = sysfs.number(Path(f"/proc/self/fd/{read}"))
    except (Disturbed, NotAValue):
        return
    finally:
        os.close(read)
    assert value.is_finite()
    assert float(value) == float(content)
