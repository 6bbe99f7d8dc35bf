"""Checks a configuration: what each service says of its section, and what two sections say of one thing."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from cli import programs
from cli.start import effective_config, plan
from cli.start.options import StartOptions
from cli.start.plan import Plan
from heliograph import config, nearest, series_patterns
from heliograph.config import Claim
from heliograph.errors import ConfigError


def check_file(path: Path) -> tuple[Plan, dict[str, Any]]:
    """Check a configuration of a user as `heliograph start` would; raise ConfigError with all mistakes.

    Return what it would start, and the completed configuration that the services would read.
    """
    # Passwords and port of the node's own broker are made when it starts.
    asked = StartOptions(path, None, None, None, None, simulate=False)
    node_plan = replace(plan.make(asked), broker_port=None)
    completed = effective_config.complete(node_plan, node_plan.file)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "config.toml"
        written.write_text(tomli_w.dumps(completed))
        check(written, path)
    return node_plan, completed


def check(effective: Path, shown: Path) -> None:
    """Let every service that runs with a configuration check its section, all at once; raise ConfigError with all mistakes."""
    file = config.read(effective)
    checks = {
        name: subprocess.Popen(
            [sys.executable, "-m", f"services.{name}", "--check", str(effective)],
            env=programs.module_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in plan.services_of(file)
    }
    outputs = {name: check.communicate() for name, check in checks.items()}
    if any(check.returncode for check in checks.values()):
        mistakes = once({name: error for name, (_, error) in outputs.items()})
        raise ConfigError("\n".join(mistakes).replace(str(effective), str(shown)))
    claims = {
        name: [Claim(*line.split("\t")) for line in output.splitlines()]  # type: ignore[arg-type]
        for name, (output, _) in outputs.items()
    }
    if unsuited := list(contradictions(claims, file)):
        raise ConfigError("\n".join(f"{shown}: {one}" for one in unsuited))


def once(errors: Mapping[str, str]) -> Iterator[str]:
    """Yield what services say, one line each: a mistake in a section that all of them read once, else after the service's name."""
    services: dict[str, list[str]] = {}
    for name, error in errors.items():
        if text := error.strip().removeprefix(f"{name}: "):
            services.setdefault(text, []).append(name)
    for text, names in services.items():
        yield text if len(names) > 1 else f"{names[0]}: {text}"


def contradictions(claims: Mapping[str, list[Claim]], file: Mapping[str, Any]) -> Iterator[str]:
    """Yield what does not go together in a file whose sections are right, each for itself."""
    yield from _conflicts(claims)
    yield from _unknown_channels(claims, file.get("quality", {}))


def _conflicts(claims: Mapping[str, list[Claim]]) -> Iterator[str]:
    """Yield what two services claim, or one claims twice."""
    owners: dict[tuple[str, str], tuple[str, str]] = {}
    for service, claim in _each(claims, "port", "device"):
        # a port has several names, as those in /dev/serial/by-id
        claimed = (claim.kind, os.path.realpath(claim.name) if claim.kind == "port" else claim.name)
        if (other := owners.setdefault(claimed, (service, claim.key))) == (service, claim.key):
            continue
        first, second = f"[{other[0]}] {other[1]}", f"[{service}] {claim.key}"
        if claim.kind == "port":
            yield f"{first} and {second} are both the port {claim.name}; one program at a time can open it"
        elif other[0] != service:
            yield f"{first} and {second} are both called {claim.name}; give one of the devices another name"


def _unknown_channels(claims: Mapping[str, list[Claim]], quality: Mapping[str, Any]) -> Iterator[str]:
    """Yield the channels that formulas and rules name, of devices of the configuration that are known not to have them."""
    known = {claim.name: claim.channels.split() for _, claim in _each(claims, "device") if claim.channels}
    for service, claim in _each(claims, "input"):
        device, _, channel = claim.name.partition("/")
        if channel not in known.get(device, [channel]):
            yield f"[{service}] {claim.key}: {_no_channel(device, channel, known[device])}"
    for pattern in quality:
        device, _, channel = pattern.partition("/")
        if device in known and not any(series_patterns.matches(channel, one) for one in known[device]):
            yield f'[quality."{pattern}"]: {_no_channel(device, channel, known[device])}'


def _each(claims: Mapping[str, list[Claim]], *kinds: str) -> Iterator[tuple[str, Claim]]:
    return ((service, claim) for service, listed in claims.items() for claim in listed if claim.kind in kinds)


def _no_channel(device: str, channel: str, known: list[str]) -> str:
    near = nearest.hint(channel, known) or f"; there are {', '.join(known)}"
    return f"{device} has no channel {channel}{near}"
