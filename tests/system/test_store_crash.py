import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

import pytest

from heliograph.store import open_writer
from tests.system.loop_device import Devices
from tests.system.store_ledger import Ledger, stored, whole
from tests.system.store_writer import BRIDGE, HOURS, KEEP, POLLER, begin

ROOT = Path(__file__).parents[2]
YEAR = 2 * HOURS  # frames of a producer
STEPS = {
    **{f"{file} {step}": most for file, most in (("hot", 60), ("history", 30)) for step in ("begin", "finish", "done")},
    "catalog finish": 3,
    "catalog done": 3,
    "unlink begin": 9,
    "unlink done": 9,
    "rename begin": 1,
    "rename done": 1,
}


class Written:
    """A store that a process writes, which dies again and again."""

    def __init__(self, folder: Path, chance: random.Random, log: Path) -> None:
        self.folder = folder
        self.printed = {POLLER: 0, BRIDGE: 0}
        self.ledger = Ledger()
        self._chance = chance
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, until: int = 10**9, die: tuple[str, int] | None = None, *, flush: bool = False) -> None:
        options = {
            "die": die,
            "flush": flush,
            "data": str(self.folder),
            "seed": self._chance.randrange(1 << 32),
            "last": min(self.printed.values()),
            "until": until,
        }
        command = [sys.executable, "-m", "tests.system.store_writer", json.dumps(options)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)

    def out(self) -> IO[bytes]:
        assert self.process
        assert self.process.stdout
        return self.process.stdout

    def hear(self, lines: int) -> None:
        """Wait for so many commits, or for the end of the process."""
        for _ in range(lines):
            line = self.out().readline()
            if not line.endswith(b"\n"):
                return
            self.note(line)

    def note(self, line: bytes) -> None:
        poller, bridge = line.split()
        self.printed = {POLLER: int(poller), BRIDGE: int(bridge)}

    def end(self) -> int:
        """Kill it, if it has not ended; read its last output; return how it ended."""
        assert self.process
        if self.process.poll() is None:
            self.process.kill()
        return self.wait()

    def wait(self) -> int:
        assert self.process
        with self.out() as out:
            for line in out:
                if line.endswith(b"\n"):
                    self.note(line)
        code = self.process.wait()
        assert code in (0, -signal.SIGKILL), self._log.read_text()[-5000:]
        self.process = None
        return code

    def stand_still(self) -> None:
        """Stop it between two system calls; read its output before."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        os.set_blocking(self.out().fileno(), False)
        *lines, _ = (self.out().read() or b"").split(b"\n")
        os.set_blocking(self.out().fileno(), True)
        if lines:
            self.note(lines[-1])

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def check(self, folder: Path | None = None) -> None:
        """Assert that what was printed is stored, and everything that is stored is right, and is stored once."""
        there = folder or self.folder
        last = stored(there)
        assert all(last[producer] >= number for producer, number in self.printed.items()), f"{last} of {self.printed}"
        whole(there)
        self.ledger.advance(last)
        self.ledger.compare(there)

    def check_opened(self, folder: Path) -> None:
        """Open a store as after a power cut, and check it."""
        with closing(open_writer(folder, lambda: False, keep=KEEP, now=self.now)) as writer:
            assert writer.problems() == []
        self.check(folder)

    def now(self) -> float:
        return begin(max(min(self.printed.values()), 1))


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("STORE_SEED", random.randrange(1 << 32)))
    sys.stderr.write(f"STORE_SEED={seed}\n")
    return random.Random(seed)


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Devices]:
    with ExitStack() as opened:
        yield Devices(tmp_path, opened)


@pytest.fixture
def make(tmp_path: Path, chance: random.Random) -> Iterator[Callable[[Path], Written]]:
    made: list[Written] = []

    def start(folder: Path) -> Written:
        made.append(Written(folder, chance, tmp_path / "writer.log"))
        return made[-1]

    yield start
    for written in made:
        if written.process:
            written.process.kill()
            written.process.wait()
            written.out().close()


@pytest.mark.timeout(1800)
def test_nothing_is_lost_or_doubled_when_the_writer_is_killed_at_any_moment(
    request: pytest.FixtureRequest, tmp_path: Path, chance: random.Random, make: Callable[[Path], Written]
) -> None:
    kills = 100 if request.config.getoption("--full") else 12
    written = make(tmp_path / "data")
    for kill in range(kills):
        written.start()
        if kill and chance.random() < 0.2:
            time.sleep(chance.uniform(0, 0.6))  # while it opens the store
        else:
            written.hear(chance.randint(1, 80))
            time.sleep(chance.uniform(0, 0.03))
        assert written.end() == -signal.SIGKILL
        written.check()


@pytest.mark.timeout(1800)
def test_nothing_is_lost_or_doubled_when_the_writer_dies_between_two_steps(
    request: pytest.FixtureRequest, tmp_path: Path, chance: random.Random, make: Callable[[Path], Written]
) -> None:
    times = 8 if request.config.getoption("--full") else 1
    written = make(tmp_path / "data")
    written.start(until=2 * YEAR - 100)
    assert written.wait() == 0
    steps = [step for step in STEPS for _ in range(times)]
    chance.shuffle(steps)
    for step in steps:
        written.start(until=YEAR + HOURS, die=(step, chance.randint(1, STEPS[step])))
        assert written.wait() == -signal.SIGKILL, f"it never came to {step}"
        written.check()


@pytest.mark.timeout(1800)
def test_nothing_acknowledged_is_lost_when_the_power_is_cut(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    chance: random.Random,
    devices: Devices,
    make: Callable[[Path], Written],
) -> None:
    cuts, images = (25, 4) if request.config.getoption("--full") else (3, 2)
    device = devices.new()
    written = make(device.mount)
    written.start(until=2 * YEAR - 100)
    assert written.wait() == 0
    device.close()  # which writes all of it to the device
    device = devices.mounted(device.image)
    for cut in range(cuts):
        written.folder = device.mount
        written.start(flush=True)
        for image in range(images):
            written.hear(chance.randint(1, 60))
            time.sleep(chance.uniform(0, 0.02))
            written.stand_still()
            target = tmp_path / f"cut{cut}-{image}.img"
            device.copy(target)
            if image < images - 1:
                copy = devices.mounted(target)
                written.check_opened(copy.mount)
                copy.close()
                target.unlink()
                written.resume()
        assert written.end() == -signal.SIGKILL
        device.close()
        device.image.unlink()
        device = devices.mounted(target)
        written.check_opened(device.mount)
