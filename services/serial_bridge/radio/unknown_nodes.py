"""Radio nodes that the configuration does not list: decoders that fit their packets, ready to be pasted into it.

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

from services.serial_bridge.radio.nodes import NodeOptions

log = logging.getLogger(__name__)

MAX_NODES = 32
FILE = Path(__file__).with_name("templates.toml")


class Template(msgspec.Struct, frozen=True):
    """One section of templates.toml: a decoder, and the numbers that such nodes are shipped with."""

    numbers: tuple[int, ...]
    node: NodeOptions

    @property
    def length(self) -> int:
        """The number of bytes of a packet."""
        return struct.calcsize(f"<{''.join(self.node.datacodes)}")


@cache
def templates() -> Mapping[str, Template]:
    """Return the templates by name."""
    file = tomllib.loads(FILE.read_text())
    by_name = {}
    for name, section in file.items():
        numbers = section.pop("numbers")
        by_name[name] = Template(tuple(numbers), msgspec.convert(section, NodeOptions))
    return by_name


def matching(number: int, length: int) -> list[str]:
    """Return the templates whose packets have this length, those shipped with this number first."""
    names = [name for name, template in templates().items() if template.length == length]
    return sorted(names, key=lambda name: number not in templates()[name].numbers)


def section(number: int, name: str) -> str:
    """Return the section of a node, made from a template."""
    node = templates()[name].node
    options = msgspec.json.decode(msgspec.json.encode(node))
    default = msgspec.json.decode(msgspec.json.encode(NodeOptions(name="")))
    lines = [f"[serial_bridge.nodes.{number}]", f'name = "{node.name}_{number}"']
    for option, value in options.items():
        if option != "name" and value != default[option]:
            lines.append(f"{option} = {msgspec.json.encode(value).decode()}")  # TOML writes these values as JSON does
    return "\n".join(lines) + "\n"


class UnknownNodes:
    """The nodes that sent packets and are not in the configuration; thread-safe."""

    def __init__(self) -> None:
        self._nodes: dict[int, tuple[int, int]] = {}  # packets, length
        self._lock = threading.Lock()

    def add(self, number: int, length: int) -> None:
        """Note a good packet of an unknown node; log the second one of the same length."""
        with self._lock:
            count, before = self._nodes.get(number, (0, length))
            if number not in self._nodes and len(self._nodes) >= MAX_NODES:
                return
            count = count + 1 if before == length else 1
            self._nodes[number] = (count, length)
        if count == 2:
            names = matching(number, length)
            looks = f"it looks like {names[0]}" if names else f"its packets have {length} bytes"
            log.warning("radio node %d is not in the configuration; %s, see the status of serial_bridge", number, looks)

    def remove(self, numbers: set[int]) -> None:
        """Forget nodes that are in the configuration now."""
        with self._lock:
            for number in numbers & set(self._nodes):
                del self._nodes[number]

    def facts(self) -> dict[str, object]:
        """Return the unknown nodes, for the status: packets, bytes, templates that fit, and what to paste for the first."""
        with self._lock:
            nodes = dict(self._nodes)
        facts: dict[str, object] = {}
        for number, (count, length) in sorted(nodes.items()):
            names = matching(number, length)
            fact: dict[str, object] = {"packets": count, "bytes": length, "templates": names}
            if names:
                fact["paste"] = section(number, names[0])
            facts[str(number)] = fact
        return facts
