"""What is written to a radio board, byte by byte: settings, time, packets.

RF12demo and its successors take a number, then a letter (`210g`); newer firmware of
OpenEnergyMonitor takes the letter first (`g210`), each command on a line of its own.
emonHub: EmonHubJeeInterfacer, EmonHubOEMInterfacer.
"""

import math
import re
import time
from collections.abc import Mapping
from typing import Literal

from heliograph.config import Config

BANDS = {433: "4", 868: "8", 915: "9"}
ASK_FIRMWARE = b"v"
ASK_ORDER = b"4v\n"
_SETTINGS = {
    "i": re.compile(r"(?:^|\s)i([0-9]+)"),
    "g": re.compile(r"\sg([0-9]+)"),
    "b": re.compile(r"@\s*([0-9]+)\s*MHz"),
}


class Radio(Config, frozen=True):
    """The [serial_bridge.ports.radio] section: how the receiver is to be set; what is not said stays as it is."""

    group: int = -1
    frequency: Literal[0, 433, 868, 915] = 0
    base_id: int = 0
    quiet: Literal["", "on", "off"] = ""
    calibration: Literal["", "110V", "230V"] = ""
    period: float = 0.0
    vcal: float = 0.0
    ical: tuple[tuple[float, float], ...] = ()
    send_time: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no radio can be set to."""
        if not -1 <= self.group <= 250:
            raise ValueError(f"group: {self.group} is not between 0 and 250")
        if not 0 <= self.base_id <= 26:
            raise ValueError(f"base_id: {self.base_id} is not between 1 and 26")
        for name in ("period", "vcal", "send_time"):
            if not 0 <= getattr(self, name) < 1e6:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a positive number")
        if len(self.ical) > 12 or not all(math.isfinite(number) for pair in self.ical for number in pair):
            raise ValueError("ical: one pair of numbers for each current input, at most 12")


def tells_settings(line: str) -> bool:
    """Whether a line is one in which a board says how it is set."""
    return all(mark in f" {line}" for mark in (" i", " g", " @ ", " MHz"))


def settings(line: str) -> dict[str, str]:
    """Return the commands that a settings line says are in force: `i15* g210 @ 433 MHz q1` is `15i 210g 4b 1q`."""
    known = {letter: found[1] for letter, pattern in _SETTINGS.items() if (found := pattern.search(line))}
    if "b" in known:
        known["b"] = BANDS.get(int(known["b"]), "")
    known["q"] = "1" if re.search(r"\sq1\b", line) else "0"
    return known


def firmware(line: str) -> str:
    """Return the firmware that a line names in brackets, "" if it names none."""
    found = re.search(r"\[([\w.+ -]{1,40})\]", line, re.ASCII)
    return found[1] if found else ""


def jee_commands(wanted: Radio, known: Mapping[str, str]) -> list[bytes]:
    """Return the commands that make an RF12demo what is wanted, without those that are in force."""
    commands = []
    for letter, number in _common(wanted).items():
        if known.get(letter) != number:
            commands.append(f"{number}{letter}".encode())
    return commands


def oem_commands(wanted: Radio, *, letter_first: bool) -> list[bytes]:
    """Return the commands for firmware of serial format 2, calibration included, each with its line end."""
    common = {letter: number for letter, number in _common(wanted).items() if letter in "igb"}
    if not letter_first:
        return [f"{number}{letter}\n".encode() for letter, number in common.items()]
    commands = [f"{letter}{number}\n" for letter, number in common.items()]
    if wanted.period:
        commands.append(f"d{wanted.period:g}\n")
    if wanted.vcal:
        commands.append(f"k0 {wanted.vcal:.2f} 0.00\n")
    commands += [f"k{place} {size:.2f} {phase:.2f}\n" for place, (size, phase) in enumerate(wanted.ical, 1)]
    return [command.encode() for command in commands]


def _common(wanted: Radio) -> dict[str, str]:
    numbers = {
        "i": str(wanted.base_id) if wanted.base_id else "",
        "b": BANDS.get(wanted.frequency, ""),
        "g": str(wanted.group) if wanted.group >= 0 else "",
        "q": {"on": "1", "off": "0"}.get(wanted.quiet, ""),
        "p": {"230V": "1", "110V": "2"}.get(wanted.calibration, ""),
    }
    return {letter: number for letter, number in numbers.items() if number}


def time_packet(local: time.struct_time) -> bytes:
    """Return the broadcast of a local time, for displays such as the emonGLCD."""
    return f"00,{local.tm_hour:02d},{local.tm_min:02d},00,s".encode()


def jee_packet(node: int, payload: bytes) -> bytes:
    """Return the command that sends a packet to a node."""
    return f"{node},{','.join(map(str, payload))},0s".encode()


def oem_packet(node: int, payload: bytes) -> bytes:
    """Return the command of serial format 2 that sends a packet to a node."""
    return f"T{node},{','.join(map(str, payload))}\n".encode()
