"""scripts/setup on machines that have little: a PATH with stand-ins for Python and apt, and real Debian packages."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT

SHELL_SCRIPTS = [
    path
    for folder in ("scripts", "cli/start", ".ci", "tests/containers", "tests/counterparts")
    for path in sorted((ROOT / folder).iterdir())
    if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")
]
HOST_TOOLS = ("bash", "sh", "env", "dirname", "cat", "cksum", "grep", "awk", "find", "sort", "paste", "mkdir", "rm", "chmod",
              "dpkg-deb", "tar", "id", "cp", "xz", "gzip", "zstd")  # fmt: skip
NEEDED = {"mosquitto": "mosquitto mosquitto_passwd", "mosquitto-clients": "mosquitto_sub mosquitto_pub"}


class Machine:
    """A copy of the scripts, and a PATH that holds hardly anything."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        self.path = folder / "path"
        self.archive = folder / "archive"
        for made in (self.repository / "scripts", self.repository / "cli/start", self.path, self.archive):
            made.mkdir(parents=True)
        for script in ("scripts/setup", "cli/start/debian_packages"):
            shutil.copy(ROOT / script, self.repository / script)
        (self.repository / "requirements.lock").write_text("click==8.5.1\n")
        self.command("scripts/frontend", "exit 0", self.repository)
        for tool in HOST_TOOLS:
            if program := shutil.which(tool):
                (self.path / tool).symlink_to(program)
        # A Python whose virtual environment has a pip that has nothing to do.
        self.command(
            "python3",
            'case "$1 $2" in "-c "*|"--version ") ;; "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;; *) exit "${PIP:-0}" ;; esac',
        )

    def command(self, name: str, script: str, folder: Path | None = None) -> None:
        path = (folder or self.path) / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def package(self, name: str, files: Mapping[str, str], architecture: str = "amd64") -> None:
        """Put a Debian package where the apt of this machine finds it."""
        tree = self.archive / f"{name}.tree"
        for file, content in files.items():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            (tree / file).write_text(content)
            (tree / file).chmod(0o755)
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: {architecture}\nMaintainer: x\nDescription: x\n"
        )
        package = self.archive / f"{name}.deb"
        subprocess.run(["dpkg-deb", "--build", tree, package], check=True, capture_output=True)

    def apt(self, resolved: Mapping[str, str]) -> None:
        """An apt-get that resolves each package to these lines, and downloads what is in the archive."""
        cases = "".join(f"{name}) printf '{lines}' ;; " for name, lines in resolved.items())
        self.command(
            "apt-get",
            f'case "$1" in install) case "$4" in {cases} *) exit 100 ;; esac ;;\n'
            f'download) shift 2; for name; do cp "{self.archive}/$name.deb" . || exit 100; done ;; update) ;; esac',
        )

    def setup(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "scripts/setup"],
            cwd=self.repository,
            env={"PATH": str(self.path), "HOME": os.environ.get("HOME", "/"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if not shutil.which("dpkg-deb"):
        pytest.skip("there is no dpkg-deb")
    if Path("/usr/sbin/mosquitto").exists():
        pytest.skip("Mosquitto is installed here: setup would unpack nothing")
    return Machine(tmp_path)


def with_packages(machine: Machine) -> None:
    """The two packages that scripts/start needs, and libraries that only apt knows of."""
    for package, commands in NEEDED.items():
        files = {
            f"usr/{'sbin' if name == 'mosquitto' else 'bin'}/{name}": "#!/bin/sh\necho $0 $LD_LIBRARY_PATH\n"
            for name in commands.split()
        }
        machine.package(package, files)
    machine.package("libnew3t64", {"usr/lib/x/libnew.so.3": ""})
    machine.package("adduser", {"usr/sbin/adduser": ""}, "all")
    machine.apt(
        {
            "mosquitto": "Inst adduser (3 Debian [all])\\nInst libnew3t64 (1 Debian [amd64])\\n"
            "Inst libc6 [1] (2 Debian [amd64])\\nInst mosquitto (1 Debian [amd64])\\nConf mosquitto (1)\\n",
            "mosquitto-clients": "Inst mosquitto-clients (1 Debian [amd64])\\n",
        }
    )


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_a_script_that_fails_says_where(script: Path) -> None:
    assert "\nset -Eeuo pipefail\ntrap 'printf " in script.read_text()


def test_what_apt_resolves_is_unpacked_and_found_by_the_commands(machine: Machine) -> None:
    with_packages(machine)
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    unpacked = machine.repository / ".tools"
    for command in " ".join(NEEDED.values()).split():
        ran = subprocess.run([unpacked / "bin" / command], capture_output=True, text=True, check=True)
        assert ran.stdout.split() == [
            str(next((unpacked / "root/usr").glob(f"*bin/{command}"))),
            f"{unpacked}/root/usr/lib/x",
        ]
    assert not (unpacked / "root/usr/sbin/adduser").exists()
    again = machine.setup()
    assert (again.returncode, again.stderr) == (0, "")


def test_a_broker_on_the_path_is_used_and_only_what_is_missing_is_unpacked(machine: Machine) -> None:
    with_packages(machine)
    for command in NEEDED["mosquitto"].split():
        machine.command(command, "exit 0")
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (machine.repository / ".tools/bin").iterdir()) == [
        "mosquitto_pub",
        "mosquitto_sub",
    ]


def test_without_apt_the_error_names_what_to_install(machine: Machine) -> None:
    done = machine.setup()
    assert done.returncode == 1
    assert "install mosquitto yourself" in done.stderr


def test_a_package_that_cannot_be_downloaded_is_named(machine: Machine) -> None:
    machine.apt({"other": ""})
    done = machine.setup()
    assert done.returncode == 1
    assert "cannot download mosquitto; run 'apt-get update' as root" in done.stderr


def test_a_step_that_fails_is_shown_with_its_line(machine: Machine) -> None:
    done = machine.setup(PIP="7")
    assert done.returncode == 7
    line = next(
        number
        for number, text in enumerate((ROOT / "scripts/setup").read_text().splitlines(), 1)
        if "pip install" in text
    )
    assert f"scripts/setup: line {line}: " in done.stderr or f"scripts/setup: line {line + 1}: " in done.stderr
    assert "exit status 7" in done.stderr


def test_an_installed_node_unpacks_its_broker_into_a_folder_of_any_name(machine: Machine, tmp_path: Path) -> None:
    with_packages(machine)
    tools = tmp_path / "my data" / "tools"
    command = ["bash", str(ROOT / "cli/start/debian_packages"), str(tools), "mosquitto", "mosquitto"]
    environment = {"PATH": str(machine.path)}
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, f"unpacking Debian's mosquitto into {tools}, for mosquitto\n")
    ran = subprocess.run([tools / "bin/mosquitto"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{tools}/root/usr/sbin/mosquitto {tools}/root/usr/lib/x\n"
    again = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (0, "")
