"""A smart meter at a port, and the telegrams of two makers."""

from pathlib import Path
from typing import Any

from heliograph.names import NameOwners
from services.serial_bridge.decoder import DecoderFactory
from services.serial_bridge.intake import SerialIntake
from services.serial_bridge.options import PortOptions
from services.serial_bridge.protocols import checksums
from services.serial_bridge.protocols.meter_names import MeterNames
from services.serial_bridge.radio.unknown_nodes import UnknownNodes
from services.serial_bridge.source import ParserContext
from tests.service_stub import ServiceStub

QUARTER_PAST_EIGHT = 1_796_022_900.0  # 2026-11-30 08:15 in Central Europe
ESMR: tuple[str, ...] = (
    "/Ene5\\T211 ESMR 5.0",
    "",
    "1-3:0.2.8(50)",
    "0-0:1.0.0(261130081500W)",
    "1-0:1.8.1(000100.000*kWh)",
)
ESMR += ("1-0:1.7.0(00.300*kW)", "0-1:24.1.0(003)", "0-1:96.1.0(30)")
FLUVIUS: tuple[str, ...] = (
    "/FLU5\\253770234_A",
    "",
    "0-0:96.1.4(50217)",
    "0-0:1.0.0(261130081500W)",
    "1-0:1.8.1(000100.000*kWh)",
)
FLUVIUS += ("1-0:1.4.0(01.234*kW)", "1-0:1.6.0(261115181500W)(04.329*kW)")
FLUVIUS += (
    "0-0:98.1.0(2)(1-0:1.6.0)(1-0:1.6.0)(261001000000S)(260914134500S)(04.329*kW)(261101000000W)(261020101500S)(03.870*kW)",
)
FLUVIUS += ("1-0:1.7.0(00.300*kW)", "0-0:96.3.10(1)", "0-0:17.0.0(999.9*kW)", "1-0:31.4.0(999*A)", "0-0:96.13.0()")
OTHER = ("0-2:24.1.0(003)", "0-2:96.1.0(30)")


def telegram(*lines: str, checked: bool = True) -> bytes:
    data = "".join(f"{line}\r\n" for line in lines).encode() + b"!"
    return data + (f"{checksums.arc(data):04X}".encode() if checked else b"") + b"\r\n"


def gas(time: str, volume: str, line: int = 1) -> str:
    return f"0-{line}:24.2.1({time})({volume})"


class Port:
    """A port whose readings are published as the service publishes them."""

    def __init__(self, folder: Path, name: str = "house", line_format: str = "dsmr_p1") -> None:
        self.stub = ServiceStub(folder)
        self.stub.clock.time = QUARTER_PAST_EIGHT
        options = PortOptions(name=name, port="/x", format=line_format)
        context = ParserContext({}, meter_names=MeterNames(folder / "meters.json" if folder.exists() else None))
        self._decoder = DecoderFactory(options, context).decoder(joined_late=False)
        self.intake = SerialIntake(name, self.stub.service, self.stub.producer, UnknownNodes(), NameOwners(100))

    def say(self, *telegrams: bytes) -> None:
        for piece in self._decoder.feed(b"".join(telegrams)):
            self.intake.accept(piece)
        self.intake.dropped(self._decoder.take_dropped())

    def of(self, device: str, channel: str) -> list[Any]:
        return [values[channel] for name, values in self.stub.readings if name == device and channel in values]

    def kind(self, device: str, channel: str) -> tuple[str, str]:
        described = self.stub.infos[device].channels[channel]
        return described.unit, described.kind

    @property
    def unread(self) -> Any:
        return self.intake.facts().get("unread", [])
