"""Our names of imported devices, which stay the same over restarts."""

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from heliograph import durable, names

log = logging.getLogger(__name__)


class DeviceNames:
    """Names devices, and remembers the names in a file, so that every device keeps its series.

    Of devices that would get the same name, the second gets a number, in the order in which their first messages came.
    `chosen` are the names in the configuration, by source and original name.
    """

    def __init__(self, file: Path, chosen: Mapping[tuple[str, str], str]) -> None:
        self._file = file
        self._chosen = chosen
        self._names: dict[str, str] = {}
        try:
            self._names = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s is not readable (%s): devices with similar names may be mixed up", file, error)

    def name(self, source: str, original_name: str) -> str:
        """Return the name of a source's device; raise ValueError if it cannot have one."""
        if (source, original_name) in self._chosen:
            return self._chosen[source, original_name]
        key = f"{source}/{original_name}"
        if key in self._names:
            return self._names[key]
        first = name = names.device(original_name)
        taken = {*self._names.values(), *self._chosen.values()}
        number = 2
        while name in taken:
            name, number = names.device(f"{first}_{number}"), number + 1
        self._names[key] = name
        self._save()
        return name

    def _save(self) -> None:
        try:
            durable.write(self._file, msgspec.json.encode(self._names))
        except OSError as error:
            log.warning("cannot save the names of devices: %s", error)
