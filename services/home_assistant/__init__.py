"""Show devices to Home Assistant, by its MQTT discovery."""
