"""The rules that names followed before there was one for all services (rule 1), for data folders from that time.

They differ by service: an umlaut was `_` for serial_bridge and api, and its vowel for mqtt_importer. A text that
left no name, or one that was too long, gets its name by the present rule. Those who prefer the present
spelling in an old folder write `{"rule": 2}` into the `names.json` of the service; the series then begin again under new names.
"""

import re
import unicodedata

from heliograph import names, topics

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_OTHERS = re.compile(r"[^a-z0-9]+")
_OTHERS_IN_DEVICES = re.compile(r"[^a-z0-9_-]+")


def channel(text: str) -> str:
    """Return `Küche 1` as `k_che_1`; raise ValueError if no name is left."""
    return _channel(text.lower(), text)


def camel_case_channel(text: str) -> str:
    """Return `KücheAußen` as `kuche_au_en`; raise ValueError if no name is left."""
    decomposed = unicodedata.normalize("NFKD", _HUMP.sub("_", text)[:1000])
    return _channel("".join(letter for letter in decomposed if not unicodedata.combining(letter)).lower(), text)


def device(text: str) -> str:
    """Return `Küche 1` as `k_che_1`; raise ValueError if no name is left."""
    name = _OTHERS_IN_DEVICES.sub("_", text.lower()).strip("_-")
    return name if topics.is_name(name) else names.device(text)


def cut_channel(text: str) -> str:
    """Return `Küche 1` as `k_che_1`, and the first 64 characters of a name that is longer; raise ValueError if none is left."""
    if topics.is_channel(text):
        return text
    return _OTHERS.sub("_", text.lower()).strip("_")[: names.LONGEST_CHANNEL] or names.channel(text)


def cut_device(text: str) -> str:
    """Return `Küche 1` as `k_che_1`, and the first 63 characters of a name that is longer; raise ValueError if none is left."""
    return _OTHERS_IN_DEVICES.sub("_", text.lower()).strip("_-")[: names.LONGEST_DEVICE] or names.device(text)


def _channel(plain: str, text: str) -> str:
    name = _OTHERS.sub("_", plain).strip("_")
    return name if topics.is_channel(name) else names.channel(text)


PLAIN = names.NamingRule(1, channel, device)  # serial_bridge, api
CUT = names.NamingRule(1, cut_channel, cut_device)  # files that were imported into a store
HUMPED = names.NamingRule(
    1, camel_case_channel, names.device
)  # mqtt_importer, which remembers the names of its devices by itself
