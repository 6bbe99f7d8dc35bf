"""Reloads the section of the configuration while the bridge runs."""

import logging
from pathlib import Path

from heliograph import config
from heliograph.errors import ConfigError
from heliograph.file_watch import FileWatch
from heliograph.names import NamingRule
from services.serial_bridge.options import SerialBridge

log = logging.getLogger(__name__)


class ConfigWatch:
    """Watches the file; an error in it is logged once, and kept in `error` until the file is right again."""

    def __init__(self, file: Path, service: str, rule: NamingRule) -> None:
        self._file = file
        self._service = service
        self._rule = rule
        self._watch = FileWatch(file, known=True)
        self.error = ""

    def changed(self) -> SerialBridge | None:
        """Return the new options if the file was changed and is right, else None."""
        if not self._watch.has_changed():
            return None
        try:
            options = config.section(SerialBridge, config.read(self._file), self._service, self._file, self._service)
            check(options, self._rule, self._file)
        except ConfigError as error:
            self.error = str(error)
            log.error("keeping the previous configuration: %s", error)
            return None
        self.error = ""
        return options


def check(options: SerialBridge, rule: NamingRule, file: Path) -> None:
    """Raise ConfigError if the options contradict each other under the rule by which this data folder names channels."""
    try:
        options.context(rule)
    except ValueError as error:
        raise ConfigError(f"{file}: [serial_bridge]: {error}") from None
