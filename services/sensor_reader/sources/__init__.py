"""Where sensors are found: the subsystems of the kernel, and the machine itself."""
