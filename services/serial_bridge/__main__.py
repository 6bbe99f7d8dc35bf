"""Publish what devices on serial ports say: python -m services.serial_bridge [config.toml]."""

from heliograph.service import run
from services.serial_bridge.bridge import main
from services.serial_bridge.options import SerialBridge

run("serial_bridge", SerialBridge, main)
