"""Any content of the kernel's files is a value that can be published or a failure; and memory does not grow."""

import random
from contextlib import suppress
from pathlib import Path

import pytest

from heliograph import topics
from heliograph.messages import encode, is_value
from services.sensor_reader import discovery
from services.sensor_reader.errors import InvalidValue
from services.sensor_reader.options import SensorReader
from services.sensor_reader.pulses.count_file import SLOT_BYTES, SavedCount, copies, slot
from services.sensor_reader.sensor import read
from services.sensor_reader.sources import throttling
from tests import fuzzing
from tests.sensor_reader.tree import Tree

SLAVE = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n"
MARKS = [b"\n", b"-", b".", b"9" * 40, b"e5", b"nan", b"\xff", b"YES", b" t=85000\n", b" kB\n", b"0x"]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "root")
    made.machine()
    made.dht()
    made.bme280(in_concentration_co2_raw="400\n", in_voltage0_raw="17\n", in_voltage0_scale="0.5\n")
    made.ds18b20("0316a2794bff", SLAVE)
    made.hwmon(0, "platform/sht3x", "sht3x", temp1_input="21500", humidity1_input="48300", temp1_fault="0")
    made.hwmon(1, "platform/chip", "chip", fan1_input="900", in0_input="5000", energy1_input="7", in0_label="5V")
    return made


@pytest.mark.timeout(1200)
def test_any_content_of_the_files_of_the_kernel_is_a_value_that_can_be_published_or_a_failure(
    tree: Tree, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(4)
    files = {path: path.read_bytes() for path in tree.root.rglob("*") if path.is_file() and not path.is_symlink()}
    options = SensorReader(root=str(tree.root))
    kept = discovery.find(options, tmp_path).sensors
    assert len(kept) == 6

    def turn() -> None:
        nonlocal kept
        for path in chance.sample(sorted(files), 3):
            path.write_bytes(fuzzing.mutated(chance, chance.choice([files[path], *files.values()]), MARKS))
        if chance.random() < 0.1:
            kept = discovery.find(options, tmp_path).sensors
        if chance.random() < 0.1:
            for path, content in files.items():
                path.write_bytes(content)
        for name, named in kept.items():
            assert topics.is_name(name)
            result = read(named.sensor, lambda _: None)
            assert all(topics.is_channel(channel) and is_value(value) for channel, value in result.values.items())
            assert set(result.values) <= set(named.sensor.channels)
            assert bool(result.failure) or not result.invalid
            encode(named.sensor.info(10.0, "sensor_reader"))

    assert fuzzing.grows(turn, request, turns=40) < fuzzing.MOST_GROWTH


@pytest.mark.timeout(1200)
def test_any_content_of_a_count_file_holds_only_the_copies_that_were_written(
    request: pytest.FixtureRequest,
) -> None:
    chance = random.Random(4)
    whole = {SavedCount(turn, turn * 7) for turn in range(8)}
    seeds = [slot(copy).ljust(SLOT_BYTES, b"\0") for copy in whole]

    def turn() -> None:
        content = b"".join(fuzzing.mutated(chance, chance.choice(seeds), MARKS)[:SLOT_BYTES] for _ in range(2))
        assert set(copies(content)) <= whole
        with suppress(InvalidValue):
            flags = throttling.flags(fuzzing.mutated(chance, b"throttled=0x50005\n", MARKS).decode("latin-1"))
            assert set(flags) == set(throttling.BITS)

    assert fuzzing.grows(turn, request) < fuzzing.MOST_GROWTH
