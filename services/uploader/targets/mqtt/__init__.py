"""Another MQTT broker."""

from services.uploader.targets.mqtt.target import Broker, Options

__all__ = ["Broker", "Options"]
