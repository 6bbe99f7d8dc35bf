"""What the supervisor of a native node leaves beside the heartbeats: which process dies at each start, and how."""

import contextlib
from pathlib import Path

import msgspec


class Restarts(msgspec.Struct, frozen=True):
    """How often in a row a process ended soon after its start, how the last time, and when the first was (s UTC)."""

    count: int
    how: str
    since: float


def note(folder: Path, service: str, restarts: Restarts | None) -> None:
    """Replace what is noted of a service; None: it works. A folder that cannot be written has no notes."""
    file = _file(folder, service)
    with contextlib.suppress(OSError):
        if restarts is None:
            file.unlink(missing_ok=True)
            return
        partial = file.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(restarts))
        partial.replace(file)


def read(folder: Path, service: str) -> Restarts | None:
    """Return what is noted of a service, None if it works or nothing supervises it."""
    try:
        return msgspec.json.decode(_file(folder, service).read_bytes(), type=Restarts)
    except (OSError, msgspec.DecodeError):
        return None


def _file(folder: Path, service: str) -> Path:
    return folder / f"{service}.restarts"
