"""A sysfs as the kernel makes it: devices below sys/devices, links to them from their class and bus."""

import os
import shutil
from pathlib import Path

SOC = "sys/devices/platform/soc"


class Tree:
    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def write(self, path: str | Path, content: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(".partial")
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(file)
        return file

    def link(self, path: str, target: Path) -> Path:
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(target, link.parent.resolve()))
        return link

    def device(self, path: str, link: str, files: dict[str, str]) -> Path:
        folder = self.root / path
        for name, content in files.items():
            self.write(folder / name, content)
        self.link(link, folder)
        return folder

    def unplug(self, link: str) -> None:
        path = self.root / link
        shutil.rmtree(path.resolve())
        path.unlink()

    def dht(self, number: int = 0, pin: int = 4, **files: str) -> Path:
        values = {"name": f"dht11@{pin:x}\n", "in_temp_input": "21500\n", "in_humidityrelative_input": "48300\n"}
        return self.device(
            f"sys/devices/platform/dht11@{pin:x}/iio:device{number}",
            f"sys/bus/iio/devices/iio:device{number}",
            values | files,
        )

    def bme280(self, number: int = 1, address: int = 0x76, **files: str) -> Path:
        values = {
            "name": "bme280\n",
            "in_temp_input": "23450\n",
            "in_pressure_input": "98.734121093\n",
            "in_humidityrelative_input": "45123\n",
        }
        return self.device(
            f"{SOC}/fe804000.i2c/i2c-1/1-{address:04x}/iio:device{number}",
            f"sys/bus/iio/devices/iio:device{number}",
            values | files,
        )

    def ds18b20(self, serial: str, content: str, bus: int = 1) -> Path:
        name = f"28-{serial}"
        return self.device(
            f"sys/devices/w1_bus_master{bus}/{name}", f"sys/bus/w1/devices/{name}", {"w1_slave": content}
        )

    def hwmon(self, number: int, path: str, name: str, **files: str) -> Path:
        return self.device(
            f"sys/devices/{path}/hwmon/hwmon{number}",
            f"sys/class/hwmon/hwmon{number}",
            {"name": f"{name}\n"} | {file: f"{content}\n" for file, content in files.items()},
        )

    def machine(self) -> None:
        self.write("proc/meminfo", "MemTotal: 1000000 kB\nMemFree: 1 kB\nMemAvailable: 750000 kB\n")
        self.write("proc/loadavg", "0.42 0.30 0.20 1/123 4567\n")
        self.write("proc/uptime", "7200.50 20000.00\n")
        self.write("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
        self.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        self.write("sys/class/thermal/thermal_zone0/temp", "48686\n")
        self.write("sys/block/mmcblk0/stat", "10 0 20 30 40 0 200000 60 0 70 80\n")
        self.write(f"{SOC}/soc:firmware/get_throttled", "50005\n")
