"""Read the sensors of this machine: kernel drivers, 1-Wire, pulses on GPIO lines, and its own health."""
