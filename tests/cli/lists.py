"""What the wheel of the whole node needs."""

import tomllib
from collections.abc import Iterator

from tests.lists import ROOT, Listing

PACKAGES = ("cli", "heliograph", "services/*", "simulator")


def lists() -> Iterator[Listing]:
    yield Listing("pyproject.toml", "dependencies = [", "]", [f'  "{one}",' for one in requirements()])


def requirements() -> list[str]:
    """What the packages of this repository need of others, with all extras."""
    needed: set[str] = set()
    for package in PACKAGES:
        for path in ROOT.glob(f"{package}/pyproject.toml"):
            project = tomllib.loads(path.read_text())["project"]
            needed.update(project["dependencies"], *project.get("optional-dependencies", {}).values())
    return sorted(one for one in needed if not one.startswith("heliograph"))
