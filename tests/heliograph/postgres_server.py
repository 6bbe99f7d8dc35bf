"""A real PostgreSQL on a loopback port, for one test session; with TimescaleDB, if it is to be."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from tests.conftest import ROOT, free_port, optional_program

UNPRIVILEGED = 65534  # PostgreSQL refuses to run as root
START_SECONDS = 60.0
# a test may lose data in a crash of the machine, but not in a crash of the server
SETTINGS = (
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "max_connections=60",
    "log_min_messages=fatal",
    "jit=off",
)
TIMESCALEDB = ("shared_preload_libraries=timescaledb", "timescaledb.telemetry_level=off")


def programs_with_timescaledb() -> Path:
    """Return where a PostgreSQL with TimescaleDB is; without one the test is skipped, in CI it fails."""
    unpacked = ROOT / ".tools/timescaledb/usr/lib/postgresql"
    for folder in (unpacked, Path("/usr/lib/postgresql")):
        for library in sorted(folder.glob("*/lib/timescaledb.so")):
            return library.parents[1] / "bin"
    why = "there is no TimescaleDB: scripts/setup --dev unpacks it where apt reaches Debian trixie"
    assert os.environ.get("CI") != "true", why
    pytest.skip(why)


def reachable(programs: Path, folder: Path) -> Path:
    """Return programs that the user whom PostgreSQL runs as can reach: a copy in a folder, if the repository is closed to it."""
    if os.getuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in programs.parents):
        return programs
    root = programs.parents[4]
    folder.chmod(0o755)
    shutil.copytree(root, folder / "postgresql", symlinks=True)
    return folder / "postgresql" / programs.relative_to(root)


class Server:
    """PostgreSQL with one database, which is empty; `programs` is where one with TimescaleDB is."""

    def __init__(self, folder: Path, programs: Path | None = None) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._data.mkdir(parents=True)
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._user: int | None = None
        if os.getuid() == 0:
            self._user = UNPRIVILEGED
            for path in (folder, self._data):
                os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
        self._port = free_port()
        made = subprocess.run(
            [
                self._program("initdb"),
                "--no-sync",
                "-A",
                "trust",
                "-U",
                "heliograph",
                "-E",
                "UTF8",
                "--locale=C",
                self._data,
            ],
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            cwd=folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://heliograph@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        options = [part for setting in self._settings() for part in ("-c", setting)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program("postgres"),
                    "-D",
                    self._data,
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(self._port),
                    "-k",
                    "",
                    *options,
                ],
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
                cwd=self._data,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < end, "PostgreSQL did not start"
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End every connection at once and stop; what was committed is kept."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Kill the server; the operating system keeps what it has written."""
        self._end(signal.SIGQUIT)

    def remove(self) -> None:
        if self._process:
            self._end(signal.SIGQUIT)
        shutil.rmtree(self._data, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(how)
        self._process.wait(START_SECONDS)
        self._process = None

    def _program(self, name: str) -> str:
        return str(self._programs / name) if self._programs else optional_program(name)

    def _settings(self) -> tuple[str, ...]:
        return (*SETTINGS, *TIMESCALEDB) if self._programs else SETTINGS

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        return {**kept, "LC_ALL": "C"}
