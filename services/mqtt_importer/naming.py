"""What other makers call things, as names that the topic tree takes."""

import logging
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import msgspec

from heliograph import durable, topics
from services.mqtt_importer.parsing.parsed import NotUnderstood

log = logging.getLogger(__name__)

_OTHERS = re.compile(r"[^a-z0-9]+")
_OTHERS_IN_DEVICES = re.compile(r"[^a-z0-9_-]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
LONGEST_DEVICE = 56  # leaves room for a number that makes it another


def channel(text: str) -> str:
    """Return `ApparentPower` as `apparent_power`; raise NotUnderstood if nothing is left of it, or too much."""
    name = _OTHERS.sub("_", _plain(_HUMP.sub("_", text))).strip("_")
    if not topics.is_channel(name):
        raise NotUnderstood(f"{text[:80]!r} is not the name of a channel")
    return name


def device(text: str) -> str:
    """Return `Küche/Plug 1` as `kuche_plug_1`; raise ValueError if nothing is left of it."""
    name = _OTHERS_IN_DEVICES.sub("_", _plain(text)).strip("_-")[:LONGEST_DEVICE]
    if not topics.is_name(name):
        raise ValueError(f"{text[:80]!r} is not the name of a device")
    return name


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text[:1000])
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).lower()


class Names:
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
        wanted = device(foreign)
        taken = {*self._known.values(), *self._chosen.values()}
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        self._known[key] = name
        self._save()
        return name

    def _save(self) -> None:
        try:
            durable.write(self._file, msgspec.json.encode(self._known))
        except OSError as error:
            log.warning("cannot remember the names of devices: %s", error)
