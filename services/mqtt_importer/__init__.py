"""Import what devices of other makers publish over MQTT, and switch them."""
