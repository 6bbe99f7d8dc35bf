"""The commands of radio boards, byte by byte: settings, time, packets.

RF12demo and its successors take a number, then a letter (`210g`); newer firmware of
OpenEnergyMonitor takes the letter first (`g210`), each command on a line of its own.
emonHub: EmonHubJeeInterfacer, EmonHubOEMInterfacer.
"""

import re
import time
from collections.abc import Mapping

from services.serial_bridge.radio.settings import RadioOptions

BANDS = {433: "4", 868: "8", 915: "9"}
ASK_FIRMWARE = b"v"
ASK_ORDER = b"4v\n"
_SETTINGS = {
    "i": re.compile(r"(?:^|\s)i([0-9]+)"),
    "g": re.compile(r"\sg([0-9]+)"),
    "b": re.compile(r"@\s*([0-9]+)\s*MHz"),
}


def is_settings_line(line: str) -> bool:
    """Return whether a board reports its settings in a line."""
    return all(mark in f" {line}" for mark in (" i", " g", " @ ", " MHz"))


def settings(line: str) -> dict[str, str]:
    """Return the commands for the settings that a line reports: `i15* g210 @ 433 MHz q1` is `15i 210g 4b 1q`."""
    known = {letter: match[1] for letter, pattern in _SETTINGS.items() if (match := pattern.search(line))}
    if "b" in known:
        known["b"] = BANDS.get(int(known["b"]), "")
    known["q"] = "1" if re.search(r"\sq1\b", line) else "0"
    return known


def firmware(line: str) -> str:
    """Return the firmware that a line names in brackets, "" if it names none."""
    match = re.search(r"\[([\w.+ -]{1,40})\]", line, re.ASCII)
    return match[1] if match else ""


def jee_commands(radio: RadioOptions, known: Mapping[str, str]) -> list[bytes]:
    """Return the commands that set an RF12demo, without those that the board reports already."""
    commands = []
    for letter, number in _common(radio).items():
        if known.get(letter) != number:
            commands.append(f"{number}{letter}".encode())
    return commands


def oem_commands(radio: RadioOptions, *, letter_first: bool) -> list[bytes]:
    """Return the commands for firmware of serial format 2, calibration included, each with its line end."""
    common = {letter: number for letter, number in _common(radio).items() if letter in "igb"}
    if not letter_first:
        return [f"{number}{letter}\n".encode() for letter, number in common.items()]
    commands = [f"{letter}{number}\n" for letter, number in common.items()]
    if radio.period:
        commands.append(f"d{radio.period:g}\n")
    if radio.vcal:
        commands.append(f"k0 {radio.vcal:.2f} 0.00\n")
    commands += [f"k{position} {size:.2f} {phase:.2f}\n" for position, (size, phase) in enumerate(radio.ical, 1)]
    return [command.encode() for command in commands]


def _common(radio: RadioOptions) -> dict[str, str]:
    numbers = {
        "i": str(radio.base_id) if radio.base_id else "",
        "b": BANDS.get(radio.frequency, ""),
        "g": str(radio.group) if radio.group >= 0 else "",
        "q": {"on": "1", "off": "0"}.get(radio.quiet, ""),
        "p": {"230V": "1", "110V": "2"}.get(radio.calibration, ""),
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
