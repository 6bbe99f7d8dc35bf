"""A solar site without hardware: the devices the demo and the tests talk to."""

from simulator.device import SimulatedDevice
from simulator.emontx import Receiver
from simulator.faults import HEALTHY, Fault
from simulator.registers import Registers
from simulator.running import Running, SimulatorOptions, run
from simulator.serial_line import SerialLine
from simulator.site import Site, SitePlan
from simulator.tcp_server import TcpServer

__all__ = [
    "HEALTHY",
    "Fault",
    "Receiver",
    "Registers",
    "Running",
    "SerialLine",
    "SimulatedDevice",
    "SimulatorOptions",
    "Site",
    "SitePlan",
    "TcpServer",
    "run",
]
