"""Tries mutants: writes each into a copy of the tree, and runs the tests that must find it."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
MEMORY_BYTES = 4 << 30  # a mutant may collect without end
LONGER = 3  # times as much processor time as the tests take without a mutant is a mutant that never ends
SPARE_SECONDS = 5
LONGER_WAITING = 10  # the same by the clock on the wall, for one that waits without end; machines are shared
SPARE_SECONDS_WAITING = 20
FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class Effort(NamedTuple):
    """What the tests take without a mutant: seconds of the processor, and by the clock on the wall."""

    processor: float
    wall: float


class Verdict(NamedTuple):
    """What became of a mutant: "found", "time-out" or "survived", and the first test that failed."""

    outcome: str
    test: str = ""


class BaselineFailed(Exception):
    """The tests fail without a mutant; the text is pytest's."""


class Copy:
    """A copy of the tree as it is, changes that are not committed included, in which one mutant at a time is tried."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        """Copy the tree into a folder; pytest gets the options."""
        self._options = options
        self._tree = folder / "tree"
        self._temporary = folder / "temporary"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
            if (ROOT / name).is_file():
                (self._tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self._tree / name)
        if (ROOT / ".tools").exists():
            (self._tree / ".tools").symlink_to((ROOT / ".tools").resolve())

    def measure(self, tests: list[str]) -> Effort:
        """Run the tests without a mutant, alone; raise BaselineFailed if they are not all well."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        code, output = self._run(tests, None)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        if code:
            raise BaselineFailed(output)
        processor = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        return Effort(processor, time.monotonic() - began)

    def try_out(self, module: str, source: bytes, tests: list[str], effort: Effort) -> Verdict:
        """Run the tests with another source in a module's place."""
        path = self._tree / module
        original = path.read_bytes()
        try:
            self._write(path, source)
            code, output = self._run(tests, effort)
        finally:
            self._write(path, original)
        if code in (None, -signal.SIGXCPU):
            return Verdict("time-out")
        if code == 0:
            return Verdict("survived")
        first = FIRST_FAILURE.search(output)
        return Verdict("found", first[1] if first else f"pytest ended with {code}")

    def _write(self, path: Path, source: bytes) -> None:
        """Write a module, and drop its compiled form: Python takes one of the same second and size for the new one's."""
        path.write_bytes(source)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()

    def _run(self, tests: list[str], effort: Effort | None) -> tuple[int | None, str]:
        """Return pytest's code, None if it was stopped, and its output; without an effort it may take as long as it does."""
        command = [sys.executable, "-m", "pytest", *tests, *self._options]
        command += ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", f"--basetemp={self._temporary}"]
        # A file and not a pipe: what a test left running would hold the other end of a pipe.
        with (
            tempfile.TemporaryFile() as output,
            subprocess.Popen(
                command,
                cwd=self._tree,
                env={**os.environ, "HYPOTHESIS_PROFILE": "mutation"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
            wall = None
            if effort:
                seconds = round(LONGER * effort.processor) + SPARE_SECONDS
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (seconds, seconds + SPARE_SECONDS))
                wall = LONGER_WAITING * effort.wall + SPARE_SECONDS_WAITING
            try:
                code = process.wait(wall)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                with suppress(ProcessLookupError):  # if pytest and all that its tests started have ended
                    os.killpg(process.pid, signal.SIGKILL)
            output.seek(0)
            return code, output.read().decode(errors="replace")
