"""An RFM2Pi receiver on a pseudo-terminal, and the radio nodes it hears.

Lines, commands and node decoders as emonHub knows them: `OK <node> <byte>… (<rssi>)`,
payloads little-endian without padding, values scaled to whole numbers.
"""

import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import msgspec

from simulator.faults import HEALTHY, Fault, spoil
from simulator.port import SimulatedPort
from simulator.readings import Controller, House, Meter
from simulator.worker import StoppableThread

NO_SENSOR_C = 300.0  # what an emonTx sends for a temperature sensor that is not there
WHITENING = 0x55
FIRMWARE = "[RF12demo.12]"
HELP = (
    "Available commands:",
    "  <nn> i     - set node ID (standard node ids are 1..30)",
    "  <nnn> g    - set network group (RFM12 only allows 212, 0 = any)",
    "  <n> q      - set quiet mode (1 = don't report bad packets)",
)


class Coding(msgspec.Struct, frozen=True):
    """How a node packs its values: data codes, scales, and whether it whitens them."""

    codes: str
    scales: tuple[float, ...]
    whitened: bool = False

    def pack(self, values: Sequence[float]) -> bytes:
        """Return the payload; a value too large for its code becomes the largest."""
        raw = []
        for code, scale, value in zip(self.codes, self.scales, values, strict=True):
            bits = 8 * struct.calcsize(f"<{code}")
            low, high = (-(1 << bits - 1), (1 << bits - 1) - 1)
            if code.isupper():
                low, high = 0, (1 << bits) - 1
            raw.append(min(high, max(low, round(value / scale))))
        payload = struct.pack(f"<{self.codes}", *raw)
        if self.whitened:
            return bytes(byte ^ WHITENING for byte in payload)
        return payload


EMONTX = Coding("h" * 11 + "L", (1, 1, 1, 1, 0.01, *[0.01] * 6, 1))
EMONTH = Coding("hhhh", (0.1, 0.1, 0.1, 0.1))
EMONTX_CM = Coding("LhhhhhLLLLhhhLLh", (1, 0.01, *[1] * 8, 0.01, 0.01, 0.01, 1, 1, 1), whitened=True)


class RadioNode(msgspec.Struct, frozen=True):
    """A radio node: its number, how it packs, how often it sends, how strong its signal is."""

    number: int
    coding: Coding
    seconds: float
    rssi: int
    read: Callable[[], Sequence[float]]


def packet(number: int, payload: bytes, rssi: int) -> str:
    """Return the line that a receiver prints for a packet."""
    numbers = " ".join(str(byte) for byte in (number, *payload))
    return f"OK {numbers} ({rssi})"


def nodes(
    controller: Callable[[], Controller],
    meter: Callable[[], Meter],
    house: Callable[[], House],
    seconds: float = 10.0,
) -> list[RadioNode]:
    """Return the site's nodes: emonTx 10, whitened emonTx 15, and emonTH 19."""
    sent = 0

    def emontx() -> list[float]:
        grid, rooms, solar = meter(), house(), controller()
        powers = [grid.watts, rooms.roof_w, rooms.used_w, solar.load_w]
        temperatures = [rooms.outdoor_c, solar.battery_c, *[NO_SENSOR_C] * 4]
        return [*powers, grid.volts, *temperatures, grid.import_kwh * 1000]

    def emontx_cm() -> list[float]:
        nonlocal sent
        sent += 1
        grid, rooms = meter(), house()
        powers = [grid.watts, rooms.roof_w, rooms.used_w, 0]
        energies = [grid.import_kwh * 1000, grid.export_kwh * 1000, 0, 0]
        temperatures = [rooms.outdoor_c, NO_SENSOR_C, NO_SENSOR_C]
        return [sent, grid.volts, *powers, *energies, *temperatures, 0, 0, 0]

    def emonth() -> list[float]:
        rooms = house()
        return [rooms.indoor_c, rooms.outdoor_c, rooms.humidity, 2.7]

    return [
        RadioNode(10, EMONTX, seconds, -43, emontx),
        RadioNode(15, EMONTX_CM, seconds, -61, emontx_cm),
        RadioNode(19, EMONTH, seconds * 6, -75, emonth),
    ]


class Receiver(SimulatedPort):
    """Prints its nodes' packets at `path` while it is open, and answers JeeLib commands."""

    def __init__(self, nodes: Sequence[RadioNode], *, name: str = "emontx", link: Path | None = None) -> None:
        self.name = name
        self.nodes = nodes
        self.fault: Fault = HEALTHY
        self.sent = 0
        self._settings = {"i": 15, "b": 4, "g": 210, "q": 1}
        self._typed = ""
        self._random = Random(1)
        super().__init__(name, self._work, link)

    def say(self, text: str) -> None:
        """Print any line, as the fault lets it through."""
        fault = self.fault
        if fault.kind == "crc" and text.startswith("OK"):
            text = f" ?{text.removeprefix('OK')}"  # how a receiver marks a bad CRC
        whole = f"{text}\r\n".encode()
        self._terminal.write(spoil(fault, whole, self._random, slice(0)))

    def settings(self) -> str:
        """Return the settings line, the answer to `v`."""
        now = self._settings
        band = {4: 433, 8: 868, 9: 915}.get(now["b"], 433)
        letter = chr(ord("@") + now["i"] % 32)
        return f"{FIRMWARE} {letter} i{now['i']}* g{now['g']} @ {band} MHz{' q1' if now['q'] else ''}"

    def _work(self, worker: StoppableThread) -> None:
        for text in ("", self.settings(), *HELP):
            self.say(text)
        begun = time.monotonic()
        due = {i: begun + node.seconds / 10 for i, node in enumerate(self.nodes)}
        while True:
            wait = min(due.values()) - time.monotonic() if due else None
            if worker.readable(self._terminal.fd, None if wait is None else max(0, wait)):
                self._hear(self._terminal.read())
                continue
            for i in [i for i, moment in due.items() if moment <= time.monotonic()]:
                node = self.nodes[i]
                due[i] = max(due[i] + node.seconds, time.monotonic())
                worker.sleep(self.fault.delay)
                payload = node.coding.pack(node.read())
                self.say(packet(node.number, payload, node.rssi))
                self.sent += 1

    def _hear(self, data: bytes) -> None:
        """Take in typed characters: numbers with commas, then the letter that acts."""
        for character in data.decode("ascii", "replace"):
            if character.isdigit() or character == ",":
                self._typed = (self._typed + character)[-400:]
            elif character.isalpha():
                self._obey(self._typed, character)
                self._typed = ""
            else:
                self._typed = ""

    def _obey(self, number: str, command: str) -> None:
        if command in self._settings and number.isdecimal():
            self._settings[command] = min(int(number), 250)
            self.say(f"> {number}{command}")
        elif command == "s" and number:
            self.say(f"> {number}s")
            self.say(f" -> {number.count(',')} b")
            return
        self.say(self.settings())
