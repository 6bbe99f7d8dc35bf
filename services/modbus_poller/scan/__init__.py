"""heliograph scan: find Modbus devices and print the configuration that reads them."""
