"""What a service can know of the supervisor of a native node: whether it lives, and what it says of the configuration."""

import contextlib
import os
from pathlib import Path

MISTAKE = "config.mistake"  # in the run folder of the node
PROCESSES = Path("/proc")
STOPPED_STATES = ("T", "t")  # proc(5), /proc/PID/stat: stopped by a signal, or by a debugger


class Supervisor:
    """The process that has started this one, and starts a service again that ends."""

    def __init__(self) -> None:
        self._process = os.getppid()

    def fault(self) -> str:
        """Return why it starts nothing again; "" if it lives."""
        if os.getppid() != self._process:
            return "has ended"
        try:
            # the second field, the name of the program, may have spaces and parentheses
            state = (PROCESSES / str(self._process) / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return ""
        return "is stopped by a signal" if state in STOPPED_STATES else ""


def note_mistake(run_folder: Path, mistake: str) -> None:
    """Leave what is wrong with the user's configuration, "" if nothing is; a folder that cannot be written has no note."""
    file = run_folder / MISTAKE
    with contextlib.suppress(OSError):
        if not mistake:
            file.unlink(missing_ok=True)
        elif noted_mistake(run_folder) != mistake:
            partial = file.with_suffix(".partial-mistake")  # no one reads half a sentence
            partial.write_text(mistake)
            partial.replace(file)


def noted_mistake(run_folder: Path) -> str:
    """Return what is wrong with the user's configuration; "" if nothing is, or nothing supervises this node."""
    try:
        return (run_folder / MISTAKE).read_text(errors="replace")
    except OSError:
        return ""
