import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Unpacked packages and stand-in images are kept here from run to run.
SCRATCH = Path("/var/tmp") / f"heliograph-containers-{os.getuid()}"
IMPOSSIBLE = 3


def variables(script: str, *arguments: str) -> dict[str, str]:
    """Return the NAME=value lines that a script prints; without what it needs the tests are skipped, in CI they fail."""
    command = [str(ROOT / "tests/containers" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == IMPOSSIBLE and os.environ.get("CI") != "true":
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.fixture(scope="session")
def engine() -> Iterator[dict[str, str]]:
    """A Docker engine and the base images: the environment variables to use them."""
    SCRATCH.mkdir(mode=0o700, exist_ok=True)
    assert SCRATCH.stat().st_uid == os.getuid(), f"{SCRATCH} belongs to somebody else"
    with (SCRATCH / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = variables("engine", "start", str(SCRATCH))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            try:
                yield environment | variables("images", str(SCRATCH))
            finally:
                variables("engine", "stop", str(SCRATCH))
