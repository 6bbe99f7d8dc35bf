"""Make everyone forget a device that is gone for good: `python -m heliograph.forget CONFIG DEVICE`.

What a device is, and whether it is there, stays with the broker until somebody takes it away. What
was measured stays in the store.
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
    """Take away what the broker keeps of a device; a wrong name or broker is one line on standard error and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m heliograph.forget", description=__doc__)
    parser.add_argument("config", type=Path, help="the node's configuration file")
    parser.add_argument("device", help="what it is called on the bus")
    parser.add_argument(
        "--service",
        default=os.environ.get("SERVICE", ""),
        help="who published it, and as whom to go to the broker; in a container that service",
    )
    parser.add_argument("--node", default="", help="whose device it was; default: the node of the configuration")
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
    """Take away what the broker keeps of a device; raise ConfigError if the broker does not let us in."""
    kept = [topics.device(node, device, "info"), topics.device(node, device, "availability")]
    with Bus(broker, "forget", service) as bus:  # not the node's name: two clients of one name would fight
        if not bus.wait_connected(CONNECT_SECONDS):
            raise ConfigError(f"[broker]: no way to {broker.host}:{broker.port} as {service}")
        for topic in kept:
            bus.publish(topic, b"", qos=1, retain=True)


if __name__ == "__main__":
    main()
