"""What a kind of device speaks: the files in devices/, checked and ready to use."""

import math
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from heliograph import config, messages, topics, units
from heliograph.config import Config
from heliograph.errors import ConfigError

FOLDER = Path(__file__).parent / "devices"

Table = Literal["coil", "discrete", "holding", "input"]
Type = Literal[
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
]

# Modbus Application Protocol V1.1b3, 6.1-6.4.
FUNCTIONS: dict[Table, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
BITS = frozenset({1, 2})  # functions whose addresses hold one bit, not sixteen
LONGEST = 125  # registers in one answer
SUNSPEC = "sunspec"  # the model that finds out by itself what a device has, see sunspec.py

_BITS = re.compile(r"(\d{1,2})(?:-(\d{1,2}))?")


class Head(Config, frozen=True):
    """The [device] section of a device file."""

    model: str
    document: str
    table: Table = "input"
    words: Literal["high first", "low first"] = "high first"
    largest: int = LONGEST
    gap: int = 0
    breaks: tuple[int, ...] = ()
    pause: float = 0.0
    missing: bool = False
    write_function: Literal[6, 16] = 16
    baud: int = 9600
    unit: int = 1
    probe: str = ""

    def __post_init__(self) -> None:
        """Refuse what no request can be."""
        if not 1 <= self.largest <= LONGEST:
            raise ValueError(f"largest: {self.largest} is not between 1 and {LONGEST}")
        if self.gap < 0:
            raise ValueError(f"gap: {self.gap} is less than 0")
        if not 0 <= self.pause <= 10:
            raise ValueError(f"pause: {self.pause} is not between 0 and 10 seconds")
        if self.baud <= 0:
            raise ValueError(f"baud: {self.baud} is not a speed")


class Register(Config, frozen=True):
    """One line of the [channels] section: where a value is, and what it means.

    The value is raw * scale + offset. `bits` "3-2" takes that part of a word, "4" that bit.
    `texts` names the numbers. `every` seconds is how often it is worth reading. `signed` bits are
    a sign and a magnitude. `write` is the lowest and the highest value (of texts: number) that may be written.
    """

    address: int
    table: Table | None = None
    type: Type = "uint16"
    scale: int | float = 1
    offset: int | float = 0
    bits: str = ""
    signed: bool = False
    texts: dict[str, str] = msgspec.field(default_factory=dict)
    unit: str = ""
    kind: messages.Kind | None = None
    label: str = ""
    every: float = 0.0
    write: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be read, or makes no sense."""
        if not 0 <= self.address <= 0x10000 - self.count:
            raise ValueError(f"address: {self.address} is not between 0 and 65535")
        units.spelled(self.unit)
        if not all(map(math.isfinite, (self.scale, self.offset))) or not self.scale:
            raise ValueError("scale and offset: expected numbers, and no scale of 0")
        if not 0 <= self.every < math.inf:
            raise ValueError(f"every: {self.every} is not a number of seconds")
        if self.bits:
            high, low = self.bit_range
            if self.type != "uint16" or not 0 <= low <= high <= 15:
                raise ValueError(f"bits: expected a part of a uint16 like '3-2' or '4', found {self.bits!r}")
        for code, text in self.texts.items():
            if not code.isdecimal():
                raise ValueError(f"texts: {code!r} is not a number")
            if not 1 <= len(text) <= messages.TEXT_LIMIT:
                raise ValueError(f"texts: {code}: too short or too long")
        if self.texts and (self.kind or "text") != "text":
            raise ValueError("kind: what has texts is a text")
        if (self.texts or self.bits) and (self.scale != 1 or self.offset):
            raise ValueError("scale and offset: not with bits or texts")
        if self.texts and self.type.startswith("float"):
            raise ValueError("texts: not with a float")
        if self.signed and "-" not in self.bits:
            raise ValueError("signed: only a part of a word, such as bits = '7-0'")
        if self.write and (self.bits or self.write[0] >= self.write[1]):
            raise ValueError("write: expected the lowest and the highest value, and not of a part of a word")

    @property
    def count(self) -> int:
        """How many registers the value fills."""
        return int(self.type[-2:]) // 16

    @property
    def rollover(self) -> float:
        """What the value would be if the registers could hold one more; 0 where they do not begin again at zero."""
        if not self.type.startswith("uint") or self.bits or self.offset or self.scale < 0:
            return 0.0
        return float(Decimal(repr(self.scale)) * (1 << 16 * self.count))

    @property
    def bit_range(self) -> tuple[int, int]:
        """The highest and the lowest bit of `bits`; raise ValueError if it is none."""
        match = _BITS.fullmatch(self.bits)
        if not match:
            raise ValueError(f"bits: expected '3-2' or '4', found {self.bits!r}")
        return int(match[1]), int(match[2] or match[1])


class Model(msgspec.Struct, frozen=True):
    """A device file: how to read the device, and its channels."""

    head: Head
    registers: dict[str, Register]

    @property
    def probe(self) -> str:
        """The channel that tells whether somebody is there: the one that the file names, else the first."""
        return self.head.probe or next(iter(self.registers))

    def function(self, channel: str) -> int:
        """Return the Modbus function that reads a channel."""
        return FUNCTIONS[self.registers[channel].table or self.head.table]

    def channel(self, name: str) -> messages.Channel:
        """Return what others are told about a channel."""
        register = self.registers[name]
        if register.texts:
            derived: messages.Kind = "text"
        elif self.function(name) in BITS or "-" not in (register.bits or "-"):
            derived = "state"
        else:
            derived = "gauge"
        kind = register.kind or derived
        writable = None if kind == "text" else register.write
        channel = messages.Channel(units.spelled(register.unit), kind, register.label, writable=writable)
        if kind == "counter" and register.rollover:
            return msgspec.structs.replace(channel, rollover=register.rollover)
        return channel


@cache
def load(model: str) -> Model:
    """Return a model by the name of a file in devices/, or by the path of a file of one's own.

    Raises ConfigError, naming file and place, if there is none or it is wrong.
    """
    if model == SUNSPEC:
        return Model(Head("SunSpec", "SunSpec Device Information Model Specification V1.1", table="holding"), {})
    path = Path(model)
    if "/" not in model and not model.endswith(".toml"):
        path = FOLDER / f"{model}.toml"
        if not topics.is_name(model) or not path.is_file():
            raise ConfigError(
                f"model: there is no {model[:80]!r}; there are {', '.join([*names(), SUNSPEC])}, and files of your own by path"
            )
    return parse(config.read(path), path)


def names() -> list[str]:
    """Return the models that come with Heliograph."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def parse(file: dict[str, Any], path: Path) -> Model:
    """Return the model in a device file; raise ConfigError, naming file and place, if it is wrong."""
    for name in file:
        if name not in ("device", "channels"):
            raise ConfigError(f"{path}: no such section: {name}")
    head = config.section(Head, file, "device", path)
    lines = file.get("channels")
    if not isinstance(lines, dict) or not lines:
        raise ConfigError(f"{path}: [channels]: expected a line for each channel")
    registers = {name: config.section(Register, lines, name, path) for name in lines if _is_channel(name, path)}
    found = Model(head, registers)
    for name, register in registers.items():
        place = f"{path}: [{name}]"
        if register.count > head.largest:
            raise ConfigError(f"{place} type: longer than [device] largest")
        if found.function(name) in BITS and (register.type != "uint16" or register.bits or register.scale != 1):
            raise ConfigError(f"{place}: a {register.table or head.table} is one bit")
        if register.write and found.function(name) not in (FUNCTIONS["coil"], FUNCTIONS["holding"]):
            raise ConfigError(f"{place} write: only a coil or a holding register can be written")
    if head.probe and head.probe not in registers:
        raise ConfigError(f"{path}: [device] probe: no such channel: {head.probe}")
    return found


def _is_channel(name: str, path: Path) -> bool:
    if not topics.is_channel(name):
        raise ConfigError(
            f"{path}: [channels] {name[:80]!r} is not the name of a channel: lower-case letters, digits and _ are"
        )
    return True
