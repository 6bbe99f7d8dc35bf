"""Run with: python -m services.mqtt_importer config.toml."""

from heliograph.service import run
from services.mqtt_importer.importer import main
from services.mqtt_importer.options import MqttImporter

run("mqtt_importer", MqttImporter, main)
