"""Networks of several machines on this one: network namespaces, joined by switches and by routers that translate addresses.

It takes root, `ip` and `nsenter`, and for routers `nft`; nothing of the machine's own network changes.
"""

import itertools
import os
import shutil
import subprocess
from contextlib import suppress

import pytest

from tests.conftest import optional_program

_numbers = itertools.count()
NAT = "table ip nat {{\n chain post {{\n  type nat hook postrouting priority 100\n  oifname {out} masquerade\n }}\n}}\n"


class Network:
    """Machines are named by the caller; `switch` makes a cable between them, `router` a way out that hides who is behind it."""

    def __init__(self) -> None:
        self._made: list[str] = []
        self._cables = itertools.count()
        self._prefix = f"hg{os.getpid()}x{next(_numbers)}"

    def machine(self, name: str) -> None:
        _run("ip", "netns", "add", self._of(name))
        self._made.append(self._of(name))
        self.run(name, "ip", "link", "set", "lo", "up")

    def command(self, name: str, *command: str) -> list[str]:
        """Return the command that runs another one on a machine."""
        return ["nsenter", f"--net=/run/netns/{self._of(name)}", *command]

    def run(self, name: str, *command: str) -> str:
        return _run(*self.command(name, *command))

    def switch(self, name: str, machines: dict[str, str]) -> None:
        """Join machines, each with its address in the network, as in 10.77.0.2/24."""
        self.machine(name)
        self.run(name, "ip", "link", "add", "switch", "type", "bridge")
        self.run(name, "ip", "link", "set", "switch", "up")
        for machine, address in machines.items():
            plug = f"p{next(self._cables)}"
            end = ("peer", "name", f"to-{name}"[:15], "netns", self._of(machine))
            self.run(name, "ip", "link", "add", plug, "type", "veth", *end)
            self.run(name, "ip", "link", "set", plug, "master", "switch", "up")
            self.run(machine, "ip", "address", "add", address, "dev", f"to-{name}"[:15])
            self.run(machine, "ip", "link", "set", f"to-{name}"[:15], "up")

    def translate(self, router: str, out: str) -> None:
        """Let a machine forward packets to the network of a switch with its own address; do it again to forget all connections."""
        nft = optional_program("nft")
        self.run(router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self.run(router, nft, "flush", "ruleset")
        with subprocess.Popen(self.command(router, nft, "-f", "-"), stdin=subprocess.PIPE, text=True) as process:
            process.communicate(NAT.format(out=f"to-{out}"[:15]))
        assert process.returncode == 0

    def set_link(self, name: str, network: str, state: str) -> None:
        """Pull the cable of a machine out ("down"), or put it in again ("up")."""
        self.run(name, "ip", "link", "set", f"to-{network}"[:15], state)

    def close(self) -> None:
        for name in self._made:
            with suppress(subprocess.CalledProcessError):
                _run("ip", "netns", "delete", name)

    def _of(self, name: str) -> str:
        return f"{self._prefix}-{name}"


def made() -> Network:
    """Return a network; where that is not possible the test is skipped."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nsenter"))):
        pytest.skip("network namespaces take root, ip and nsenter")
    network = Network()
    try:
        network.machine("probe")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no network namespaces: {error.stderr.strip()}")
    return network


def _run(*command: str) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout
