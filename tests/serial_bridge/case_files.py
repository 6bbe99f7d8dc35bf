"""The cases of the formats: cases/FORMAT-WHAT.txt has the options of a port, then lines and what each of them is.

The options are TOML, up to a line `---`. A telegram that is not a line is written as one, as Python writes it
between quotes (\\r, \\t, \\xb5). The readings of a line follow below it as JSON, after `=> `; a telegram may have several.
"""

import json
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from heliograph import names
from services.serial_bridge import formats
from services.serial_bridge.decoder import DecoderFactory
from services.serial_bridge.options import PortOptions
from services.serial_bridge.radio.nodes import NodeOptions, packet_decoders
from services.serial_bridge.source import ParserContext

FOLDER = Path(__file__).parent / "cases"
FILES = sorted(FOLDER.glob("*.txt"))
NODES = msgspec.convert(tomllib.loads((FOLDER / "nodes.toml").read_text()), dict[str, NodeOptions])
CONTEXT = ParserContext(packet_decoders(NODES, names.PRESENT))
ARROW = "=> "


class Case(NamedTuple):
    """A file of cases: the port they come from, and what comes in, with what each piece says."""

    port: PortOptions
    lines: list[tuple[bytes, list[Any]]]

    def decoders(self) -> DecoderFactory:
        return DecoderFactory(self.port, CONTEXT)


def load(file: Path) -> Case:
    name = file.stem.partition("-")[0]
    options, _, rest = file.read_bytes().decode().partition("---\n")
    given = {"name": name, "port": "/dev/null", "format": name} | tomllib.loads(options)
    lines: list[tuple[bytes, list[Any]]] = []
    for line in rest.splitlines():
        if line.startswith(ARROW):
            lines[-1][1].append(json.loads(line.removeprefix(ARROW)))
        elif formats.load(name).splitter is None:
            lines.append((f"{line}\r\n".encode(), []))
        else:
            lines.append((line.encode().decode("unicode_escape").encode("latin-1"), []))
    return Case(msgspec.convert(given, PortOptions), lines)


def of_format(name: str) -> list[Case]:
    """Return the cases of a format, at least one."""
    cases = [load(file) for file in FILES if file.stem.partition("-")[0] == name]
    if not cases:
        pytest.fail(
            f"no cases: tests/serial_bridge/cases/{name}-lines.txt is missing; key_value-lines.txt is one to copy"
        )
    return cases
