"""The services that read devices, and need neither a store nor other services: all that a node without a store can run."""

PRODUCERS = ("serial_bridge", "modbus_poller", "sensor_reader", "mqtt_importer")
