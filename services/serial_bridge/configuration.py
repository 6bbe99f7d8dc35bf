"""The node's file, watched: settings changed in it take effect while the bridge runs."""

import logging
from pathlib import Path

from heliograph import config
from heliograph.errors import ConfigError
from services.serial_bridge.options import SerialBridge

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]


class Watch:
    """Notices that the file was changed; a mistake in it is told once, and the old settings stay."""

    def __init__(self, file: Path, service: str) -> None:
        self._file = file
        self._service = service
        self._stamp = self._looked()
        self._before: Stamp | None = self._stamp
        self.mistake = ""

    def changed(self) -> SerialBridge | None:
        """Return the new settings, None if there are none; a file must look the same twice, it may be half written."""
        stamp = self._looked()
        settled, self._before = stamp == self._before, stamp
        if stamp is None or stamp == self._stamp or not settled:
            return None
        self._stamp = stamp
        try:
            options = config.section(SerialBridge, config.read(self._file), self._service, self._file, self._service)
        except ConfigError as error:
            self.mistake = str(error)
            log.error("the old settings stay: %s", error)
            return None
        self.mistake = ""
        return options

    def _looked(self) -> Stamp | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
