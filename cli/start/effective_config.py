"""Completes a configuration for `heliograph start`: its own broker, and the simulated site."""

import copy
import getpass
import time
from pathlib import Path
from typing import Any

from cli import programs, secrets
from cli.start.plan import Plan, has_producers_only
from heliograph import node_config

BROKER_FILES = programs.ROOT / ("mosquitto" if programs.IS_CHECKOUT else "cli/mosquitto")
LINKS = ("emontx", "tracer")  # the serial ports of the simulated site
MORNING = 10  # the simulated site lies where it is this hour, so that there is sun to see

EMONTX = {
    "name": "emontx",
    "names": [f"power{n}" for n in range(1, 5)] + ["vrms"] + [f"temp{n}" for n in range(1, 7)] + ["pulse"],
    "datacodes": ["h"] * 11 + ["L"],
    "scales": [1, 1, 1, 1] + [0.01] * 7 + [1],
    "units": ["W"] * 4 + ["V"] + ["C"] * 6 + ["p"],
}
EMONTH = {
    "name": "emonth",
    "names": ["temperature", "external_temperature", "humidity", "battery"],
    "datacode": "h",
    "scales": [0.1] * 4,
    "units": ["C", "C", "%", "V"],
}
EMONTX_CM = {
    "name": "emontxcm",
    "names": [
        "MSG",
        "Vrms",
        "P1",
        "P2",
        "P3",
        "P4",
        "E1",
        "E2",
        "E3",
        "E4",
        "T1",
        "T2",
        "T3",
        "pulse1",
        "pulse2",
        "analog",
    ],
    "datacodes": [*"LhhhhhLLLLhhhLLh"],
    "scales": [1, 0.01] + [1] * 8 + [0.01] * 3 + [1] * 3,
    "units": ["n", "V"] + ["W"] * 4 + ["Wh"] * 4 + ["C"] * 3 + ["p", "p", "n"],
    "whitening": True,
}


def complete(plan: Plan, file: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a configuration file with what the services of a plan need to start on this machine."""
    file = copy.deepcopy(file)
    node = file.setdefault("node", {})
    node["data"] = str(plan.data)
    if not has_producers_only(file):
        file.setdefault("api", {}).update(host=plan.host, port=plan.port)
    if plan.broker_port is not None:
        password = f"file:{plan.data}/secrets/{{service}}"
        file["broker"] = {"host": "127.0.0.1", "port": plan.broker_port, "password": password}
        file["api"].setdefault("keys", {}).setdefault("node", f"file:{plan.data}/secrets/api.keyhash")
    if plan.simulate:
        node.setdefault("clock", "trust")
        _add_simulated_site(file, plan.data / "run" / "site")
    return file


def _add_simulated_site(file: dict[str, Any], links: Path) -> None:
    bridge = file.setdefault("serial_bridge", {})
    bridge.setdefault("ports", []).append(
        {"name": "emontx", "port": str(links / "emontx"), "baud": 38400, "format": "rfm2pi"}
    )
    bridge.setdefault("nodes", {}).update({"10": EMONTX, "15": EMONTX_CM, "19": EMONTH})
    devices = [
        {"name": "tracer", "model": "epever_tracer", "unit_id": 1, "interval": 5.0},
        {"name": "grid", "model": "eastron_sdm120", "unit_id": 2, "interval": 5.0},
    ]
    file.setdefault("modbus_poller", {}).setdefault("lines", []).append(
        {"port": str(links / "tracer"), "baud": 115200, "devices": devices}
    )


def simulator_arguments(links: Path) -> list[str]:
    """Return the arguments of a simulator whose site has morning now; it makes its serial ports in `links`."""
    now = time.gmtime()
    longitude = (MORNING - now.tm_hour - now.tm_min / 60) * 15
    return [
        "--link-folder",
        str(links),
        "--latitude",
        "35",
        "--longitude",
        f"{(longitude + 180) % 360 - 180:.2f}",
    ]


def broker_command(data: Path, port: int) -> list[str]:
    """Write the broker's configuration and passwords below the data folder; return the command that runs it."""
    command = programs.provide("mosquitto", "mosquitto", data / node_config.TOOLS_FOLDER)
    secrets.make(data / "secrets", users=[], names=[])
    (data / "broker").mkdir(exist_ok=True)
    own_files = data / "run" / "broker"  # Mosquitto wants them readable for its own user alone
    own_files.mkdir(mode=0o700, exist_ok=True)
    for original in (data / "secrets/broker/passwords", BROKER_FILES / "acl"):
        copy = own_files / original.name
        copy.touch(mode=0o600)
        copy.write_bytes(original.read_bytes())
    settings = (BROKER_FILES / "mosquitto.conf").read_text()
    own = {
        "password_file": f"{own_files}/passwords",
        "acl_file": f"{own_files}/acl",
        "persistence_location": f"{data}/broker/",
        "include_dir": "",
        "listener": f"{port} 127.0.0.1",
        "log_dest": "stderr",
        "connection_messages": "false",
        "log_timestamp_format": "",
        "log_timestamp": "",
    }
    lines = [
        f"{key} {own[key]}" if own.get(key) else line
        for line in settings.splitlines()
        if (key := line.partition(" ")[0]) not in own or own[key]
    ]
    extras = sorted((data / "secrets/broker/conf.d").glob("*.conf"))
    lines += [extra.read_text().replace("/run/mosquitto", f"{data}/secrets/broker") for extra in extras]
    lines += ["log_timestamp false", f"user {getpass.getuser()}"]
    target = data / "run" / "mosquitto.conf"
    target.write_text("\n".join(lines) + "\n")
    return [command, "-c", str(target)]
