"""What can be wrong between a node and its broker, and with the ports of its configuration."""

import errno
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cli.doctor.finding import Finding
from heliograph import broker_check, config, device_access, forget, node_config, remedies

_ACTIONS = {
    "broker_away": "start the broker, or correct the section [broker]",
    "broker_hung": remedies.RESTART_BROKER,
    "service_refused": remedies.LET_IN,
}


def broker(path: Path, file: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the broker that a configuration names, or with the passwords of services that are here."""
    if "host" not in file.get("broker", {}) and "HELIOGRAPH__BROKER__HOST" not in os.environ:
        return  # the node's own, while the node does not run
    brokers = forget.brokers(path, "")
    with ThreadPoolExecutor(len(brokers)) as pool:
        refusals = dict(zip(brokers, pool.map(broker_check.refusal, brokers.values(), brokers), strict=True))
    seen = set()
    for service, (code, sentence) in refusals.items():
        if code and sentence not in seen:
            seen.add(sentence)
            yield Finding(code, sentence, _ACTIONS[code], service if code == "service_refused" else "")


def ports(path: Path | None, file: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the serial ports of a configuration that this user cannot open now; in a container only those of its service."""
    only = os.environ.get("SERVICE", "") if path == node_config.CONTAINER_CONFIG else ""
    for service, key, port in config.serial_ports(file):
        if only not in ("", service):
            continue
        where = f"[{service}] {key}"
        if not Path(port).exists():
            yield Finding("port_away", f"{where}: {port} is not there", "plug it in, or correct the port", service)
        elif not os.access(port, os.R_OK | os.W_OK):
            why = device_access.why(PermissionError(errno.EACCES, ""), port)
            yield Finding("port_away", f"{where}: {why}", "let the node use it", service)
