"""Remove a device that is gone for good from the broker: `python -m heliograph.forget CONFIG DEVICE`.

The broker keeps the description and the availability of a device until they are removed. Its readings
stay in the store.
"""

import argparse
import os
import sys
from pathlib import Path

from heliograph import config, topics
from heliograph.bus import Bus
from heliograph.errors import ConfigError

CONNECT_SECONDS = 10.0


def main() -> None:
    """Remove what the broker retains of a device; a wrong name or broker is one line on standard error and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m heliograph.forget", description=__doc__)
    parser.add_argument("config", type=Path, help="the node's configuration file")
    parser.add_argument("device", help="what it is called on the bus")
    parser.add_argument(
        "--service",
        default=os.environ.get("SERVICE", ""),
        help="the service that published it, as which to connect to the broker; in a container that service",
    )
    parser.add_argument("--node", default="", help="the node of the device; default: the node of the configuration")
    arguments = parser.parse_args()
    try:
        if not arguments.service:
            raise ConfigError("--service: missing")
        file = config.read(arguments.config)
        node = config.section(config.Node, file, "node", arguments.config, arguments.service)
        broker = config.section(config.Broker, file, "broker", arguments.config, arguments.service)
        forget(broker, arguments.service, arguments.node or node.name, arguments.device)
    except (ConfigError, ValueError) as error:
        sys.exit(f"forget: {error}")


def forget(broker: config.Broker, service: str, node: str, device: str) -> None:
    """Remove what the broker retains of a device; raise ConfigError if there is no connection to the broker."""
    kept = [topics.device(node, device, "info"), topics.device(node, device, "availability")]
    with Bus(broker, "forget", service) as bus:  # not the node's name: two clients of one name would fight
        if not bus.wait_connected(CONNECT_SECONDS):
            raise ConfigError(f"[broker]: cannot connect to {broker.host}:{broker.port} as {service}")
        for topic in kept:
            bus.publish(topic, b"", qos=1, retain=True)


if __name__ == "__main__":
    main()
