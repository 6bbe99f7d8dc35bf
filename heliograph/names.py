"""Texts that devices and people write, as names of devices and channels that the topic tree takes: one rule for all services.

A name once given stays. A producer whose data folder is older than the present rule keeps the former
one (names_before.py), so that no series gets a second name; `names.json` in its folder says which rule it follows.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
from anyascii import anyascii

from heliograph import durable, topics
from heliograph.errors import ConfigError

log = logging.getLogger(__name__)

LONGEST_DEVICE = 63  # as topics.is_name has it
LONGEST_CHANNEL = 64  # as topics.is_channel has it
LONGEST_TEXT = 1000  # characters that are looked at; those after them only count in the hash
HASH_DIGITS = 8
SHORT_TEXT = 100  # characters; what is longer is remembered by its beginning and its hash
PATIENCE = 100  # times that a text comes in a row before it takes over a name whose text no longer comes

_HUMP = re.compile(
    r"(?<=[A-Za-z0-9])(?=[A-Z][a-z]{2})(?!(?:Whr|Ahr|Arh|Varh?)(?![a-z]))"  # pv1Voltage, ACPower, eToday; not kVArh
    r"|(?<=[A-Za-z][a-z])(?=[A-Z])"  # BatterySOC, PowerL1; not kWh, dBm, pH, DS18B20
    r"|(?<=[0-9])(?=[A-Z][a-z])"  # pv1Ac
)
_OTHERS = re.compile(r"[^a-z0-9]+")
_OTHERS_IN_DEVICES = re.compile(r"[^a-z0-9_-]+")


class NameTaken(ValueError):
    """Another text has this name already: set the value aside."""


class NamingRule(NamedTuple):
    """How texts become names; both functions raise ValueError for a text that leaves no name."""

    number: int
    channel: Callable[[str], str]
    device: Callable[[str], str]


def channel(text: str) -> str:
    """Return `ApparentPower` as `apparent_power`, `Küche (°C)` as `kuche_deg_c`; raise ValueError if no name is left.

    What is a name already stays as it is. A name that would be too long is cut and ends with a hash of the whole text.
    """
    if topics.is_channel(text):
        return text
    return _channel(text) if len(text) > SHORT_TEXT else _remembered(text)


def _channel(text: str) -> str:
    plain = _HUMP.sub("_", anyascii(text[:LONGEST_TEXT])).lower()
    name = _whole(_OTHERS.sub("_", plain).strip("_"), text, LONGEST_CHANNEL)
    if not topics.is_channel(name):
        raise ValueError(f"{text[:80]!r} is not the name of a channel")
    return name


_remembered = lru_cache(maxsize=1024)(_channel)  # devices say the same again and again


def device(text: str) -> str:
    """Return `Küche/Plug 1` as `kuche_plug_1`; raise ValueError if no name is left.

    What is a name already stays as it is. A name that would be too long is cut and ends with a hash of the whole text.
    """
    if topics.is_name(text):
        return text
    plain = anyascii(text[:LONGEST_TEXT]).lower()
    name = _whole(_OTHERS_IN_DEVICES.sub("_", plain).strip("_-"), text, LONGEST_DEVICE)
    if not topics.is_name(name):
        raise ValueError(f"{text[:80]!r} is not the name of a device")
    return name


def _whole(name: str, text: str, longest: int) -> str:
    if not name or (len(name) <= longest and len(text) <= LONGEST_TEXT):
        return name
    return f"{name[: longest - HASH_DIGITS - 1].rstrip('_-')}_{_digest(text)[:HASH_DIGITS]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


PRESENT = NamingRule(2, channel, device)


class _Mark(msgspec.Struct, forbid_unknown_fields=True):
    """The file names.json."""

    rule: int


def rule_of(data: Path, service: str, before: NamingRule) -> NamingRule:
    """Return the rule that the names of a service follow in this data folder, and note it there.

    It is `before` for a folder in which the service has published without such a note. To be called before the outbox
    is opened. Raises ConfigError if the note cannot be read or made.
    """
    file = data / service / "names.json"
    try:
        number = msgspec.json.decode(file.read_bytes(), type=_Mark).rule
    except FileNotFoundError:
        number = before.number if (data / "outbox" / service).exists() else PRESENT.number
        try:
            durable.write(file, msgspec.json.encode(_Mark(number)))
        except OSError as error:
            raise ConfigError(f"[node] data: {file} cannot be written: {error}") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    for rule in (PRESENT, before):
        if rule.number == number:
            return rule
    raise ConfigError(f"{file}: rule: expected {before.number} or {PRESENT.number}, found {number}")


class NameOwners:
    """Remembers which text has which name, so that two texts never share one; bounded; thread-safe.

    The first text has the name. When another one came PATIENCE times while that one did not come at all, as after a
    change of firmware, the name goes over to it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._texts: dict[str, str] = {}
        self._rivals: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def claim(self, name: str, text: str) -> None:
        """Note that a text has this name; raise NameTaken if it is another text's."""
        if len(text) > SHORT_TEXT:
            text = f"{text[:SHORT_TEXT]}… {_digest(text)}"
        with self._lock:
            owner = self._texts.setdefault(name, text)
            if owner == text:
                self._rivals.pop(name, None)
                if len(self._texts) > self._limit:
                    self._forget(next(iter(self._texts)))
                return
            if self._takes_over(name, text):
                log.warning("%s is now the name of %.80r: %.80r is no longer received", name, text, owner)
                self._texts[name] = text
                return
        raise NameTaken(f"{text[:80]!r} would be called {name}, which is the name of {owner[:80]!r}")

    def _takes_over(self, name: str, text: str) -> bool:
        rival, times = self._rivals.get(name, (text, 0))
        times = times + 1 if rival == text else 1
        if times > PATIENCE:
            del self._rivals[name]
            return True
        self._rivals[name] = text, times
        return False

    def _forget(self, name: str) -> None:
        del self._texts[name]
        self._rivals.pop(name, None)
