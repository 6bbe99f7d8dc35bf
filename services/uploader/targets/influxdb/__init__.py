"""InfluxDB 1, 2 and 3, and what takes the same requests."""

from services.uploader.targets.influxdb.target import Influxdb, Options

__all__ = ["Influxdb", "Options"]
