"""The node as one program: the wheel that `pipx install .` and `uv tool install .` make, in an environment of its own.

By default the environment takes other packages from this one, and the wheel is made of this checkout; with --full they
are installed as pip finds them, and the wheel is made of what a clone has.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import heliograph
from tests.conftest import ROOT, free_port
from tests.node import Node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PACKAGES = ("cli", "heliograph", "services", "simulator")
NOT_INSTALLED = re.compile(r".*\.md|.*/(pyproject\.toml|package(-lock)?\.json|\.npmrc)")
PIP = ("--quiet", "--disable-pip-version-check")


def tracked(*folders: str) -> list[str]:
    files = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return [file for file in files.stdout.split("\0") if file and (ROOT / file).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = ROOT
    if request.config.getoption("full"):
        source = folder / "clone"
        for file in tracked():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, source / file)
    subprocess.run([sys.executable, "-m", "pip", "wheel", *PIP, "--no-deps", "-w", folder, source], check=True)
    (made,) = folder.glob("*.whl")
    return made


class Installed(Node):
    """A node that an installed `heliograph start` runs, with nothing of this checkout on any path."""

    def __init__(self, folder: Path, environment: Path) -> None:
        super().__init__(folder, free_port)
        self.data = folder / "share/heliograph"
        self._command = environment / "bin/heliograph"
        path = [ROOT / ".tools/bin", os.environ["PATH"]]
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._environment |= {"PATH": os.pathsep.join(map(str, path)), "XDG_DATA_HOME": str(folder / "share")}

    def start(self, *arguments: str) -> None:
        options = ["--port", str(self.port), "--broker-port", str(self.broker_port), *arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self._command, "start", *options],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._command, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def output(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("installed")
    environment, home = folder / "environment", folder / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [str(environment / "bin/python"), "-m", "pip"]
    if request.config.getoption("full"):
        subprocess.run([*pip, "install", *PIP, wheel], check=True)
    else:
        (packages,) = environment.glob("lib/python*/site-packages")
        (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        subprocess.run([*pip, "install", *PIP, "--no-deps", wheel], check=True)
    checked = subprocess.run(
        [*pip, "check", "--disable-pip-version-check"], capture_output=True, text=True, check=False
    )
    assert "heliograph-node" not in checked.stdout, checked.stdout
    node = Installed(home, environment)
    yield node
    node.kill()
    if node.log.exists():
        sys.stderr.write(node.log.read_text()[-10_000:])  # shown by pytest when a test fails


def test_the_wheel_has_every_file_that_runs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {file for file in tracked(*PACKAGES) if not NOT_INSTALLED.fullmatch(file)} <= names
    assert {"cli/mosquitto/acl", "cli/mosquitto/mosquitto.conf"} <= names
    assert {"services/api/static/vendor/lit/index.js", "services/api/static/vendor/uplot/dist/uPlot.esm.js"} <= names
    assert {name.split("/")[0] for name in names} == {*PACKAGES, f"heliograph_node-{heliograph.__version__}.dist-info"}


def test_what_needs_no_node_works_once_it_is_installed(installed: Installed) -> None:
    assert installed.output("--version") == f"heliograph, version {heliograph.__version__}\n"
    assert "without a configuration ~/.local/share/heliograph" in " ".join(installed.output("start", "--help").split())
    sample = installed.folder / "sample.toml"
    sample.write_text(installed.output("sample", "storage"))
    assert installed.output("check", "sample.toml").startswith("sample.toml: all good\n")
    assert "eastron_sdm120 " in installed.output("scan", "--models")
    made = installed.run("secrets")
    assert "made passwords for api, calculator, " in made.stderr
    assert (installed.folder / "secrets/broker/passwords").exists()


def test_an_installed_node_runs_to_live_values_and_keeps_everything_in_its_data_folder(
    installed: Installed, eventually: Callable[..., object]
) -> None:
    installed.start()

    latest = "/api/v1/latest?series=*/tracer/pv_voltage,*/grid/voltage,*/emontx/power1"
    eventually(lambda: len(installed.ask(latest) or {}) == 3, 120)
    with urllib.request.urlopen(f"http://127.0.0.1:{installed.port}/vendor/lit/index.js", timeout=10) as script:
        assert b"lit-element" in script.read()
    eventually(lambda: "/tracer/" in installed.run("store", "info").stdout, 60)
    assert installed.output("store", "info").startswith(f"{installed.data}/store, ")
    assert installed.output("uploads", "list").startswith("no targets: ")
    for command in (
        "status",
        "doctor",
    ):  # of the node that runs; this machine may be one of which doctor has something to say
        done = installed.run(command)
        assert (done.stderr, "Traceback" in done.stdout) == ("", False)
    assert f"http://127.0.0.1:{installed.port}/\n" in installed.run("status").stdout
    match = re.search(r"modbus tcp at (127\.0\.0\.1:\d+)", installed.log.read_text())
    assert match
    assert 'model = "epever_tracer"' in installed.output("scan", "--no-serial", "--unit-id", "1", match[1])
    assert installed.stop() == 0
    assert f"Stopped; everything is kept in {installed.data}" in installed.log.read_text()
    assert sorted(path.name for path in installed.folder.iterdir()) == ["sample.toml", "secrets", "share", "start.log"]
