"""The options of a port with a radio board: the settings of the board, and of the repeater."""

import ipaddress
import math
from typing import ClassVar, Literal

from heliograph.config import Config


class RadioOptions(Config, frozen=True):
    """The [serial_bridge.ports.radio] section: the settings of the board; those that are not given are not touched."""

    RENAMED: ClassVar = {"send_time": "time_broadcast_interval"}

    group: int = -1
    frequency: Literal[0, 433, 868, 915] = 0
    base_id: int = 0
    quiet: Literal["", "on", "off"] = ""
    calibration: Literal["", "110V", "230V"] = ""
    period: float = 0.0
    vcal: float = 0.0
    ical: tuple[tuple[float, float], ...] = ()
    time_broadcast_interval: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that a board cannot have."""
        if not -1 <= self.group <= 250:
            raise ValueError(f"group: {self.group} is not between 0 and 250")
        if not 0 <= self.base_id <= 26:
            raise ValueError(f"base_id: {self.base_id} is not between 1 and 26")
        for name in ("period", "vcal", "time_broadcast_interval"):
            if not 0 <= getattr(self, name) < 1e6:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a positive number")
        if len(self.ical) > 12 or not all(math.isfinite(number) for pair in self.ical for number in pair):
            raise ValueError("ical: one pair of numbers for each current input, at most 12")


class RepeaterOptions(Config, frozen=True):
    """The [serial_bridge.ports.repeater] section: a TCP port whose lines go to the radio; 0 is no port."""

    port: int = 0
    host: str = "127.0.0.1"
    allow: tuple[str, ...] = ("127.0.0.1",)

    def __post_init__(self) -> None:
        """Refuse wrong ports and addresses."""
        check_port(self.port, 0)
        for address in self.allow:
            try:
                ipaddress.ip_network(address)
            except ValueError as error:
                raise ValueError(f"allow: {error}") from None


def check_port(port: int, lowest: int) -> None:
    """Raise ValueError if this is not the number of a TCP port."""
    if not lowest <= port < 65536:
        raise ValueError(f"port: {port} is not between {lowest} and 65535")
