"""What other makers call their devices, as names that the topic tree takes, for ever the same."""

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from heliograph import durable, names

log = logging.getLogger(__name__)


class DeviceNames:
    """Remembers which device has which name, so that it keeps its series over restarts.

    Two that would be called the same are told apart by a number, in the order in which
    they were first heard. `chosen` are the names that the configuration gives.
    """

    def __init__(self, file: Path, chosen: Mapping[tuple[str, str], str]) -> None:
        self._file = file
        self._chosen = chosen
        self._known: dict[str, str] = {}
        try:
            self._known = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s is not readable (%s): devices of like names may be mixed up", file, error)

    def name(self, source: str, foreign: str) -> str:
        """Return the name of a source's device; raise ValueError if it cannot have one."""
        if (source, foreign) in self._chosen:
            return self._chosen[source, foreign]
        key = f"{source}/{foreign}"
        if key in self._known:
            return self._known[key]
        first = name = names.device(foreign)
        taken = {*self._known.values(), *self._chosen.values()}
        number = 2
        while name in taken:
            name, number = names.device(f"{first}_{number}"), number + 1
        self._known[key] = name
        self._save()
        return name

    def _save(self) -> None:
        try:
            durable.write(self._file, msgspec.json.encode(self._known))
        except OSError as error:
            log.warning("cannot remember the names of devices: %s", error)
