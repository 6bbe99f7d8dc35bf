"""Tries a service as `heliograph try` does, while something feeds its inputs."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT
from tests.mqtt_recorder import NODE

FEED_SECONDS = 0.1


class Tried(NamedTuple):
    status: int
    text: str

    def values(self, device: str) -> dict[str, str]:
        """The values of a device as they are printed, with their units."""
        lines = iter(self.text.splitlines())
        next(line for line in lines if line.startswith((f"    {device} (", f"    {device}: ")))
        values = {}
        for line in lines:
            if not line.startswith("      "):
                break
            channel, *value, _day, _time = line.split()
            values[channel] = " ".join(value)
        return values


def tried(
    service: str, folder: Path, sections: str, seconds: float = 20.0, feed: Callable[[], object] | None = None
) -> Tried:
    """Try a service; nothing of the node's data folder may change by that."""
    folder.mkdir(exist_ok=True)
    file = folder / "trial.toml"
    data = folder / "data"
    before = content(data)
    file.write_text(f'[node]\nname = "{NODE}"\ndata = "{data}"\nclock = "trust"\n{sections}')
    with subprocess.Popen(
        [sys.executable, "-m", f"services.{service}.trial", str(file), "--seconds", str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            while feed and process.poll() is None:
                feed()
                time.sleep(FEED_SECONDS)
            text = process.communicate(timeout=60)[0]
        finally:
            process.kill()
    assert content(data) == before
    assert "Traceback" not in text
    return Tried(process.returncode, text)


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
