"""A solar site without hardware: the devices the demo and the tests talk to."""

from simulator.device import Device
from simulator.emontx import Receiver
from simulator.faults import HEALTHY, Fault
from simulator.registers import Registers
from simulator.running import Options, Running, run
from simulator.serial_line import SerialLine
from simulator.site import Plan, Site
from simulator.tcp_server import TcpServer

__all__ = [
    "HEALTHY",
    "Device",
    "Fault",
    "Options",
    "Plan",
    "Receiver",
    "Registers",
    "Running",
    "SerialLine",
    "Site",
    "TcpServer",
    "run",
]
