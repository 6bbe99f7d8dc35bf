"""Device files: the register maps in devices/ and files of the user, parsed and checked."""

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from heliograph import config, messages, nearest, topics, units
from heliograph.config import Config
from heliograph.errors import ConfigError
from services.modbus_poller.frames import BITS

FOLDER = Path(__file__).parent / "devices"

Table = Literal["coil", "discrete", "holding", "input"]
ByteOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]
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
MAX_REGISTERS = 125  # in one response: Modbus Application Protocol V1.1b3, 6.3 and 6.4
SECTIONS = ("device", "channels")
SUNSPEC = "sunspec"  # the model of devices that list their registers themselves

_BITS = re.compile(r"(\d{1,2})(?:-(\d{1,2}))?")


class Header(Config, frozen=True):
    """The [device] section of a device file."""

    RENAMED: ClassVar = {
        "words": "byte_order",
        "word_order": "byte_order",
        "largest": "max_registers",
        "gap": "max_gap",
        "breaks": "split_at",
        "pause": "request_delay",
        "missing": "all_ones_is_null",
        "unit": "unit_id",
    }

    model: str
    document: str
    products: str = ""
    table: Table = "input"
    byte_order: ByteOrder = "ABCD"
    max_registers: int = MAX_REGISTERS
    max_gap: int = 0
    split_at: tuple[int, ...] = ()
    request_delay: float = 0.0
    all_ones_is_null: bool = False
    lowest_is_null: bool = False
    write_function: Literal[6, 16] = 16
    baud: int = 9600
    unit_id: int = 1
    probe: str = ""

    def __post_init__(self) -> None:
        """Refuse values that no request can have."""
        if not 1 <= self.max_registers <= MAX_REGISTERS:
            raise ValueError(f"max_registers: {self.max_registers} is not between 1 and {MAX_REGISTERS}")
        if self.max_gap < 0:
            raise ValueError(f"max_gap: {self.max_gap} is less than 0")
        if not 0 <= self.request_delay <= 10:
            raise ValueError(f"request_delay: {self.request_delay} is not between 0 and 10 seconds")
        if self.baud <= 0:
            raise ValueError(f"baud: {self.baud} is not a baud rate")
        if not 0 <= self.unit_id <= 255:
            raise ValueError(f"unit_id: {self.unit_id} is not between 0 and 255")


SUNSPEC_HEADER = Header(
    "SunSpec",
    "SunSpec Device Information Model Specification V1.1",
    "Fronius, SMA, SolarEdge, Kostal and other devices with a SunSpec map",
    table="holding",
    max_gap=8,  # pads, and what is not a measurement; a model has no holes
)


class Register(Config, frozen=True):
    """One line of the [channels] section: the address of a value, its type and its meaning.

    The value is raw * scale + offset. `bits` "3-2" is that part of a word, "4" that bit; `signed` bits are a sign and
    a magnitude. `texts` maps numbers to names. `min_interval` is the least number of seconds between two reads.
    `writable` is the lowest and the highest value (of texts: number) that may be written. `byte_order` is that of the
    device unless given.
    """

    RENAMED: ClassVar = {"every": "min_interval", "write": "writable"}

    address: int
    table: Table | None = None
    type: Type = "uint16"
    byte_order: ByteOrder | None = None
    scale: int | float = 1
    offset: int | float = 0
    bits: str = ""
    signed: bool = False
    texts: dict[str, str] = msgspec.field(default_factory=dict)
    unit: str = ""
    kind: messages.Kind | None = None
    label: str = ""
    min_interval: float = 0.0
    writable: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse an address outside the table, and options that contradict each other."""
        if not 0 <= self.address <= 0x10000 - self.count:
            raise ValueError(f"address: {self.address} is not between 0 and 65535")
        units.spelled(self.unit)
        if not 0 <= self.min_interval < math.inf:
            raise ValueError(f"min_interval: {self.min_interval} is not a number of seconds")
        self._check_scale()
        self._check_bits()
        self._check_texts()
        if self.writable and (self.bits or self.writable[0] >= self.writable[1]):
            raise ValueError("writable: expected the lowest and the highest value, and not of a part of a word")

    def _check_scale(self) -> None:
        if not all(map(math.isfinite, (self.scale, self.offset))) or not self.scale:
            raise ValueError("scale and offset: expected numbers, and no scale of 0")
        if (self.texts or self.bits) and (self.scale != 1 or self.offset):
            raise ValueError("scale and offset: not with bits or texts")

    def _check_bits(self) -> None:
        if self.bits:
            high, low = self.bit_range
            if self.type != "uint16" or not 0 <= low <= high <= 15:
                raise ValueError(f"bits: expected a part of a uint16 like '3-2' or '4', found {self.bits!r}")
        if self.signed and "-" not in self.bits:
            raise ValueError("signed: only a part of a word, such as bits = '7-0'")

    def _check_texts(self) -> None:
        for code, text in self.texts.items():
            if not code.isdecimal():
                raise ValueError(f"texts: {code!r} is not a number")
            if not 1 <= len(text) <= messages.TEXT_LIMIT:
                raise ValueError(f"texts: {code}: too short or too long")
        if self.texts and (self.kind or "text") != "text":
            raise ValueError("kind: a channel with texts is of kind text")
        if self.texts and self.type.startswith("float"):
            raise ValueError("texts: not with a float")

    @property
    def count(self) -> int:
        """The number of registers that the value occupies."""
        return int(self.type[-2:]) // 16

    @property
    def rollover(self) -> float:
        """The value at which the registers wrap to zero, in the unit of the channel; 0 if they do not wrap to zero."""
        if not self.type.startswith("uint") or self.bits or self.offset or self.scale < 0:
            return 0.0
        return float(Decimal(repr(self.scale)) * (1 << 16 * self.count))

    @property
    def bit_range(self) -> tuple[int, int]:
        """The highest and the lowest bit of `bits`; raises ValueError if `bits` is not a range."""
        match = _BITS.fullmatch(self.bits)
        if not match:
            raise ValueError(f"bits: expected '3-2' or '4', found {self.bits!r}")
        return int(match[1]), int(match[2] or match[1])


class Model(msgspec.Struct, frozen=True):
    """A device file: how to read the device, and its channels."""

    header: Header
    registers: dict[str, Register]

    @property
    def probe(self) -> str:
        """The channel that is read to see if the device answers: `probe` of the file, else the first channel."""
        return self.header.probe or next(iter(self.registers))

    def function(self, channel: str) -> int:
        """Return the Modbus function that reads a channel."""
        return FUNCTIONS[self.registers[channel].table or self.header.table]

    def arranged(self, channel: str, words: Sequence[int]) -> list[int]:
        """Return registers of a channel with the highest byte first, or such registers as the device has them."""
        order = self.registers[channel].byte_order or self.header.byte_order
        if order in ("BADC", "DCBA"):
            words = [(word & 0xFF) << 8 | word >> 8 for word in words]
        return list(reversed(words)) if order in ("CDAB", "DCBA") else list(words)

    def channel(self, name: str) -> messages.Channel:
        """Return the description of a channel that is published."""
        register = self.registers[name]
        if register.texts:
            derived: messages.Kind = "text"
        elif self.function(name) in BITS or "-" not in (register.bits or "-"):
            derived = "state"
        else:
            derived = "gauge"
        kind = register.kind or derived
        writable = None if kind == "text" else register.writable
        channel = messages.Channel(units.spelled(register.unit), kind, register.label, writable=writable)
        if kind == "counter" and register.rollover:
            return msgspec.structs.replace(channel, rollover=register.rollover)
        return channel


@cache
def load(model: str) -> Model:
    """Return a model by the name of a file in devices/, or by the path of any other device file.

    Raises ConfigError, naming file and key, if the file is missing or wrong.
    """
    if model == SUNSPEC:
        return Model(SUNSPEC_HEADER, {})
    path = Path(model)
    if "/" not in model and not model.endswith(".toml"):
        path = FOLDER / f"{model}.toml"
        if not topics.is_name(model) or not path.is_file():
            raise ConfigError(
                f"model: there is no {model[:80]!r}{nearest.choices(model, [*names(), SUNSPEC])}, and files of your own by their path"
            )
    return parse(config.read(path), path)


def names() -> list[str]:
    """Return the names of the device files that come with Heliograph, in order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def parse(file: dict[str, Any], path: Path) -> Model:
    """Return the model in a device file; raise ConfigError, naming file and key, if it is wrong."""
    for name in file:
        if name not in SECTIONS:
            raise ConfigError(f"{path}: no such section: {name}{nearest.choices(name, SECTIONS)}")
    header = config.section(Header, file, "device", path)
    channels = file.get("channels")
    if not isinstance(channels, dict) or not channels:
        raise ConfigError(f"{path}: [channels]: expected a line for each channel")
    registers = {name: config.section(Register, channels, name, path) for name in channels if _is_channel(name, path)}
    model = Model(header, registers)
    for name, register in registers.items():
        where = f"{path}: [{name}]"
        if register.count > header.max_registers:
            raise ConfigError(f"{where} type: longer than [device] max_registers")
        if model.function(name) in BITS and (register.type != "uint16" or register.bits or register.scale != 1):
            raise ConfigError(f"{where}: a {register.table or header.table} is one bit")
        if register.writable and model.function(name) not in (FUNCTIONS["coil"], FUNCTIONS["holding"]):
            raise ConfigError(f"{where} writable: only a coil or a holding register can be written")
    if header.probe and header.probe not in registers:
        raise ConfigError(
            f"{path}: [device] probe: no such channel: {header.probe}{nearest.hint(header.probe, registers)}"
        )
    return model


def _is_channel(name: str, path: Path) -> bool:
    if not topics.is_channel(name):
        raise ConfigError(
            f"{path}: [channels] {name[:80]!r} is not the name of a channel; use lower-case letters, digits and _"
        )
    return True
