import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from heliograph import supervisor
from tests.conftest import ROOT

WATCHES = (
    "import sys, time\n"
    "from heliograph.supervisor import Supervisor\n"
    "one = Supervisor()\n"
    "while True:\n"
    "    open(sys.argv[1], 'w').write(one.fault() or 'lives')\n"
    "    time.sleep(0.02)\n"
)
STARTS = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', *sys.argv[1:]])\ntime.sleep(600)\n"


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", STARTS, WATCHES, str(tmp_path / "says")], cwd=ROOT)
    started: list[psutil.Process] = []
    try:
        while not started:
            started = psutil.Process(process.pid).children()
        yield process
    finally:
        process.kill()
        process.wait()
        for one in started:
            one.kill()


def test_a_process_knows_that_its_supervisor_is_stopped_or_has_ended(
    starter: subprocess.Popen[bytes], tmp_path: Path, eventually: Callable[..., object]
) -> None:
    says = tmp_path / "says"
    eventually(lambda: says.exists() and says.read_text() == "lives")
    starter.send_signal(signal.SIGSTOP)
    eventually(lambda: says.read_text() == "is stopped by a signal")
    starter.send_signal(signal.SIGCONT)
    eventually(lambda: says.read_text() == "lives")
    starter.kill()
    starter.wait()
    eventually(lambda: says.read_text() == "has ended")


def test_a_mistake_is_noted_until_it_is_corrected(tmp_path: Path) -> None:
    assert supervisor.noted_mistake(tmp_path) == ""
    for mistake in ("config.toml: [api] port: no", "config.toml is gone"):
        supervisor.note_mistake(tmp_path, mistake)
        assert supervisor.noted_mistake(tmp_path) == mistake
    supervisor.note_mistake(tmp_path, "")
    supervisor.note_mistake(tmp_path, "")
    assert list(tmp_path.iterdir()) == []
    supervisor.note_mistake(tmp_path / "not there", "config.toml is gone")
