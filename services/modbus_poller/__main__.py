"""Run with: python -m services.modbus_poller config.toml."""

from heliograph.service import run
from services.modbus_poller.options import ModbusPoller
from services.modbus_poller.poller import main

run("modbus_poller", ModbusPoller, main)
