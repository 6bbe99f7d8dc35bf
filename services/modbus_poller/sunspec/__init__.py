"""SunSpec: devices that list their own registers."""
