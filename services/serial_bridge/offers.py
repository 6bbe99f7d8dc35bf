"""Radio nodes that the configuration does not list: what they look like, ready to be pasted into it.

Nothing is ever written into the user's file: packets of the same length are no proof.
"""

import logging
import struct
import threading
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from services.serial_bridge.nodes import Node

log = logging.getLogger(__name__)

MOST_NODES = 32
FILE = Path(__file__).with_name("templates.toml")


class Template(msgspec.Struct, frozen=True):
    """One section of templates.toml: a decoder, and the numbers that such nodes are shipped with."""

    numbers: tuple[int, ...]
    node: Node

    @property
    def length(self) -> int:
        """How many bytes a packet has."""
        return struct.calcsize(f"<{''.join(self.node.datacodes)}")


@cache
def templates() -> Mapping[str, Template]:
    """Return the templates by name."""
    file = tomllib.loads(FILE.read_text())
    made = {}
    for name, section in file.items():
        numbers = section.pop("numbers")
        made[name] = Template(tuple(numbers), msgspec.convert(section, Node))
    return made


def matching(number: int, length: int) -> list[str]:
    """Return the templates whose packets have this length, those shipped with this number first."""
    found = [name for name, template in templates().items() if template.length == length]
    return sorted(found, key=lambda name: number not in templates()[name].numbers)


def pasted(number: int, name: str) -> str:
    """Return the configuration of a node by a template."""
    node = templates()[name].node
    written = msgspec.json.decode(msgspec.json.encode(node))
    default = msgspec.json.decode(msgspec.json.encode(Node(name="")))
    lines = [f"[serial_bridge.nodes.{number}]", f'name = "{node.name}_{number}"']
    for option, value in written.items():
        if option != "name" and value != default[option]:
            lines.append(f"{option} = {msgspec.json.encode(value).decode()}")  # TOML writes these values as JSON does
    return "\n".join(lines) + "\n"


class Offers:
    """The nodes that were heard and are not listed; thread-safe."""

    def __init__(self) -> None:
        self._heard: dict[int, tuple[int, int]] = {}  # packets, length
        self._lock = threading.Lock()

    def heard(self, number: int, length: int) -> None:
        """Remember a good packet of an unknown node; say so when it is the second one of this length."""
        with self._lock:
            count, before = self._heard.get(number, (0, length))
            if number not in self._heard and len(self._heard) >= MOST_NODES:
                return
            count = count + 1 if before == length else 1
            self._heard[number] = (count, length)
        if count == 2:
            found = matching(number, length)
            looks = f"it looks like {found[0]}" if found else f"its packets have {length} bytes"
            log.warning("radio node %d is not in the configuration; %s, see the status of serial_bridge", number, looks)

    def listed(self, numbers: set[int]) -> None:
        """Forget nodes that are listed now."""
        with self._lock:
            for number in numbers & set(self._heard):
                del self._heard[number]

    def facts(self) -> dict[str, object]:
        """Return the unknown nodes, for the status: packets, bytes, templates that fit, and what to paste for the first."""
        with self._lock:
            heard = dict(self._heard)
        facts: dict[str, object] = {}
        for number, (count, length) in sorted(heard.items()):
            found = matching(number, length)
            fact: dict[str, object] = {"packets": count, "bytes": length, "templates": found}
            if found:
                fact["paste"] = pasted(number, found[0])
            facts[str(number)] = fact
        return facts
