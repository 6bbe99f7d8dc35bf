"""Poll Modbus devices and publish their readings."""
