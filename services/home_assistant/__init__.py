"""Show devices in Home Assistant, through its MQTT discovery."""
