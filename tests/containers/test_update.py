"""An update of a node in containers and the way back, with readings that arrive all the time."""

import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import httpx
import pytest

from tests.cli.test_secrets import make
from tests.conftest import ROOT, free_port
from tests.containers.compose import Project
from tests.containers.sender import Sender

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(480)
SERVICES = ("mosquitto", "storage", "api", "calculator")
MOST_BYTES = 20_000_000  # that an update may add to the card; it was 520 MB when each image had its own packages
SERIES = "roof/sender/number"
CONFIG = """
[node]
name = "roof"
[storage]
commit_seconds = 1.0
"""


class Node(NamedTuple):
    """A node, and a client that has its key."""

    project: Project
    client: httpx.Client


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git has of this checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines():
        if (ROOT / name).exists() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def node(engine: dict[str, str], checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("update")
    made = make(folder / "secrets")
    assert made.returncode == 0, made.stderr
    (folder / "config.toml").write_text(CONFIG)
    environment = engine | {
        "HELIOGRAPH_DEMO_CONFIG": str(folder / "config.toml"),
        "HELIOGRAPH_SECRETS": str(folder / "secrets"),
        "HELIOGRAPH_HTTP": f"127.0.0.1:{free_port()}",
        "HELIOGRAPH_MQTTS": f"127.0.0.1:{free_port()}",
    }
    project = Project(
        f"heliograph-test-{uuid4().hex[:8]}", environment, ROOT / "tests/containers/override.yaml", root=checkout
    )
    headers = {"X-Api-Key": (folder / "secrets/api.key").read_text().strip()}
    try:
        with httpx.Client(base_url=f"http://{environment['HELIOGRAPH_HTTP']}", timeout=10, headers=headers) as client:
            yield Node(project, client)
    finally:
        project.remove()


def up(project: Project) -> None:
    """The commands of docs/install.md, Updates, for some services."""
    project.compose("build", *SERVICES[1:])
    project.compose("up", "--detach", "--wait", "--wait-timeout", "240", "--remove-orphans", *SERVICES)


def test_an_update_and_the_way_back_lose_nothing_and_cost_little(node: Node, checkout: Path) -> None:
    """Cases K5 and K11."""
    project, client = node
    up(project)
    before = project.layer_bytes()
    changed = [checkout / "heliograph/__init__.py", checkout / "services/storage/__init__.py"]
    texts = [path.read_text() for path in changed]
    sender = Sender(client)
    sender.start()
    for path, text in zip(changed, texts, strict=True):
        path.write_text(f"{text}\n# a later version\n")
    up(project)
    added = sum(size for layer, size in project.layer_bytes().items() if layer not in before)
    log.info("an update adds %.1f MB to %.0f MB of images", added / 1e6, sum(before.values()) / 1e6)
    for victim in ("storage", "api", "mosquitto"):
        project.kill(victim)
        project.compose("restart", victim)
    project.compose("stop")
    for path, text in zip(changed, texts, strict=True):
        path.write_text(text)
    up(project)
    then = len(sender.accepted)
    project.eventually(lambda: len(sender.accepted) > then + 20, "readings are accepted again")
    sender.stop()
    project.eventually(lambda: len(sender.stored(SERIES)) >= len(sender.accepted), "everything is stored")
    assert sender.stored(SERIES) == sorted(sender.accepted.items())
    log.info("%d readings, none lost, none doubled", len(sender.accepted))
    assert 0 < added < MOST_BYTES
