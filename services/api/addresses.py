"""The addresses of clients, for limits that each of them has of its own."""

import ipaddress
from collections.abc import Collection

from starlette.requests import HTTPConnection

LOOPBACK = ("127.0.0.1", "::1")


class Addresses:
    """Tells clients apart; `trusted_proxies` are addresses and networks that say in X-Forwarded-For for whom they ask.

    uvicorn replaces the address of a trusted proxy by the one that it says. If it says none, each of its connections is a
    client of its own, because it may come from anywhere: a proxy that forwards bytes, or the port of a container.
    """

    def __init__(self, trusted_proxies: Collection[str] = LOOPBACK) -> None:
        self._networks = [ipaddress.ip_network(text) for text in trusted_proxies]

    def client(self, connection: HTTPConnection) -> str:
        """Return what stands for the client of a request."""
        return self.named(connection.client.host, connection.client.port) if connection.client else ""

    def network(self, connection: HTTPConnection) -> str:
        """Return the address of a client or of a proxy, of IPv6 the network."""
        return _network(connection.client.host) if connection.client else ""

    def named(self, host: str, port: int) -> str:
        """Return what stands for the client at an address."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host
        if any(address in network for network in self._networks):
            return f"{host} {port}"
        return _network(host)


def _network(host: str) -> str:
    """Return an address; of IPv6 the network, because a machine has 2**64 addresses there."""
    return host if "." in host else ":".join(host.split(":")[:4])
