"""Read lines from serial ports and publish what devices say in them."""
