"""The node's file, watched: settings changed in it take effect while the bridge runs."""

import logging
from pathlib import Path

from heliograph import config
from heliograph.errors import ConfigError
from heliograph.file_watch import FileWatch
from heliograph.names import Rule
from services.serial_bridge.options import SerialBridge

log = logging.getLogger(__name__)


class Watch:
    """Notices that the file was changed; a mistake in it is told once, and the old settings stay."""

    def __init__(self, file: Path, service: str, rule: Rule) -> None:
        self._file = file
        self._service = service
        self._rule = rule
        self._watch = FileWatch(file, known=True)
        self.mistake = ""

    def changed(self) -> SerialBridge | None:
        """Return the new settings, None if there are none."""
        if not self._watch.has_changed():
            return None
        try:
            options = config.section(SerialBridge, config.read(self._file), self._service, self._file, self._service)
            check(options, self._rule, self._file)
        except ConfigError as error:
            self.mistake = str(error)
            log.error("the old settings stay: %s", error)
            return None
        self.mistake = ""
        return options


def check(options: SerialBridge, rule: Rule, file: Path) -> None:
    """Raise ConfigError if the options do not go together under the rule by which this data folder names channels."""
    try:
        options.context(rule)
    except ValueError as error:
        raise ConfigError(f"{file}: [serial_bridge]: {error}") from None
