"""The devices that were forgotten (`heliograph forget`): what the store has of them is not shown, also after a restart."""

import json
import logging
from pathlib import Path

from heliograph import durable

log = logging.getLogger(__name__)


class RemovedDevices:
    """A set of (node, device), in a file if one is named. A file that cannot be read counts as empty, and is logged."""

    def __init__(self, file: Path | None = None) -> None:
        self._kept = durable.KeptFile(file, "a restart shows forgotten devices again") if file else None
        self._devices = _read(file) if file else set()

    def __contains__(self, device: tuple[str, str]) -> bool:
        """Whether a device was forgotten."""
        return device in self._devices

    def add(self, device: tuple[str, str]) -> None:
        """Note that a device is forgotten."""
        if device not in self._devices:
            self._devices.add(device)
            self._write()

    def discard(self, device: tuple[str, str]) -> None:
        """Note that a device is there (again)."""
        if device in self._devices:
            self._devices.discard(device)
            self._write()

    def _write(self) -> None:
        if self._kept:
            self._kept.put(json.dumps(sorted(f"{node}/{name}" for node, name in self._devices)).encode())


def _read(file: Path) -> set[tuple[str, str]]:
    try:
        names = json.loads(file.read_bytes())
        if not isinstance(names, list) or not all(isinstance(name, str) and name.count("/") == 1 for name in names):
            raise ValueError("not a list of node/device")
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read (%s): forgotten devices that the store has are shown again", file, error)
        return set()
    return {(node, device) for node, _, device in (name.partition("/") for name in names)}
