"""Run with: python -m services.sensor_reader config.toml."""

from heliograph.service import run
from services.sensor_reader.options import SensorReader
from services.sensor_reader.reader import main

run("sensor_reader", SensorReader, main)
